/**
 * The owner of a key: rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to
 * increase hit rates", 1998). Each member has a score for the key, and the highest owns it. A member
 * that joins or leaves moves only the keys that it gets or had, and there is nothing to build.
 */
import { type Hash, mix, Murmur } from "./murmur.ts";

/** Who may own keys. The node id is what counts: it outlives incarnations. */
export interface Candidate {
  /** 32 hexadecimal digits. */
  readonly nodeId: string;
}

export class Rendezvous<M extends Candidate> {
  /** By node id, each once. */
  readonly members: readonly M[];
  readonly #high: Int32Array;
  readonly #low: Int32Array;

  constructor(members: readonly M[]) {
    const byId = new Map<string, M>();
    for (const member of members) byId.set(member.nodeId, member);
    this.members = [...byId.values()].sort((a, b) => a.nodeId < b.nodeId ? -1 : 1);
    this.#high = new Int32Array(this.members.length);
    this.#low = new Int32Array(this.members.length);
    const murmur = new Murmur();
    for (const [at, { nodeId }] of this.members.entries()) {
      const codes = Uint8Array.from(nodeId, (character) => character.charCodeAt(0));
      murmur.take(codes, codes.length, 3, 4);
      this.#high[at] = murmur.high;
      this.#low[at] = murmur.low;
    }
  }

  /** Undefined where there are no members. */
  owner({ high, low }: Hash): M | undefined {
    let best = -1;
    let bestScore = -1;
    for (let at = 0; at < this.members.length; at++) {
      const score = scoreOf(high ^ this.#high[at], low ^ this.#low[at]);
      // Of equal scores the first one counts, and everybody has the members in the same order.
      if (score <= bestScore) continue;
      best = at;
      bestScore = score;
    }
    return this.members[best];
  }

  /** The owner, who owns the key when that one is away, and so on. */
  ranked({ high, low }: Hash, count: number): M[] {
    const scored = this.members.map((member, at) => ({
      member,
      at,
      score: scoreOf(high ^ this.#high[at], low ^ this.#low[at]),
    }));
    scored.sort((a, b) => b.score - a.score || a.at - b.at);
    return scored.slice(0, count).map(({ member }) => member);
  }
}

/** 32 bits, unsigned. */
function scoreOf(high: number, low: number): number {
  return mix((mix(low) + high) | 0) >>> 0;
}
