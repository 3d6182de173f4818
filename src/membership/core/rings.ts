/**
 * The K rings (section 4.1 of the paper): K orders of the same members, each by a hash of its own.
 * On each ring a member is observed by the one before it, and observes the one behind it; a joiner
 * is observed by those who would be before it. All hold for any number of members: with fewer than
 * K+1 one member stands for several rings, and rings are counted, not members.
 *
 * The hash is XXH64 of the address with the ring's number as the seed, compared as a signed number,
 * as in the Java implementation; equal hashes are ordered by the address, where that one drops a
 * member.
 */
import { encodeText } from "../../base/bytes.ts";
import { xxh64 } from "../../base/xxh64.ts";
import { compareAddresses } from "./member.ts";

/** Ring numbers are bits of one number. */
export const ringsMost = 30;

/** The keys of one address on every ring: the high half of the hash, then the low one. */
export type RingKeys = Int32Array;

export function ringKeys(address: string, count: number): RingKeys {
  const bytes = encodeText(address);
  const keys = new Int32Array(2 * count);
  for (let ring = 0; ring < count; ring++) {
    const hash = xxh64(bytes, BigInt(ring));
    keys[2 * ring] = Number(hash >> 32n) | 0;
    keys[2 * ring + 1] = Number(hash & 0xffffffffn) | 0;
  }
  return keys;
}

/** What becomes of members from one configuration to the next. */
export interface Moves {
  /** The new place of each old one; -1 of those who leave. */
  readonly moves: Int32Array;
  /** New places of those who join. */
  readonly places: Int32Array;
}

/** Members are named by their places in the list of addresses. */
export class Rings {
  readonly count: number;
  readonly #addresses: readonly string[];
  readonly #keys: readonly RingKeys[];
  /** Per ring, the places in the ring's order. */
  readonly #orders: readonly Int32Array[];
  /** Per ring, where each place stands in that order. */
  readonly #ranks: readonly Int32Array[];

  private constructor(
    addresses: readonly string[],
    keys: readonly RingKeys[],
    orders: readonly Int32Array[],
  ) {
    this.count = orders.length;
    this.#addresses = addresses;
    this.#keys = keys;
    this.#orders = orders;
    this.#ranks = orders.map((order) => {
      const rank = new Int32Array(order.length);
      for (let at = 0; at < order.length; at++) rank[order[at]] = at;
      return rank;
    });
  }

  /** `keys`: of each address; see {@link ringKeys}. */
  static of(addresses: readonly string[], keys: readonly RingKeys[], count: number): Rings {
    const all = Int32Array.from(addresses.keys());
    const orders = Array.from({ length: count }, (_, ring) => sorted(all, ring, addresses, keys));
    return new Rings(addresses, keys, orders);
  }

  /** The rings of those who follow: the order of those who stay is the same. */
  after(
    addresses: readonly string[],
    keys: readonly RingKeys[],
    { moves, places }: Moves,
  ): Rings {
    const orders = this.#orders.map((before, ring) => {
      const joined = sorted(places, ring, addresses, keys);
      const order = new Int32Array(addresses.length);
      let at = 0;
      let next = 0;
      for (const old of before) {
        const place = moves[old];
        if (place < 0) continue;
        while (next < joined.length && compare(ring, joined[next], place, addresses, keys) < 0) {
          order[at++] = joined[next++];
        }
        order[at++] = place;
      }
      while (next < joined.length) order[at++] = joined[next++];
      return order;
    });
    return new Rings(addresses, keys, orders);
  }

  /** Who observes a member on this ring: the one before it; itself, when it is alone. */
  observerOf(place: number, ring: number): number {
    const order = this.#orders[ring];
    const rank = this.#ranks[ring][place];
    return order[rank === 0 ? order.length - 1 : rank - 1];
  }

  /** Whom a member observes on this ring: the one behind it; itself, when it is alone. */
  subjectOf(place: number, ring: number): number {
    const order = this.#orders[ring];
    const rank = this.#ranks[ring][place];
    return order[rank === order.length - 1 ? 0 : rank + 1];
  }

  /** Who observes somebody with this address who is no member yet. */
  gatekeeperOf(address: string, keys: RingKeys, ring: number): number {
    const order = this.#orders[ring];
    let low = 0;
    let high = order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = order[middle];
      const difference = compareKeys(ring, keys, this.#keys[other]) ||
        compareAddresses(address, this.#addresses[other]);
      if (difference > 0) low = middle + 1;
      else high = middle;
    }
    return order[low === 0 ? order.length - 1 : low - 1];
  }
}

function sorted(
  places: Int32Array,
  ring: number,
  addresses: readonly string[],
  keys: readonly RingKeys[],
): Int32Array {
  return places.slice().sort((a, b) => compare(ring, a, b, addresses, keys));
}

function compare(
  ring: number,
  a: number,
  b: number,
  addresses: readonly string[],
  keys: readonly RingKeys[],
): number {
  return compareKeys(ring, keys[a], keys[b]) || compareAddresses(addresses[a], addresses[b]);
}

function compareKeys(ring: number, a: RingKeys, b: RingKeys): number {
  const high = a[2 * ring] - b[2 * ring];
  return high !== 0 ? high : (a[2 * ring + 1] >>> 0) - (b[2 * ring + 1] >>> 0);
}
