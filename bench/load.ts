/**
 * A load generator for clients that call back, with the measures and the JSON fields of the Go one
 * (`test/interop/go/load`), so that their lines can be laid side by side.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export interface LoadOptions {
  /** Calls at a time, or streams, on one connection. */
  readonly inflight: number;
  readonly seconds: number;
  readonly warmup: number;
  /** Calls per second, sent whatever the answers do; 0: the next call follows the answer. */
  readonly rate: number;
  /** Bytes of a unary request. */
  readonly payload: number;
  /** Bytes of a streamed message; above 0 measures server streaming instead of unary calls. */
  readonly stream: number;
}

/** In microseconds. */
export interface Latency {
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface LoadResult {
  readonly peer: string;
  readonly mode: "unary" | "open" | "stream";
  readonly inflight: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly rate?: number;
  /** Calls, or messages when the mode is "stream". */
  readonly calls: number;
  readonly perSecond: number;
  readonly errors: number;
  readonly latencyMicros?: Latency;
  /** How long after its intended time a call was begun: the load generator's own share. */
  readonly lagMicros?: Latency;
}

export type Done = (error?: unknown) => void;
/** Makes one call; `done` is called exactly once, never before this returns. */
export type Call = (done: Done) => void;

const subBits = 7;
const subBuckets = 1 << subBits;
/** Durations are counted up to 2^42 ns, more than an hour. */
const powers = 36;

/** Counts durations in buckets whose width grows with the value: at most 0.8 % off. */
export class Histogram {
  readonly #counts = new Float64Array(powers * subBuckets);
  #total = 0;
  #sum = 0;
  #max = 0;

  get total(): number {
    return this.#total;
  }

