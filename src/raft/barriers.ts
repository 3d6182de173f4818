/**
 * Linearizable reads that wait. All that come while a request for the read index is under way share
 * the next one, as in etcd: reads cost rounds of heartbeats by time, not by number.
 */
import type { CoveyError } from "../base/error.ts";

export interface Barrier {
  readonly deadlineMs: number;
  resolve(): void;
  reject(error: CoveyError): void;
  over: boolean;
  /** Lets go of what the waiter holds, when it is over. */
  release?: () => void;
}

interface Indexed {
  readonly index: number;
  readonly barriers: readonly Barrier[];
}

/** Requests for the index under way at the same time. */
const requestsMax = 2;

export class Barriers {
  #open: Barrier[] = [];
  readonly #asked = new Map<number, readonly Barrier[]>();
  /** Ascending by index: they wait for the machine. */
  #indexed: Indexed[] = [];
  #nextDeadlineMs = Infinity;
  /** Dropped requests' waiters, who ask again at the next tick. */
  #later: Barrier[] = [];

  /** Those that wait. */
  get size(): number {
    let size = countWaiting(this.#open) + countWaiting(this.#later);
    for (const barriers of this.#asked.values()) size += countWaiting(barriers);
    for (const { barriers } of this.#indexed) size += countWaiting(barriers);
    return size;
  }

  /** Somebody waits, and a request may be made. */
  get wantsIndex(): boolean {
    return this.#open.length > 0 && this.#asked.size < requestsMax;
  }

  add(barrier: Barrier): void {
    this.#open.push(barrier);
    if (barrier.deadlineMs < this.#nextDeadlineMs) this.#nextDeadlineMs = barrier.deadlineMs;
  }

  /** A request was made for everybody who waits without one. */
  asked(request: number): void {
    this.#asked.set(request, this.#open);
    this.#open = [];
  }

  /** The request's answer. */
  indexed(request: number, index: number, applied: number): void {
    const barriers = this.#asked.get(request);
    if (barriers === undefined) return;
    this.#asked.delete(request);
    if (index <= applied) resolveAll(barriers);
    else this.#insert({ index, barriers });
  }

  /** The request will not be answered: they ask again at the next tick, within their time. */
  dropped(request: number): void {
    const barriers = this.#asked.get(request);
    if (barriers === undefined) return;
    this.#asked.delete(request);
    this.#later.push(...barriers.filter(({ over }) => !over));
  }

  /** The way to the leader broke: what was asked may be lost, and is asked anew. */
  lost(): void {
    for (const request of [...this.#asked.keys()]) this.dropped(request);
  }

  applied(index: number): void {
    let done = 0;
    while (done < this.#indexed.length && this.#indexed[done].index <= index) {
      resolveAll(this.#indexed[done++].barriers);
    }
    if (done > 0) this.#indexed = this.#indexed.slice(done);
  }

  /** The machine does not get what they wait for: they fail at once. */
  failIndexed(error: () => CoveyError): void {
    for (const { barriers } of this.#indexed) {
      for (const barrier of barriers) {
        if (barrier.over) continue;
        barrier.over = true;
        barrier.release?.();
        barrier.reject(error());
      }
    }
    this.#indexed = [];
  }

  /** A tick: ends those whose time is over. */
  expire(nowMs: number, error: () => CoveyError): void {
    if (this.#later.length > 0) {
      this.#open.push(...this.#later);
      this.#later = [];
    }
    if (nowMs < this.#nextDeadlineMs) return;
    let next = Infinity;
    for (const barriers of this.#all()) {
      for (const barrier of barriers) {
        if (barrier.over) continue;
        if (barrier.deadlineMs <= nowMs) {
          barrier.over = true;
          barrier.release?.();
          barrier.reject(error());
        } else next = Math.min(next, barrier.deadlineMs);
      }
    }
    this.#open = this.#open.filter(({ over }) => !over);
    this.#nextDeadlineMs = next;
  }

  close(error: () => CoveyError): void {
    this.#nextDeadlineMs = -Infinity;
    this.expire(Infinity, error);
  }

  #all(): (readonly Barrier[])[] {
    const indexed = this.#indexed.map(({ barriers }) => barriers);
    return [this.#open, this.#later, ...this.#asked.values(), ...indexed];
  }

  #insert(indexed: Indexed): void {
    let at = this.#indexed.length;
    while (at > 0 && this.#indexed[at - 1].index > indexed.index) at--;
    this.#indexed.splice(at, 0, indexed);
  }
}

function countWaiting(barriers: readonly Barrier[]): number {
  let count = 0;
  for (const { over } of barriers) if (!over) count++;
  return count;
}

function resolveAll(barriers: readonly Barrier[]): void {
  for (const barrier of barriers) {
    if (barrier.over) continue;
    barrier.over = true;
    barrier.release?.();
    barrier.resolve();
  }
}
