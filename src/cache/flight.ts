/**
 * A key whose value is on its way, and those who wait for it. Whoever leaves early takes nobody
 * along; when the last one has left, the work is given up.
 */
import type { Alarm, Timed } from "./alarm.ts";
import { canceled, expired } from "./refusal.ts";
import type { CoveyError } from "../base/error.ts";

/** Who waits at a node, in all. */
export interface Crowd {
  waiting: number;
}

/** Told once: the value with its end on the monotonic clock, or why there is none. */
export class Waiter {
  readonly deadlineMs: number;
  flight: Flight | undefined = undefined;
  readonly #done: (value: Uint8Array, expiresMs: number) => void;
  readonly #fail: (error: CoveyError) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort: (() => void) | undefined;

  readonly #crowd: Crowd;

  constructor(
    crowd: Crowd,
    done: (value: Uint8Array, expiresMs: number) => void,
    fail: (error: CoveyError) => void,
    deadlineMs: number,
    signal: AbortSignal | undefined,
  ) {
    this.#crowd = crowd;
    crowd.waiting++;
    this.#done = done;
    this.#fail = fail;
    this.deadlineMs = deadlineMs;
    this.#signal = signal;
    this.#onAbort = signal === undefined ? undefined : () => this.flight?.leave(this, canceled());
    if (this.#onAbort !== undefined) signal!.addEventListener("abort", this.#onAbort);
  }

  done(value: Uint8Array, expiresMs: number): void {
    this.#settle();
    this.#done(value, expiresMs);
  }

  fail(error: CoveyError): void {
    this.#settle();
    this.#fail(error);
  }

  #settle(): void {
    this.#crowd.waiting--;
    this.flight = undefined;
    if (this.#onAbort !== undefined) this.#signal!.removeEventListener("abort", this.#onAbort);
  }
}

/** The steps that a fill and a question to an owner share. */
export abstract class Flight implements Timed {
  readonly key: string;
  /** What comes may be kept; a removal in the meantime forbids it. */
  keep = true;
  dueMs = Infinity;
  protected over = false;
  /** Its place among those that are watched; -1 for none. The alarm's own. */
  alarmIndex = -1;
  /** Most keys have one caller at a time; a set for each would cost more than all the rest. */
  #first: Waiter | undefined = undefined;
  #more: Set<Waiter> | undefined = undefined;
  readonly #alarm: Alarm;

  constructor(alarm: Alarm, key: string) {
    this.#alarm = alarm;
    this.key = key;
  }

  join(waiter: Waiter): void {
    if (this.#first === undefined) this.#first = waiter;
    else (this.#more ??= new Set()).add(waiter);
    waiter.flight = this;
    this.hurry(waiter.deadlineMs);
  }

  /** One of those who wait does not want it any more. */
  leave(waiter: Waiter, error: CoveyError): void {
    if (this.#first === waiter) this.#first = undefined;
    else if (this.#more?.delete(waiter) !== true) return;
    waiter.fail(error);
    const isLast = this.#first === undefined && (this.#more === undefined || this.#more.size === 0);
    if (isLast && !this.over) {
      this.#end();
      this.abandoned();
    }
  }

  due(nowMs: number): void {
    let nextMs = Infinity;
    for (const waiter of this.#waiters()) {
      if (waiter.deadlineMs <= nowMs) this.leave(waiter, expired());
      else if (waiter.deadlineMs < nextMs) nextMs = waiter.deadlineMs;
    }
    if (this.over) return;
    const ownMs = this.work(nowMs);
    this.dueMs = ownMs < nextMs ? ownMs : nextMs;
  }

  /** Ends it with an error, from outside. */
  stop(error: CoveyError): void {
    if (this.over) return;
    this.failed(error);
    this.abandoned();
  }

  /** It begins to be under way. */
  protected begin(): void {
    this.#alarm.watch(this);
  }

  /** It wants to be looked at no later than then. */
  protected hurry(dueMs: number): void {
    if (dueMs >= this.dueMs) return;
    this.dueMs = dueMs;
    this.#alarm.notify(dueMs);
  }

  protected done(value: Uint8Array, expiresMs: number): void {
    this.#end();
    if (this.#more !== undefined) {
      for (const waiter of this.#taken()) waiter.done(value, expiresMs);
      return;
    }
    const waiter = this.#first;
    this.#first = undefined;
    waiter?.done(value, expiresMs);
  }

  protected failed(error: CoveyError): void {
    this.#end();
    for (const waiter of this.#taken()) waiter.fail(error);
  }

  /** Those who wait go on waiting elsewhere. */
  protected handOver(to: (waiter: Waiter) => void): void {
    this.#end();
    for (const waiter of this.#taken()) to(waiter);
  }

  #waiters(): Waiter[] {
    const more = this.#more === undefined ? [] : [...this.#more];
    return this.#first === undefined ? more : [this.#first, ...more];
  }

  #taken(): Waiter[] {
    const waiters = this.#waiters();
    this.#first = this.#more = undefined;
    return waiters;
  }

  #end(): void {
    this.over = true;
    this.#alarm.forget(this);
    this.ended();
  }

  /** It is over: whoever keeps it in a table forgets it. */
  protected abstract ended(): void;
  /** Nobody waits, or nobody may: what is under way is to be stopped. */
  protected abstract abandoned(): void;
  /** Its own times; gives when the next one is. It may end here. */
  protected abstract work(nowMs: number): number;
}
