/**
 * One run of a source for one key. It never waits for another node, so whoever joins it cannot be
 * part of a ring of nodes that wait for each other.
 */
import type { FillSlots, Turn } from "./fill_slots.ts";
import { fillFailed, refused } from "./refusal.ts";
import type { Alarm } from "./alarm.ts";
import { Flight } from "./flight.ts";
import type { CoveyError } from "../base/error.ts";
import type { CacheCounters } from "./counters.ts";

/** A value with a time to live of its own. */
export interface FilledValue {
  readonly value: Uint8Array;
  /** In place of the namespace's. Infinity for no end. */
  readonly ttlMs?: number;
}

/**
 * Gives the value of a key. The array is the cache's from then on. The signal fires when nobody
 * waits any more or the time is over; what comes afterwards is dropped.
 */
export type Filler = (
  key: string,
  signal: AbortSignal,
) => Promise<Uint8Array | FilledValue> | Uint8Array | FilledValue;

/** What a fill needs of its node. */
export interface FillParts {
  readonly alarm: Alarm;
  readonly slots: FillSlots;
  readonly counters: CacheCounters;
}

/** What a fill needs of its namespace. */
export interface FillHome {
  readonly name: string;
  readonly fills: Map<string, Fill>;
  readonly source: Filler;
  /** Takes the value, keeps it if it may, and says until when it holds. */
  filled(fill: Fill, value: Uint8Array, ttlMs: number | undefined): number;
  /** May remember the error for a while. */
  failedToFill(fill: Fill, error: CoveyError): void;
}

export class Fill extends Flight implements Turn {
  readonly #parts: FillParts;
  readonly #home: FillHome;
  readonly #untilMs: number;
  #phase: "queued" | "running" | "returned" = "queued";
  #controller: AbortController | undefined = undefined;

  /** It gives up at `untilMs`. */
  constructor(parts: FillParts, home: FillHome, key: string, untilMs: number) {
    super(parts.alarm, key);
    this.#parts = parts;
    this.#home = home;
    this.#untilMs = untilMs;
    home.fills.set(key, this);
  }

  /** To be called once somebody waits. */
  start(): void {
    this.begin();
    this.hurry(this.#untilMs);
    this.#parts.slots.enter(this);
  }

  /** Its turn has come. */
  run(): void {
    this.#phase = "running";
    const controller = this.#controller = new AbortController();
    const { source } = this.#home;
    // What the source throws at once comes later all the same: the caller is still at work.
    new Promise<Uint8Array | FilledValue>((resolve) => resolve(source(this.key, controller.signal)))
      .then(checked)
      .then((filled) => this.#returned(filled), (error: unknown) => this.#threw(error));
  }

  #returned({ value, ttlMs }: FilledValue): void {
    const wanted = !this.over;
    this.#phase = "returned";
    this.#parts.slots.returned();
    if (!wanted) return;
    this.#parts.counters.filled++;
    this.done(value, this.#home.filled(this, value, ttlMs));
  }

  #threw(error: unknown): void {
    const wanted = !this.over;
    this.#phase = "returned";
    this.#parts.slots.returned();
    if (wanted) this.#fail(error);
  }

  #fail(thrown: unknown): void {
    const error = fillFailed(this.#home.name, thrown);
    this.#parts.counters.fillErrors++;
    this.#home.failedToFill(this, error);
    this.failed(error);
  }

  protected override ended(): void {
    if (this.#home.fills.get(this.key) === this) this.#home.fills.delete(this.key);
    if (this.#phase === "queued") this.#parts.slots.leave(this);
    else this.#parts.slots.unwanted();
  }

  protected override abandoned(): void {
    if (this.#phase !== "running") return;
    this.#parts.counters.fillsCanceled++;
    this.#controller!.abort(new DOMException("nobody waits for the value any more", "AbortError"));
  }

  protected override work(nowMs: number): number {
    if (nowMs < this.#untilMs) return this.#untilMs;
    const { counters } = this.#parts;
    const what = this.#phase === "queued"
      ? "other sources of this node run, and its turn did not come"
      : `the source of ${this.#home.name} did not give it`;
    counters.fillTimeouts++;
    this.stop(refused("fill_timeout", `the value took too long: ${what}`));
    return Infinity;
  }
}

/** Whatever a source gives; what is no value is its error. */
function checked(result: Uint8Array | FilledValue): FilledValue {
  if (result instanceof Uint8Array) return { value: result };
  const { value, ttlMs } = result ?? {};
  if (!(value instanceof Uint8Array)) throw new TypeError("it gave no Uint8Array");
  if (ttlMs !== undefined && !(ttlMs > 0)) throw new TypeError(`its time to live is ${ttlMs}`);
  return { value, ttlMs };
}
