/**
 * Streams of watches that are checked against everything that ever happened: each watch is told its
 * events once, in order, whole revisions at a time, or that a compaction took them.
 */
import assert from "node:assert/strict";
import { toHex } from "../../src/base/bytes.ts";
import type { Event, WatchResponse } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { inInterval } from "../../src/kv/core/bytes.ts";
import type { KvEvent } from "../../src/kv/core/result.ts";
import { Requests } from "../../src/kv/client_requests.ts";
import { Watch } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import type { FakeNode } from "./support.ts";

type Iterator = AsyncIterator<WatchResponse>;

export interface ModelWatch {
  readonly id: number;
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  /** 0 for the next revision. */
  readonly start: number;
  readonly previous: boolean;
  readonly withoutPuts: boolean;
  readonly withoutDeletes: boolean;
  readonly fragment: boolean;
}

/** Every event that ever was, from revision 2 on. */
export class History {
  readonly events: KvEvent[] = [];
  compactRevision = 0;

  /** The node that applies everything, in order and without a break, tells. */
  follow(node: FakeNode): void {
    const { machine } = node.module;
    let seen = machine.revision;
    node.group.observe({
      applied: () => {
        if (machine.revision > seen) this.events.push(...machine.eventsOf(machine.revision));
        seen = machine.revision;
        this.compactRevision = machine.compactRevision;
      },
    });
  }
}

interface Watched extends ModelWatch {
  from: number;
  created: boolean;
  over: "canceled" | "compacted" | undefined;
  compacted: number;
  /** Position in the history's events of the first that it was not told. */
  at: number;
  /** The revision of which more is to come. */
  fragmentOf: number;
  lastRevision: number;
}

export class ModelStream {
  readonly watches = new Map<number, Watched>();
  readonly #node: FakeNode;
  readonly #history: History;
  readonly #requests = new Requests<object>();
  readonly #iterator: Iterator;
  #pending: Promise<void> | undefined = undefined;
  #error: unknown;
  responses = 0;
  /** The newest revision that any of its watches was told. */
  #newest = 0;
  fragments = 0;
  progress = 0;
  compacted = 0;

  constructor(node: FakeNode, history: History) {
    this.#node = node;
    this.#history = history;
    this.#iterator = node.local(Watch).watch(this.#requests as never)[Symbol.asyncIterator]();
    // The stream begins when its first answer is asked for.
    this.take();
  }

