/**
 * Sends snapshots to followers that are too far behind for the log. The pieces share the log link's
 * connection with appends, on a stream of their own, so that neither waits long for the other; only
 * so many are under way that a slow way is not filled up. A transfer that broke off goes on where it
 * was, if the snapshot is still the same.
 */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Clock } from "../runtime/port.ts";
import type { Hello, SnapshotChunkSchema } from "../gen/covey/raft/v1/transport_pb.ts";
import type { RaftCounters } from "./counters.ts";
import type { Message, SnapshotMeta } from "./core/types.ts";
import { FrameQueue } from "../ttrpc/frame_queue.ts";
import type { GroupOfAny } from "./group_types.ts";
import type { makeHello } from "./hello.ts";
import type { Peer } from "./peer.ts";
import type { SnapshotReader } from "./wal/snapshot_reader.ts";
import type { SnapshotStore } from "./wal/snapshot_store.ts";
import { encodeMessage } from "./wire.ts";

type ChunkInit = MessageInitShape<typeof SnapshotChunkSchema>;

/** Bytes that were sent and are not confirmed. */
const windowBytes = 512 << 10;
/** After a transfer in which nothing arrived the next one waits, twice as long each time. */
const retryMs = 250;
const retryMsMax = 30_000;
/** Silence of the receiver after which a transfer is given up. */
const silenceMs = 10_000;

/** More than any snapshot's bytes. */
const whole = Infinity;

export interface SnapshotSenderParts {
  readonly counters: RaftCounters;
  readonly clock: Clock;
  readonly logger: Logger;
  store(): SnapshotStore;
  hello(peerId: string): ReturnType<typeof makeHello>;
  helloProblem(peer: Peer, hello: Hello): CoveyError | undefined;
}

/** Transfers to one replica that came to nothing. */
interface Failures {
  count: number;
  notBeforeMs: number;
}

export class SnapshotSender {
  readonly #parts: SnapshotSenderParts;
  readonly #active = new Map<string, AbortController>();
  readonly #failures = new Map<string, Failures>();

  constructor(parts: SnapshotSenderParts) {
    this.#parts = parts;
  }

  /** Tells the group how it ended. One at a time goes to a replica. */
  send(group: GroupOfAny, peer: Peer, message: Message): void {
    const key = `${group.id}/${message.to}`;
    if (this.#active.has(key)) return;
    if (this.#parts.clock.monotonicMs() < (this.#failures.get(key)?.notBeforeMs ?? 0)) {
      group.snapshotSent(message.to, false);
      return;
    }
    const controller = new AbortController();
    this.#active.set(key, controller);
    void this.#run(group, peer, message, controller).then((arrivedBytes) => {
      this.#active.delete(key);
      this.#ended(key, arrivedBytes);
      group.snapshotSent(message.to, arrivedBytes === whole);
    });
  }

  #ended(key: string, arrivedBytes: number): void {
    const { clock, counters } = this.#parts;
    if (arrivedBytes === whole) {
      counters.snapshotsSent++;
      this.#failures.delete(key);
      return;
    }
    counters.snapshotsSendFailed++;
    const count = arrivedBytes > 0 ? 1 : (this.#failures.get(key)?.count ?? 0) + 1;
    const waitMs = Math.min(retryMsMax, retryMs * 2 ** (count - 1));
    this.#failures.set(key, { count, notBeforeMs: clock.monotonicMs() + waitMs });
  }

  stop(): void {
    for (const controller of this.#active.values()) controller.abort();
  }

  /** Gives the bytes that arrived, {@link whole} for all of them. Never rejects. */
  async #run(
    group: GroupOfAny,
    peer: Peer,
    message: Message,
    controller: AbortController,
  ): Promise<number> {
    const { logger } = this.#parts;
    const fields = { group: group.id, replica: message.to, node: peer.name };
    const progress = { bytes: 0 };
    try {
      const reader = await this.#open(group.id, message.snapshot!);
      try {
        logger.info("sending a snapshot", { ...fields, bytes: reader.source.bytes });
        await this.#transfer(group, peer, { message, reader, controller, progress });
        return whole;
      } finally {
        await reader.close();
      }
    } catch (cause) {
      if (!controller.signal.aborted || !(cause instanceof CoveyError)) {
        logger.warning("a snapshot did not arrive; it is tried again", { ...fields, cause });
      }
    }
    return progress.bytes;
  }

  async #open(group: number, meta: SnapshotMeta): Promise<SnapshotReader> {
    const found = await this.#parts.store().read(
      group,
      meta.index,
      ({ index, term }) => index === meta.index && term === meta.term,
    );
    if (found !== undefined) return found.reader;
    throw new CoveyError(Code.notFound, "a newer snapshot has taken its place");
  }

  async #transfer(
    group: GroupOfAny,
    peer: Peer,
    { message, reader, controller, progress }: {
      readonly message: Message;
      readonly reader: SnapshotReader;
      readonly controller: AbortController;
      readonly progress: { bytes: number };
    },
  ): Promise<void> {
    const { clock } = this.#parts;
    const queue = new FrameQueue<ChunkInit>(2 * windowBytes);
    queue.push({
      head: {
        hello: this.#parts.hello(peer.nodeId),
        message: encodeMessage(group.id, message),
        group: group.id,
        bytes: BigInt(reader.source.bytes),
        checksum: reader.source.checksum,
      },
    }, 0);
    let heardMs = clock.monotonicMs();
    let watch = clock.timer(silenceMs, look, undefined);
    function look(): void {
      const leftMs = heardMs + silenceMs - clock.monotonicMs();
      if (leftMs <= 0) controller.abort();
      else watch = clock.timer(leftMs, look, undefined);
    }
    let sent = -1;
    let first = 0;
    try {
      const answers = peer.client("log").sendSnapshot(queue, { signal: controller.signal });
      for await (const answer of answers) {
        heardMs = clock.monotonicMs();
        if (sent < 0) {
          const problem = answer.hello === undefined
            ? new CoveyError(Code.internal, "the first answer has no hello")
            : this.#parts.helloProblem(peer, answer.hello);
          if (problem !== undefined) throw problem;
          sent = first = Number(answer.offset);
        }
        progress.bytes = Number(answer.offset) - first;
        if (answer.done) return;
        // Nobody takes it from a leader of the past, and it stands in the way of the next one's.
        if (!group.leads || group.term !== message.term) {
          throw new CoveyError(Code.aborted, "another replica leads now");
        }
        const until = Math.min(reader.source.bytes, Number(answer.offset) + windowBytes);
        while (sent < until) {
          const data = (await reader.read(sent)).slice();
          queue.push({ offset: BigInt(sent), data }, data.length);
          sent += data.length;
          this.#parts.counters.snapshotsSentBytes += data.length;
        }
        if (sent >= reader.source.bytes) queue.end();
      }
      throw new CoveyError(Code.unavailable, "the receiver ended the transfer");
    } finally {
      watch.cancel();
      queue.end();
    }
  }
}
