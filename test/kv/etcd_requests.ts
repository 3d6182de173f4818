/** Random requests as JSON of etcd's protobuf, over few keys so that they collide often. */
import type { Prng } from "../../src/base/prng.ts";
import type { Json } from "./etcd_server.ts";

export const base64 = (text: string): string => btoa(text);

const keyNames = ["a", "a\0", "aa", "ab", "b", "b/1", "b/2", "b/2\xff", "c", "\xff", "\xff\xff"];

/** The largest number that can be asked for. */
const largest = String(2n ** 63n - 1n);

/** What the requests refer to. */
export interface Known {
  readonly revision: number;
  readonly compactRevision: number;
}

/** One request, by its name in both. */
export interface Request {
  readonly kind: "range" | "put" | "deleteRange" | "txn" | "compact" | LeaseKind;
  readonly json: Json;
}

type LeaseKind = "grant" | "revoke" | "timeToLive" | "leases";

export class RequestSource {
  readonly #prng: Prng;
  readonly #known: Known;

  constructor(prng: Prng, known: Known) {
    this.#prng = prng;
    this.#known = known;
  }

  next(): Request {
    const choice = this.#prng.below(100);
    if (choice < 32) return { kind: "put", json: this.#put(this.#key()) };
    if (choice < 55) return { kind: "range", json: this.#range() };
    if (choice < 65) return { kind: "deleteRange", json: this.#delete() };
    if (choice < 88) return { kind: "txn", json: this.#txn(2) };
    if (choice < 91) {
      return { kind: "compact", json: { revision: String(this.#revision()), physical: true } };
    }
    if (choice < 95) {
      return { kind: "grant", json: { TTL: String(this.#ttl()), ID: this.#lease() } };
    }
    if (choice < 97) return { kind: "revoke", json: { ID: this.#lease() } };
    if (choice < 99) return { kind: "timeToLive", json: { ID: this.#lease(), keys: true } };
    return { kind: "leases", json: {} };
  }

  watch(): Json {
    const filters = this.#prng.pick([[], [], [0], [1]]);
    return {
      ...this.#interval(false),
      start_revision: String(this.#prng.between(1, this.#known.revision)),
      prev_kv: this.#prng.chance(0.5),
      filters,
    };
  }

  #key(): string {
    return base64(this.#prng.chance(0.01) ? "" : this.#prng.pick(keyNames));
  }

  /** Neither of 0, which is refused on purpose here, nor so short that it ends in the meantime. */
  #ttl(): string | number {
    return this.#prng.chance(0.05)
      ? this.#prng.pick<string | number>([9_000_000_001, largest])
      : this.#prng.between(500, 1_000);
  }

  #lease(): string {
    return String(this.#prng.between(1, 6));
  }

  #revision(): number {
    const { revision, compactRevision } = this.#known;
    return this.#prng.chance(0.1)
      ? Math.max(1, revision + this.#prng.between(-1, 3))
      : Math.max(1, this.#prng.between(compactRevision - 1, revision));
  }

  #interval(mayBeEmpty = true): Json {
    const key = this.#prng.pick(keyNames);
    const ends = ["", "", "\0", "b", "c", "b0", this.#prng.pick(keyNames)]
      .filter((end) => mayBeEmpty || end === "" || end === "\0" || end > key);
    const range_end = this.#prng.pick(ends);
    const from = range_end === "\0" && this.#prng.chance(0.3) ? "\0" : key;
    return { key: base64(from), range_end: base64(range_end) };
  }

  #put(key: string): Json {
    const ignore_value = this.#prng.chance(0.05);
    const ignore_lease = this.#prng.chance(0.05);
    const keeps = this.#prng.chance(0.9);
    return {
      key,
      value: ignore_value && keeps ? "" : base64(this.#prng.pick(["", "1", "2", "x\0y", "long"])),
      lease: (ignore_lease && keeps) || this.#prng.chance(0.7) ? "0" : this.#lease(),
      prev_kv: this.#prng.chance(0.3),
      ignore_value,
      ignore_lease,
    };
  }

  #range(): Json {
    const prng = this.#prng;
    const bound = (): string => prng.chance(0.08) ? String(this.#revision()) : "0";
    const limit = prng.chance(0.3) ? prng.between(1, 4) : 0;
    const sort_target = prng.pick([0, 0, 1, 2, 3, 4]);
    // Without an order etcd takes the limit before it sorts by the target.
    const orders = limit > 0 && sort_target > 0 ? [1, 2] : [0, 0, 0, 1, 2];
    return {
      ...this.#interval(),
      limit: prng.chance(0.05) ? largest : String(limit),
      revision: prng.chance(0.3) ? String(this.#revision()) : "0",
      sort_order: prng.pick(orders),
      sort_target,
      serializable: prng.chance(0.3),
      keys_only: prng.chance(0.15),
      count_only: prng.chance(0.1),
      min_mod_revision: bound(),
      max_mod_revision: bound(),
      min_create_revision: bound(),
      max_create_revision: bound(),
    };
  }

  #delete(): Json {
    return { ...this.#interval(), prev_kv: this.#prng.chance(0.4) };
  }

  #compare(): Json {
    const prng = this.#prng;
    const target = prng.below(5);
    const number = String(prng.chance(0.5) ? prng.below(3) : this.#revision());
    const value = [
      { version: number },
      { create_revision: number },
      { mod_revision: number },
      { value: base64(prng.pick(["1", "2", ""])) },
      { lease: String(prng.below(4)) },
    ][target];
    const keys = prng.chance(0.2) ? this.#interval() : { key: this.#key() };
    return { ...keys, target, result: prng.below(4), ...value };
  }

  /** A put beside a delete of the same key is a refusal of covey's own: either the one or the other. */
  #txn(depth: number, puts = this.#prng.chance(0.6)): Json {
    const prng = this.#prng;
    const operation = (): Json => {
      if (depth > 0 && prng.chance(0.1)) return { request_txn: this.#txn(depth - 1, puts) };
      if (prng.chance(0.4)) return { request_range: this.#range() };
      return puts
        ? { request_put: this.#put(this.#key()) }
        : { request_delete_range: this.#delete() };
    };
    const some = (most: number): number[] => Array.from({ length: prng.below(most + 1) }, () => 0);
    return {
      compare: some(2).map(() => this.#compare()),
      success: some(3).map(operation),
      failure: some(3).map(operation),
    };
  }
}