  create(watch: ModelWatch): void {
    this.watches.set(watch.id, {
      ...watch,
      from: watch.start,
      created: false,
      over: undefined,
      compacted: 0,
      at: 0,
      fragmentOf: 0,
      lastRevision: 0,
    });
    const { FILTER_NOPUT: noPut, FILTER_NODELETE: noDelete } = filters;
    this.#requests.push({
      request: {
        case: "createRequest",
        value: {
          watchId: BigInt(watch.id),
          key: watch.key,
          rangeEnd: watch.end,
          startRevision: BigInt(watch.start),
          prevKv: watch.previous,
          fragment: watch.fragment,
          filters: [
            ...watch.withoutPuts ? [noPut] : [],
            ...watch.withoutDeletes ? [noDelete] : [],
          ],
        },
      },
    });
  }

  cancel(id: number): void {
    this.#requests.push({
      request: { case: "cancelRequest", value: { watchId: BigInt(id) } },
    });
  }

  askProgress(): void {
    this.#requests.push({ request: { case: "progressRequest", value: {} } });
  }

  /** Takes one answer, when there is one; until then further calls do nothing. */
  take(): void {
    if (this.#pending !== undefined) return;
    this.#pending = this.#iterator.next().then((result) => {
      this.#pending = undefined;
      if (!result.done) this.#check(result.value);
    }).catch((error) => this.#error ??= error);
  }

  /** Throws what was wrong so far. */
  verify(): void {
    if (this.#error !== undefined) throw this.#error;
  }

  /** Whether everything that there is was told. */
  get isDone(): boolean {
    return [...this.watches.values()].every((watch) =>
      watch.over !== undefined || (watch.created && this.#next(watch) === undefined)
    );
  }

  /** What is missing, for people. */
  describe(): string {
    const left = [...this.watches.values()].filter((watch) =>
      watch.over === undefined && (!watch.created || this.#next(watch) !== undefined)
    );
    const watches = left.map((watch) => {
      const next = this.#next(watch)?.entry.modRevision ?? "nothing";
      return `${watch.id} ${watch.created ? "created" : "asked for"}, next ${next}`;
    });
    return `node ${this.#node.at}, ${this.responses} answers, ${watches.join("; ")}`;
  }

  end(): void {
    this.#requests.end();
    this.#iterator.return?.();
  }

  #check(response: WatchResponse): void {
    this.responses++;
    if (response.watchId === -1n) return this.#checkProgress(response);
    const watch = this.watches.get(Number(response.watchId));
    assert.ok(watch !== undefined, `watch ${response.watchId} was asked for`);
    assert.equal(watch.over, undefined, "nothing follows the end of a watch");
    if (response.created) {
      assert.equal(response.canceled, false, response.cancelReason);
      watch.created = true;
      if (watch.from === 0) watch.from = Number(response.header?.revision) + 1;
      return;
    }
    assert.ok(watch.created, "a watch begins with its creation");
    if (response.canceled) return this.#checkEnd(watch, response);
    if (response.fragment) {
      this.fragments++;
      assert.ok(watch.fragment, "only who asked for them gets fragments");
    }
    for (const event of response.events) this.#checkEvent(watch, event);
    if (response.events.length === 0) {
      assert.notEqual(watch.fragmentOf, 0, "an empty answer ends fragments");
    }
    watch.fragmentOf = response.fragment ? watch.lastRevision : 0;
    if (!response.fragment) {
      const next = this.#next(watch);
      const revision = next?.entry.modRevision;
      assert.notEqual(revision, watch.lastRevision, "a revision is told as a whole");
    }
  }

  #checkEvent(watch: Watched, event: Event): void {
    const next = this.#next(watch);
    const found = `${event.type} ${toHex(event.kv!.key)} at ${event.kv!.modRevision}`;
    assert.ok(next !== undefined, `watch ${watch.id} was told ${found}, which never was`);
    const { entry } = next;
    const type = next.type === "put" ? 0 : 1;
    assert.equal(found, `${type} ${toHex(entry.key)} at ${entry.modRevision}`);
    if (watch.fragmentOf !== 0) {
      assert.equal(entry.modRevision, watch.fragmentOf, "fragments are of one revision");
    }
    assert.equal(toHex(event.kv!.value), toHex(entry.value));
    assert.equal(Number(event.kv!.createRevision), entry.createRevision);
    assert.equal(Number(event.kv!.version), entry.version);
    if (!watch.previous) assert.equal(event.prevKv, undefined);
    else if (event.prevKv !== undefined) {
      assert.equal(toHex(event.prevKv.value), toHex(next.previous!.value));
      assert.equal(Number(event.prevKv.modRevision), next.previous!.modRevision);
    } else if (next.previous !== undefined) {
      const { compactRevision } = this.#history;
      assert.ok(compactRevision >= entry.modRevision, "what was before is told until compacted");
    }
    watch.lastRevision = entry.modRevision;
    this.#newest = Math.max(this.#newest, entry.modRevision);
    watch.at++;
  }

  #checkEnd(watch: Watched, response: WatchResponse): void {
    watch.over = response.compactRevision > 0n ? "compacted" : "canceled";
    if (watch.over !== "compacted") return;
    this.compacted++;
    watch.compacted = Number(response.compactRevision);
    assert.ok(watch.compacted <= this.#history.compactRevision);
    assert.ok(watch.from < watch.compacted, "a watch that begins later loses nothing");
  }

  #checkProgress(response: WatchResponse): void {
    this.progress++;
    const revision = Number(response.header?.revision);
    assert.ok(this.#newest <= revision, `progress says ${revision} behind ${this.#newest}`);
    for (const watch of this.watches.values()) {
      if (watch.over !== undefined || !watch.created) continue;
      const next = this.#next(watch);
      assert.ok(
        next === undefined || next.entry.modRevision > revision,
        `progress says ${revision}, watch ${watch.id} was not told ${next?.entry.modRevision}`,
      );
    }
  }

  /** The first event of the watch that it was not told. */
  #next(watch: Watched): KvEvent | undefined {
    const { events } = this.#history;
    for (; watch.at < events.length; watch.at++) {
      const event = events[watch.at];
      const { entry } = event;
      if (entry.modRevision < watch.from) continue;
      if (!inInterval(entry.key, watch.key, watch.end)) continue;
      if (event.type === "put" ? watch.withoutPuts : watch.withoutDeletes) continue;
      return event;
    }
    return undefined;
  }

  get node(): FakeNode {
    return this.#node;
  }
}

const filters = { FILTER_NOPUT: 0, FILTER_NODELETE: 1 } as const;
