/**
 * Rendezvous hashing (Thaler and Ravishankar, 1998): each pair of a key and a member has a weight,
 * and the key belongs to the member with the greatest. When a member goes, its keys alone move, and
 * they spread over all others; when one comes, it takes an even share from each.
 *
 * Both are hashed with XXH64, the member once, and the weight mixes the two hashes. It is the node
 * id that is hashed, so that a member keeps its keys when its address changes, and every node that
 * knows the same members chooses alike.
 */
import { encodeText, fromHex } from "../../base/bytes.ts";
import { xxh64 } from "../../base/xxh64.ts";
import type { Candidate } from "./candidate.ts";

/** A 64-bit hash in two halves. */
interface Halves {
  readonly high: number;
  readonly low: number;
}

export class Rendezvous {
  /** Weak, for nobody tells that a member is gone. */
  readonly #ids = new WeakMap<Candidate, Halves>();

  /** The owner of the key; there must be at least one candidate. Of equals it is the first. */
  choose<C extends Candidate>(candidates: readonly C[], key: Uint8Array): C {
    if (candidates.length === 1) return candidates[0];
    const hash = halvesOf(key);
    let owner = candidates[0];
    let most = weigh(hash, this.#idOf(owner));
    for (let at = 1; at < candidates.length; at++) {
      const candidate = candidates[at];
      const weight = weigh(hash, this.#idOf(candidate));
      if (weight <= most) continue;
      owner = candidate;
      most = weight;
    }
    return owner;
  }

  #idOf(candidate: Candidate): Halves {
    let id = this.#ids.get(candidate);
    if (id === undefined) {
      id = halvesOf(fromHex(candidate.nodeId) ?? encodeText(candidate.nodeId));
      this.#ids.set(candidate, id);
    }
    return id;
  }
}

function halvesOf(bytes: Uint8Array): Halves {
  const hash = xxh64(bytes);
  return { high: Number(hash >> 32n) | 0, low: Number(hash & 0xffffffffn) | 0 };
}

/** 32 bits, unsigned; every bit of both hashes counts in each of them. */
function weigh(key: Halves, id: Halves): number {
  return mixed(key.high ^ id.high ^ mixed(key.low ^ id.low)) >>> 0;
}

/** The finish of MurmurHash3, which lets every bit of 32 change all others. */
function mixed(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}
