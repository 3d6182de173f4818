/** Takes snapshots from leaders: to the disk first, then to the replica. */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type {
  Hello,
  SnapshotChunk,
  SnapshotProgressSchema,
} from "../gen/covey/raft/v1/transport_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import type { GroupOfAny } from "./group_types.ts";
import { makeHello } from "./hello.ts";
import type { RaftHost } from "./host.ts";
import { type Message, MessageType } from "./core/types.ts";
import { noRoom } from "./no_room.ts";
import type { Peer } from "./peer.ts";
import { LogError } from "./wal/error.ts";
import type { SnapshotWriter } from "./wal/snapshot_writer.ts";
import { decodeMessage } from "./wire.ts";

type ProgressInit = MessageInitShape<typeof SnapshotProgressSchema>;

interface Announced {
  readonly group: GroupOfAny;
  readonly message: Message;
  readonly bytes: number;
  readonly checksum: number;
  readonly hello: Hello;
}

export class SnapshotReceiver {
  readonly #host: () => RaftHost;
  readonly #logger: Logger;
  /** Groups that are being sent one: a second writer would spoil the first one's file. */
  readonly #receiving = new Set<number>();

  constructor(host: () => RaftHost, logger: Logger) {
    this.#host = host;
    this.#logger = logger;
  }

  /** `greet` throws when the sender is nobody to take a snapshot from. */
  async *receive(
    chunks: AsyncIterable<SnapshotChunk>,
    greet: (hello: Hello | undefined) => Peer,
  ): AsyncGenerator<ProgressInit> {
    const iterator = chunks[Symbol.asyncIterator]();
    const first = await iterator.next();
    const announced = this.#announced(first.done === true ? undefined : first.value, greet);
    const { group, message } = announced;
    if (this.#receiving.has(group.id)) {
      throw new CoveyError(Code.aborted, "another snapshot of this group is on its way");
    }
    this.#receiving.add(group.id);
    let writer: SnapshotWriter | undefined;
    try {
      const host = this.#host();
      if (host.lowSpace) {
        const why = noRoom(host.log.freeBytes, host.options.lowWaterBytes);
        throw new CoveyError(Code.resourceExhausted, why);
      }
      const { bytes, checksum, hello } = announced;
      const meta = message.snapshot!;
      // One that came before and was not wanted is of no use any more.
      if (!group.isRestoring) await host.store.prune(group.id, group.status().snapshotIndex);
      writer = await host.store.receive(group.id, meta, { bytes, checksum });
      await host.log.checkSpace();
      const missing = bytes - writer.offset;
      if (missing > host.log.freeBytes) {
        throw new CoveyError(
          Code.resourceExhausted,
          `${missing} bytes of a snapshot do not fit onto the disk: make room on it`,
        );
      }
      yield { hello: makeHello(host.facts, hello.nodeId), offset: BigInt(writer.offset) };
      while (writer.offset < bytes) {
        const next = await iterator.next();
        if (next.done === true) {
          throw new CoveyError(Code.aborted, "the snapshot's sender stopped before its end");
        }
        const { offset, data } = next.value;
        if (Number(offset) !== writer.offset || data.length === 0) {
          throw new CoveyError(Code.invalidArgument, "a piece of the snapshot is missing");
        }
        await writer.write(data);
        host.counters.snapshotsReceivedBytes += data.length;
        yield { offset: BigInt(writer.offset) };
      }
      await writer.commit();
      host.counters.snapshotsReceived++;
      this.#logger.info("a snapshot has come", { group: group.id, index: meta.index, bytes });
      group.step(message);
      yield { offset: BigInt(bytes), done: true };
    } catch (error) {
      if (error instanceof LogError) {
        this.#logger.warning("a snapshot came damaged", { group: group.id, cause: error });
      }
      throw error;
    } finally {
      // What came so far stays, for a transfer that goes on there.
      await writer?.suspend();
      this.#receiving.delete(group.id);
    }
  }

  #announced(
    chunk: SnapshotChunk | undefined,
    greet: (hello: Hello | undefined) => Peer,
  ): Announced {
    const head = chunk?.head;
    if (head?.message === undefined || head.hello === undefined) {
      throw new CoveyError(Code.invalidArgument, "a snapshot begins with its head");
    }
    const sender = greet(head.hello);
    const group = this.#host().group(head.group);
    if (group === undefined) {
      throw new CoveyError(Code.notFound, `this node has no replica of group ${head.group}`);
    }
    const message = decodeMessage(head.message);
    if (
      message?.snapshot === undefined || message.type !== MessageType.snapshot ||
      message.to !== group.replica || head.message.group !== group.id
    ) {
      throw new CoveyError(Code.invalidArgument, "the snapshot is not for this replica");
    }
    const claimed = group.members.get(message.from);
    if (claimed !== undefined && claimed.nodeId !== sender.nodeId) {
      throw new CoveyError(
        Code.permissionDenied,
        `replica ${message.from} is not on node ${head.hello.name}, which sent its snapshot`,
      );
    }
    return {
      group,
      message,
      bytes: Number(head.bytes),
      checksum: head.checksum,
      hello: head.hello,
    };
  }
}
