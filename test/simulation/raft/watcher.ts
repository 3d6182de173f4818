/** Clients that watch: whatever happens to streams and nodes, they go on where they were. */
import { decodeText, encodeText } from "../../../src/base/bytes.ts";
import {
  type Event,
  Event_Type,
  Watch,
  type WatchRequestSchema,
  type WatchResponse,
} from "../../../src/gen/covey/kv/v1/kv_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { createClient } from "../../../src/ttrpc/client.ts";
import type { WatchEvent } from "../linearizability/watches.ts";
import { judgeWatch } from "../linearizability/watches.ts";
import { type ClientParts, SimulatedClient } from "./client_machine.ts";
import { nameOf } from "./workload.ts";

type Request = MessageInitShape<typeof WatchRequestSchema>;

/** Events from one revision on, without a gap. */
interface Stretch {
  readonly from: number;
  readonly events: WatchEvent[];
  progress: number;
}

export class Watcher extends SimulatedClient {
  readonly #prefix: string;
  readonly #stretches: Stretch[] = [];
  /** Of a revision that has not come in full. */
  #pieces: WatchEvent[] = [];
  #next = 0;

  constructor(parts: ClientParts, name: string) {
    super(parts, name);
    this.#prefix = this.random.pick(["k", "k", "k1", "k2"]);
    // From the first revision that there ever is.
    this.#begin(2);
  }

  async run(): Promise<void> {
    for (;;) {
      // Some come back so late that the history is gone.
      const away = this.random.chance(0.15) && !this.world.calm;
      await this.sleep(this.random.between(1, away ? 15_000 : 500));
      if (this.world.over) return;
      try {
        await this.#watch();
      } catch (thrown) {
        this.expectCoveyError(thrown);
      }
      this.#pieces = [];
    }
  }

  /** Whether everything that ever happened to its keys has come. */
  get isComplete(): boolean {
    return this.judge(this.world.agreed.revision) === undefined;
  }

  /** What is wrong with what it got; with `upTo`, it had time to get everything up to there. */
  judge(upTo: number): string | undefined {
    const { events } = this.world.agreed;
    const last = this.#stretches.length - 1;
    for (const [at, { from, events: got, progress }] of this.#stretches.entries()) {
      const wrong = judgeWatch(events, {
        name: `${this.name} of "${this.#prefix}" from revision ${from}`,
        from,
        covers: (key) => key.startsWith(this.#prefix),
        events: got,
        progress,
      }, at === last ? upTo : 0);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  #begin(from: number): void {
    this.#stretches.push({ from, events: [], progress: 0 });
    this.#next = from;
  }

  async #watch(): Promise<void> {
    const controller = new AbortController();
    const client = createClient(Watch, this.channel());
    const answers = client.watch(this.#requests(controller.signal), { signal: controller.signal });
    // Now and then it looks for another node, as somebody does whose program is restarted.
    const timer = this.runtime.clock.timer(
      this.random.between(2000, 30_000),
      () => controller.abort(),
      undefined,
    );
    try {
      for await (const answer of answers) {
        if (!this.#take(answer)) break;
      }
    } finally {
      timer.cancel();
      controller.abort();
    }
  }

  async *#requests(signal: AbortSignal): AsyncGenerator<Request> {
    const end = this.#prefix.slice(0, -1) +
      String.fromCharCode(this.#prefix.charCodeAt(this.#prefix.length - 1) + 1);
    yield {
      request: {
        case: "createRequest",
        value: {
          key: encodeText(this.#prefix),
          rangeEnd: encodeText(end),
          startRevision: BigInt(this.#next),
          progressNotify: true,
          fragment: true,
        },
      },
    };
    // The watch lives as long as the stream of requests.
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  }

  /** Whether the watch goes on. */
  #take(answer: WatchResponse): boolean {
    const stretch = this.#stretches[this.#stretches.length - 1];
    if (answer.canceled) {
      const compacted = Number(answer.compactRevision);
      if (compacted > 0) {
        this.world.mark("watch compacted");
        this.world.verdict.check(
          compacted > this.#next,
          "a watch is told of a compaction that it met",
          () => `${this.name} asked for ${this.#next} and is told of ${compacted}`,
        );
        this.#begin(compacted);
      }
      return false;
    }
    if (answer.created) {
      if (this.#next > 2) this.world.mark("watch resumed");
      return true;
    }
    this.#pieces.push(...answer.events.map(toWatchEvent));
    if (answer.fragment) return true;
    stretch.events.push(...this.#pieces);
    const last = this.#pieces.at(-1);
    this.#pieces = [];
    if (last !== undefined) this.#next = last.revision + 1;
    else {
      this.world.mark("watch progress");
      const revision = Number(answer.header!.revision);
      stretch.progress = Math.max(stretch.progress, revision);
      this.#next = Math.max(this.#next, revision + 1);
    }
    return true;
  }
}

function toWatchEvent({ type, kv }: Event): WatchEvent {
  const isPut = type === Event_Type.PUT;
  return {
    revision: Number(kv!.modRevision),
    type: isPut ? "put" : "delete",
    key: decodeText(kv!.key) ?? "",
    value: isPut ? nameOf(decodeText(kv!.value) ?? "") : "",
    create: Number(kv!.createRevision),
    version: Number(kv!.version),
  };
}
