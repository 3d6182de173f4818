/**
 * Work for a key-value store: puts or gets of many clients over a few connections, closed (each
 * client waits for its answer) or open (a fixed rate whatever the answers do), with each operation's
 * completion and latency kept, so that windows of the run can be looked at afterwards.
 */
import { Prng } from "../src/base/prng.ts";
import { Histogram, type Latency } from "./load.ts";
import { patiently, type Store } from "./kv_store.ts";

export interface WorkOptions {
  readonly operation: "put" | "get";
  /** Operations at a time. */
  readonly clients: number;
  /** Operations a second; 0: the next one follows the answer. */
  readonly rate: number;
  /** Keys that are written or read; 0: each put has a key of its own. */
  readonly keys: number;
  /** One key after the other rather than by chance. */
  readonly inOrder: boolean;
  readonly valueBytes: number;
  /** Of one attempt. */
  readonly timeoutMs: number;
  /** An operation that failed is tried again, over the next connection, until it succeeds. */
  readonly retry: boolean;
  /** Ends after so many; 0: when told to. */
  readonly total: number;
}

export const workDefault: WorkOptions = {
  operation: "put",
  clients: 1,
  rate: 0,
  keys: 100_000,
  inOrder: false,
  valueBytes: 256,
  timeoutMs: 10_000,
  retry: false,
  total: 0,
};

/**
 * What happened from a mark to the next one, and again after each mark of the same name.
 * Operations count where they ended.
 */
export interface WorkWindow {
  readonly name: string;
  /** Its first beginning, since the work began. */
  readonly atMs: number;
  readonly seconds: number;
  readonly operations: number;
  readonly perSecond: number;
  /** Attempts that failed. */
  readonly errors: number;
  readonly latencyMicros: Latency;
  /** From its first mark to the end of the first success that was begun after it; -1 for none. */
  readonly firstMs: number;
  /** The longest time without a success. */
  readonly gapMs: number;
}

export interface WorkResult {
  readonly seconds: number;
  readonly operations: number;
  readonly errors: number;
  /** The last error, for people. */
  readonly error: string;
  readonly windows: readonly WorkWindow[];
  /** Operations that ended in each {@link bucketMs} since the work began. */
  readonly buckets: readonly number[];
}

export const bucketMs = 100;
/** A failed attempt is not repeated at once, or a node that refuses would be flooded. */
const retryAfterMs = 5;
/** Reading back begins while the cluster may still be recovering. */
const recoveryMs = 30_000;

/** Where keys of their own begin; see {@link ownKey}. */
const ownPrefix = "own/";
const encoder = new TextEncoder();

/** One of a fixed number of keys. */
export function sharedKey(index: number): Uint8Array {
  return encoder.encode(`key/${index.toString().padStart(8, "0")}`);
}

/** The key of a client's nth put, when each put has its own; sorted as they were written. */
export function ownKey(client: number, sequence: number): Uint8Array {
  const number = sequence.toString().padStart(8, "0");
  return encoder.encode(`${ownPrefix}${client.toString().padStart(4, "0")}/${number}`);
}

/** What is stored there: it differs for each. */
export function ownValue(client: number, sequence: number, bytes: number): Uint8Array {
  const value = new Uint8Array(bytes);
  const view = new DataView(value.buffer);
  view.setUint32(0, client);
  view.setUint32(4, sequence);
  for (let at = 8; at < bytes; at++) value[at] = (client * 31 + sequence * 7 + at) & 255;
  return value;
}

interface Mark {
  readonly name: string;
  readonly atMs: number;
}

interface Span {
  readonly atMs: number;
  readonly untilMs: number;
}

export class Work {
  readonly #stores: readonly Store[];
  readonly #options: WorkOptions;
  readonly #prng: Prng;
  readonly #value: Uint8Array;
  readonly #endedMs: number[] = [];
  readonly #tookMs: number[] = [];
  readonly #failedMs: number[] = [];
  readonly #marks: Mark[] = [];
  /** Puts of each client that were acknowledged; a client goes on only after that. */
  readonly #acknowledged: number[];
  #error = "";
  #begunMs = 0;
  #next = 0;
  #busy = 0;
  #stopped = false;
  #over: () => void = () => {};
  readonly #finished: Promise<void>;

  constructor(stores: readonly Store[], options: WorkOptions, seed: number) {
    this.#stores = stores;
    this.#options = options;
    this.#prng = new Prng(seed);
    this.#value = new Uint8Array(options.valueBytes);
    this.#prng.fill(this.#value);
    this.#acknowledged = Array.from({ length: options.clients }, () => 0);
    this.#finished = new Promise((resolve) => this.#over = resolve);
  }

