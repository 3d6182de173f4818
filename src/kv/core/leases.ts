/**
 * The leases and the keys that hang on them. No time passes here: a lease ends when a command says
 * so. Which leases are due is the leader's to find out, with {@link LeaseClock}.
 */
import { assert } from "../../base/assert.ts";

export interface Lease {
  readonly id: number;
  readonly ttlMs: number;
  /** What the last checkpoint left of it; 0 for all of it. */
  remainingMs: number;
  /** Addresses of its keys, in no order that may show. */
  readonly keys: Set<number>;
}

export class Leases {
  /** In the order of their granting. */
  readonly #byId = new Map<number, Lease>();

  get size(): number {
    return this.#byId.size;
  }

  get(id: number): Lease | undefined {
    return this.#byId.get(id);
  }

  has(id: number): boolean {
    return this.#byId.has(id);
  }

  all(): IterableIterator<Lease> {
    return this.#byId.values();
  }

  grant(id: number, ttlMs: number, remainingMs = 0): void {
    assert(!this.#byId.has(id), "a lease is granted once");
    this.#byId.set(id, { id, ttlMs, remainingMs, keys: new Set() });
  }

  remove(id: number): void {
    this.#byId.delete(id);
  }

  attach(id: number, key: number): void {
    this.#byId.get(id)?.keys.add(key);
  }

  detach(id: number, key: number): void {
    this.#byId.get(id)?.keys.delete(key);
  }
}
