/**
 * Clients at work while nodes fail: each does one thing after the other, puts, reads, deletes,
 * writes on a condition and to several keys, and goes on whatever becomes of a call.
 */
import { Prng } from "../../../src/base/prng.ts";
import type { KvClient } from "../../../src/kv/client.ts";
import type { KvInput } from "../../simulation/linearizability/kv_model.ts";
import { type History, type Outcome, plain, Recorder } from "./recorder.ts";
import { after } from "./waiting.ts";

export interface LoadOptions {
  /** One for each client; they may be the same, or have other nodes first. */
  readonly clients: readonly KvClient[];
  readonly seed: number;
  readonly history: History;
  /** Keys that all clients share at a time; there are new ones after each {@link keyTurns}. */
  readonly keys?: number;
  readonly timeoutMs?: number;
  /** Distinguishes the keys and values of several loads of one history. */
  readonly name?: string;
  /** Bytes added to each value. */
  readonly padding?: number;
}

/** An acknowledged write. */
interface Ack {
  readonly callMs: number;
  readonly endMs: number;
}

/** What the clients had to put up with, for reports. */
export interface LoadCounts {
  readonly writes: number;
  readonly reads: number;
  readonly refused: number;
  readonly unknown: number;
}

/** After so many calls all clients turn to new keys: the checker likes its parts small. */
const keyTurns = 400;
/** A node that refuses at once is not asked again at once. */
const refusedMs = 10;

export class Load {
  readonly history: History;
  /** Of calls that failed, for messages. */
  readonly errors: Map<string, number> = new Map();
  readonly #options: LoadOptions;
  readonly #name: string;
  readonly #padding: string;
  readonly #acks: Ack[] = [];
  readonly #watchers: Set<() => void> = new Set();
  readonly #counts = { writes: 0, reads: 0, refused: 0, unknown: 0 };
  #work: Promise<unknown> = Promise.resolve();
  #calls = 0;
  #values = 0;
  #isOver = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.history = options.history;
    this.#name = options.name ?? "";
    this.#padding = "x".repeat(options.padding ?? 0);
  }

  start(): void {
    const prng = new Prng(this.#options.seed);
    this.#work = Promise.all(
      this.#options.clients.map((kv, at) => this.#client(kv, at, prng.fork())),
    );
  }

  /** Resolves when every call under way has ended. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#work;
  }

  get counts(): LoadCounts {
    return { ...this.#counts };
  }

  /** Resolves when so many more writes were acknowledged. */
  acknowledged(more: number, limitMs = 60_000): Promise<void> {
    const wanted = this.#acks.length + more;
    return this.#when(
      () => this.#acks.length >= wanted || undefined,
      () => `${more} more acknowledged writes, ${wanted - this.#acks.length} are missing`,
      limitMs,
    ).then(() => {});
  }

  /** Milliseconds from a moment to the first success of a write that was begun after it. */
  async recovered(sinceMs: number, limitMs = 60_000): Promise<number> {
    let from = this.#acks.length;
    const ack = await this.#when(
      () => {
        while (from < this.#acks.length && this.#acks[from].callMs < sinceMs) from++;
        return this.#acks[from];
      },
      () => "a write that succeeds",
      limitMs,
    );
    return Math.round(ack.endMs - sinceMs);
  }

  /** The longest time without an acknowledged write since then. */
  longestGapMs(sinceMs: number): number {
    let lastMs = sinceMs;
    let gapMs = 0;
    for (const { endMs } of this.#acks) {
      if (endMs < sinceMs) continue;
      gapMs = Math.max(gapMs, endMs - lastMs);
      lastMs = endMs;
    }
    return Math.round(Math.max(gapMs, performance.now() - lastMs));
  }

  /** Acknowledged writes a second between two moments. */
  rate(fromMs: number, toMs: number): number {
    const count = this.#acks.filter(({ endMs }) => endMs >= fromMs && endMs < toMs).length;
    return Math.round(count / (toMs - fromMs) * 1000);
  }

  describe(): string {
    const { writes, reads, refused, unknown } = this.#counts;
    const errors = [...this.errors].map(([text, count]) => `${count}× ${text}`).join("; ");
    return `${writes} writes and ${reads} reads answered, ${refused} refused, ${unknown} unknown` +
      (errors === "" ? "" : ` (${errors})`);
  }

  async #client(kv: KvClient, at: number, prng: Prng): Promise<void> {
    const recorder = new Recorder(`${this.#name}client ${at + 1}`, kv, this.history);
    while (!this.#isOver) {
      const input = await this.#draw(recorder, prng, at);
      if (input === undefined) continue;
      await this.#note(await recorder.run(input, this.#options.timeoutMs), input);
    }
  }

  async #note(outcome: Outcome, input: KvInput): Promise<void> {
    if (outcome.kind === "answered") {
      const isWrite = input.success.some(({ kind }) => kind !== "get");
      if (!isWrite) {
        this.#counts.reads++;
        return;
      }
      this.#counts.writes++;
      const { call: callMs, end: endMs } = outcome.operation;
      this.#acks.push({ callMs, endMs });
      for (const watcher of [...this.#watchers]) watcher();
      return;
    }
    this.#counts[outcome.kind]++;
    const { message } = outcome.error;
    this.errors.set(message, (this.errors.get(message) ?? 0) + 1);
    await after(refusedMs);
  }

  /** What the client does next; undefined when it could not even look what is there. */
  async #draw(recorder: Recorder, prng: Prng, at: number): Promise<KvInput | undefined> {
    const turn = Math.floor(this.#calls++ / keyTurns);
    const keys = this.#options.keys ?? 4;
    const number = prng.below(keys);
    const key = `${this.#name}t${turn}/${number}`;
    switch (prng.below(10)) {
      case 0:
      case 1:
      case 2:
        // Never written again: that it is there is seen without any checker.
        return this.#put(`${this.#name}own/${at}/${this.#calls}`);
      case 3:
      case 4:
        return this.#put(key);
      case 5:
      case 6:
        return plain({ kind: "get", key });
      case 7: {
        const found = await recorder.get(key, this.#options.timeoutMs);
        if (found.kind !== "answered") {
          await this.#note(found, plain({ kind: "get", key }));
          return undefined;
        }
        const mod = found.output.actions[0].entry?.mod ?? 0;
        return {
          compares: [{ key, target: "mod", equals: mod }],
          success: this.#put(key).success,
          failure: [{ kind: "get", key }],
        };
      }
      case 8: {
        const other = `${this.#name}t${turn}/${number ^ 1}`;
        return {
          compares: [],
          success: [...this.#put(key).success, { kind: "get", key: other }],
          failure: [],
        };
      }
      default:
        return plain({ kind: "delete", key, previous: true });
    }
  }

  #put(key: string): KvInput {
    const value = `${this.#name}v${++this.#values}${this.#padding}`;
    return plain({ kind: "put", key, value, previous: false });
  }

  #when<T>(look: () => T | undefined, missing: () => string, limitMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(limit);
        this.#watchers.delete(watcher);
      };
      const watcher = (): void => {
        const found = look();
        if (found === undefined) return;
        settle();
        resolve(found);
      };
      const limit = setTimeout(() => {
        settle();
        reject(new Error(`not within ${limitMs} ms: ${missing()}; so far ${this.describe()}`));
      }, limitMs);
      this.#watchers.add(watcher);
      watcher();
    });
  }
}