  /** Starts; the work goes on until {@link end}, or until its total is reached. */
  begin(): void {
    this.#begunMs = performance.now();
    this.#marks.push({ name: "begin", atMs: 0 });
    if (this.#options.rate > 0) return void this.#paced();
    for (let client = 0; client < this.#options.clients; client++) this.#turn(client, client);
  }

  /** Begins a window, or goes on with the one of that name. */
  mark(name: string): void {
    this.#marks.push({ name, atMs: performance.now() - this.#begunMs });
  }

  /** Resolves when a total was set and reached. */
  get finished(): Promise<void> {
    return this.#finished;
  }

  /** Lets what is under way finish, and gives everything. */
  async end(): Promise<WorkResult> {
    this.#stopped = true;
    if (this.#busy === 0) this.#over();
    await this.#finished;
    return this.#result();
  }

  /** Reads back every put that was acknowledged; only for keys of their own. */
  async verify(store: Store, timeoutMs: number): Promise<{ read: number; lost: string[] }> {
    const lost: string[] = [];
    let read = 0;
    const page = 1000;
    for (const [client, count] of this.#acknowledged.entries()) {
      for (let from = 0; from < count; from += page) {
        const until = Math.min(count, from + page);
        const end = ownKey(client, until);
        const found = await patiently(
          () => store.range(ownKey(client, from), { end }, timeoutMs),
          recoveryMs,
        );
        const values = new Map(found.map(({ key, value }) => [text(key), value]));
        for (let sequence = from; sequence < until; sequence++) {
          const key = text(ownKey(client, sequence));
          const value = values.get(key);
          const wanted = ownValue(client, sequence, this.#options.valueBytes);
          read++;
          if (value === undefined || Buffer.compare(value, wanted) !== 0) lost.push(key);
        }
      }
    }
    return { read, lost };
  }

  #takeTurn(): boolean {
    const { total } = this.#options;
    if (this.#stopped || (total > 0 && this.#next >= total)) return false;
    this.#next++;
    return true;
  }

  /** One client: an operation, and the next one after its answer. */
  #turn(client: number, first: number): void {
    if (!this.#takeTurn()) {
      if (this.#busy === 0) this.#over();
      return;
    }
    this.#operate(client, first, performance.now(), (at) => this.#turn(client, at));
  }

  /**
   * Sends at the rate, measured from when an operation was due. A timer is a millisecond late, but
   * a loop that turns without sleeping would take a whole core from the servers.
   */
  #paced(): void {
    const stepMs = 1000 / this.#options.rate;
    const due: number[] = [];
    const free = Array.from({ length: this.#options.clients }, (_, client) => client);
    let sent = 0;
    const turn = (): void => {
      const nowMs = performance.now();
      for (
        let at = this.#begunMs + sent * stepMs;
        at <= nowMs && this.#takeTurn();
        at = this.#begunMs + sent * stepMs
      ) {
        due.push(at);
        sent++;
      }
      while (due.length > 0 && free.length > 0) {
        const client = free.shift()!;
        this.#operate(client, client, due.shift()!, () => {
          free.push(client);
          if (this.#stopped && this.#busy === 0 && due.length === 0) this.#over();
        });
      }
      if (!this.#stopped || due.length > 0) setTimeout(turn, 1);
    };
    turn();
  }

  #operate(client: number, first: number, begunMs: number, after: (at: number) => void): void {
    const { operation, keys, inOrder, retry, timeoutMs, valueBytes } = this.#options;
    let key: Uint8Array;
    let value = this.#value;
    if (keys === 0) {
      const sequence = this.#acknowledged[client];
      key = ownKey(client, sequence);
      value = ownValue(client, sequence, valueBytes);
    } else {
      key = sharedKey(inOrder ? (this.#next - 1) % keys : this.#prng.below(keys));
    }
    let at = first;
    this.#busy++;
    const done = (error?: unknown): void => {
      const nowMs = performance.now();
      if (error === undefined || error === null) {
        this.#busy--;
        this.#acknowledged[client]++;
        this.#endedMs.push(nowMs - this.#begunMs);
        this.#tookMs.push(nowMs - begunMs);
        return after(at);
      }
      this.#failedMs.push(nowMs - this.#begunMs);
      this.#error = error instanceof Error ? error.message : String(error);
      if (retry && !this.#stopped) {
        at++;
        setTimeout(attempt, retryAfterMs);
        return;
      }
      this.#busy--;
      after(at);
    };
    const attempt = (): void => {
      const store = this.#stores[at % this.#stores.length];
      if (operation === "put") store.put(key, value, timeoutMs, done);
      else store.get(key, timeoutMs, done);
    };
    attempt();
  }

  #result(): WorkResult {
    const endMs = performance.now() - this.#begunMs;
    const buckets = Array.from({ length: Math.ceil(endMs / bucketMs) }, () => 0);
    for (const ended of this.#endedMs) buckets[Math.floor(ended / bucketMs)]++;
    const spans = new Map<string, Span[]>();
    for (const [index, { name, atMs }] of this.#marks.entries()) {
      const span = { atMs, untilMs: this.#marks[index + 1]?.atMs ?? endMs };
      spans.set(name, [...(spans.get(name) ?? []), span]);
    }
    const windows = [...spans].map(([name, all]) => this.#window(name, all));
    return {
      seconds: endMs / 1000,
      operations: this.#endedMs.length,
      errors: this.#failedMs.length,
      error: this.#error,
      windows,
      buckets,
    };
  }

  #window(name: string, spans: readonly Span[]): WorkWindow {
    const histogram = new Histogram();
    let firstMs = -1;
    let gapMs = 0;
    let windowMs = 0;
    for (const { atMs, untilMs } of spans) {
      let lastMs = atMs;
      // They ended in the order in which they stand.
      for (const [index, endedMs] of this.#endedMs.entries()) {
        if (endedMs < atMs) continue;
        const tookMs = this.#tookMs[index];
        if (firstMs < 0 && endedMs - tookMs >= atMs) firstMs = endedMs - atMs;
        if (endedMs >= untilMs) continue;
        histogram.record(tookMs);
        gapMs = Math.max(gapMs, endedMs - lastMs);
        lastMs = endedMs;
      }
      gapMs = Math.max(gapMs, untilMs - lastMs);
      windowMs += untilMs - atMs;
    }
    const failed = this.#failedMs.filter((at) =>
      spans.some(({ atMs, untilMs }) => at >= atMs && at < untilMs)
    );
    return {
      name,
      atMs: spans[0].atMs,
      seconds: windowMs / 1000,
      operations: histogram.total,
      perSecond: histogram.total / (windowMs / 1000),
      errors: failed.length,
      latencyMicros: histogram.latency(),
      firstMs,
      gapMs,
    };
  }
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