  record(milliseconds: number): void {
    const nanos = Math.max(0, Math.round(milliseconds * 1e6));
    const bucket = Math.min(bucketOf(nanos), this.#counts.length - 1);
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#total++;
    this.#sum += nanos;
    if (nanos > this.#max) this.#max = nanos;
  }

  latency(): Latency {
    return {
      mean: micros(this.#total === 0 ? 0 : this.#sum / this.#total),
      p50: this.#quantile(0.5),
      p99: this.#quantile(0.99),
      p999: this.#quantile(0.999),
      max: micros(this.#max),
    };
  }

  #quantile(part: number): number {
    const wanted = Math.floor(part * this.#total);
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket] as number;
      if (seen > wanted) return micros(Math.min(upperOf(bucket), this.#max));
    }
    return micros(this.#max);
  }
}

function bucketOf(nanos: number): number {
  if (nanos < subBuckets) return nanos;
  const shift = Math.floor(Math.log2(nanos)) - subBits;
  return (shift + 1) * subBuckets + Math.floor(nanos / 2 ** shift) - subBuckets;
}

function upperOf(bucket: number): number {
  if (bucket < subBuckets) return bucket;
  const shift = Math.floor(bucket / subBuckets) - 1;
  return (bucket % subBuckets + subBuckets + 1) * 2 ** shift - 1;
}

function micros(nanos: number): number {
  return Math.round(nanos / 10) / 100;
}

/** Refuses what would measure nothing or never end. */
export function checkLoadOptions(options: LoadOptions): void {
  const check = (name: string, value: number, least: number, most: number): void => {
    if (!(value >= least && value <= most)) {
      throw new RangeError(`--${name} must be from ${least} to ${most}`);
    }
  };
  check("inflight", options.inflight, 1, 100_000);
  check("seconds", options.seconds, 0.01, 3600);
  check("warmup", options.warmup, 0, 60);
  check("rate", options.rate, 0, 10_000_000);
  check("payload", options.payload, 0, 4_000_000);
  check("stream", options.stream, 0, 4_000_000);
  if (options.rate > 0 && options.stream > 0) {
    throw new RangeError("--rate measures unary calls, --stream does not");
  }
}

/** Keeps `inflight` callers busy, each with one call at a time. */
export function runClosed(peer: string, options: LoadOptions, call: Call): Promise<LoadResult> {
  const histogram = new Histogram();
  const from = performance.now() + options.warmup * 1000;
  const until = from + options.seconds * 1000;
  let running = options.inflight;
  let errors = 0;
  return new Promise((resolve, reject) => {
    const caller = (): void => {
      let begun = performance.now();
      const done: Done = (error) => {
        const now = performance.now();
        if (error !== undefined && error !== null) {
          errors++;
          return reject(error);
        }
        if (begun >= from && now <= until) histogram.record(now - begun);
        if (now < until) {
          begun = now;
          return call(done);
        }
        if (--running > 0) return;
        resolve({
          peer,
          mode: "unary",
          inflight: options.inflight,
          seconds: options.seconds,
          bytes: options.payload,
          calls: histogram.total,
          perSecond: histogram.total / options.seconds,
          errors,
          latencyMicros: histogram.latency(),
        });
      };
      call(done);
    };
    for (let index = 0; index < options.inflight; index++) caller();
  });
}

/**
 * Sends calls at a fixed rate whatever the answers do, and measures each from the moment it was
 * meant to be sent, so that a server that stalls is charged for everything that queued meanwhile.
 * The loop turns without sleeping, because a timer here is a millisecond late.
 */
export function runOpen(peer: string, options: LoadOptions, call: Call): Promise<LoadResult> {
  const histogram = new Histogram();
  const lag = new Histogram();
  const begun = performance.now();
  const from = begun + options.warmup * 1000;
  const until = from + options.seconds * 1000;
  const stepMs = 1000 / options.rate;
  const queue: number[] = [];
  let head = 0;
  let next = 0;
  let busy = 0;
  return new Promise((resolve, reject) => {
    const send = (): void => {
      while (busy < options.inflight && head < queue.length) {
        const intended = queue[head++] as number;
        busy++;
        if (intended >= from) lag.record(performance.now() - intended);
        call((error) => {
          busy--;
          if (error !== undefined && error !== null) return reject(error);
          if (intended >= from) histogram.record(performance.now() - intended);
        });
      }
      if (head > 4096) {
        queue.splice(0, head);
        head = 0;
      }
    };
    const turn = (): void => {
      const now = performance.now();
      for (
        let due = begun + next * stepMs;
        due <= now && due < until;
        due = begun + next * stepMs
      ) {
        queue.push(due);
        next++;
      }
      send();
      if (now < until || busy > 0 || head < queue.length) return void setImmediate(turn);
      resolve({
        peer,
        mode: "open",
        inflight: options.inflight,
        seconds: options.seconds,
        bytes: options.payload,
        rate: options.rate,
        calls: histogram.total,
        perSecond: histogram.total / options.seconds,
        errors: 0,
        latencyMicros: histogram.latency(),
        lagMicros: lag.latency(),
      });
    };
    turn();
  });
}

/**
 * Counts the messages of `inflight` streams. `open` starts one that is longer than the run, calls
 * `received` for each message, and gives what ends it.
 */
export async function runStreams(
  peer: string,
  options: LoadOptions,
  open: (received: () => void, failed: (error: unknown) => void) => () => void,
): Promise<LoadResult> {
  let messages = 0;
  let failure: unknown;
  const ends: (() => void)[] = [];
  const failed = (error: unknown): void => {
    failure ??= error;
  };
  for (let index = 0; index < options.inflight; index++) ends.push(open(() => messages++, failed));
  await sleep(options.warmup * 1000);
  const first = messages;
  const begun = performance.now();
  await sleep(options.seconds * 1000);
  const seconds = (performance.now() - begun) / 1000;
  const calls = messages - first;
  if (failure !== undefined) throw failure;
  for (const end of ends) end();
  return {
    peer,
    mode: "stream",
    inflight: options.inflight,
    seconds,
    bytes: options.stream,
    calls,
    perSecond: calls / seconds,
    errors: 0,
  };
}

/** One sample of a process, from /proc; zero where there is none. */
export interface MemorySample {
  readonly rssKB: number;
  readonly anonymousKB: number;
  readonly peakRssKB: number;
}

export function sampleMemory(pid: number): MemorySample {
  let text = "";
  try {
    text = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    // Only Linux has it, and only while the process lives.
  }
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  return { rssKB: field("VmRSS"), anonymousKB: field("RssAnon"), peakRssKB: field("VmHWM") };
}

export interface HoldOptions {
  readonly idle: number;
  readonly busy: number;
  readonly seconds: number;
  /** The server's process. */
  readonly pid: number;
}

export interface HeldResult {
  readonly peer: string;
  readonly idle: number;
  readonly busy: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly errors: number;
  readonly before: MemorySample;
  /** With only the idle connections open. */
  readonly whileIdle: MemorySample;
  /** The one with the highest RSS, of a sample each 50 ms. */
  readonly whileBusy: MemorySample;
  readonly after: MemorySample;
}

/** One connection of its own. */
export interface HeldConnection {
  readonly call: Call;
  close(): void;
}

/**
 * Opens the idle connections, each with one call first so that it is fully set up, samples the
 * server, then opens the busy ones, each with one call at a time, and samples again.
 */
export async function runHold(
  peer: string,
  options: HoldOptions,
  dial: () => HeldConnection,
): Promise<HeldResult> {
  const before = sampleMemory(options.pid);
  const open = async (count: number): Promise<HeldConnection[]> => {
    const connections: HeldConnection[] = [];
    for (let index = 0; index < count; index++) {
      const connection = dial();
      await new Promise<void>((resolve, reject) =>
        connection.call((error) =>
          error === undefined || error === null ? resolve() : reject(error)
        )
      );
      connections.push(connection);
    }
    return connections;
  };
  const idle = await open(options.idle);
  // Idle means that the garbage of their beginning is gone too.
  await sleep(10_000);
  const whileIdle = sampleMemory(options.pid);
  const busy = await open(options.busy);
  let calls = 0;
  let errors = 0;
  let stopped = false;
  const again = (connection: HeldConnection): void =>
    connection.call((error) => {
      if (error !== undefined && error !== null) return void errors++;
      calls++;
      if (!stopped) again(connection);
    });
  const begun = performance.now();
  for (const connection of busy) again(connection);
  let whileBusy: MemorySample = { rssKB: 0, anonymousKB: 0, peakRssKB: 0 };
  while (performance.now() - begun < options.seconds * 1000) {
    await sleep(50);
    const now = sampleMemory(options.pid);
    if (now.rssKB > whileBusy.rssKB) whileBusy = now;
  }
  const perSecond = calls / ((performance.now() - begun) / 1000);
  stopped = true;
  await sleep(200);
  for (const connection of [...idle, ...busy]) connection.close();
  await sleep(2000);
  return {
    peer,
    idle: options.idle,
    busy: options.busy,
    seconds: options.seconds,
    perSecond,
    errors,
    before,
    whileIdle,
    whileBusy,
    after: sampleMemory(options.pid),
  };
}

/** One small object of a live heap, about 64 bytes on either engine. */
interface HeapNode {
  readonly next: HeapNode | undefined;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

/** Roughly that many megabytes of linked objects that a collector has to walk. Keep the result. */
export function liveHeap(megabytes: number): readonly unknown[] {
  const heads: HeapNode[] = [];
  for (let index = 0; index < megabytes; index++) {
    let head: HeapNode | undefined;
    for (let each = 0; each < 16384; each++) head = { next: head, a: each, b: index, c: 0, d: 0 };
    heads.push(head as HeapNode);
  }
  return heads;
}
