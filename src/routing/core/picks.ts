/**
 * Who is called: the policies. Each is a small machine that chooses one of the candidates; who they
 * are, and which of them a call has tried before, is the caller's to say. None of them remembers a
 * member: they follow the view without being told that it changed.
 */
import type { Prng } from "../../base/prng.ts";
import { Code, CoveyError } from "../../base/error.ts";
import type { Candidate } from "./candidate.ts";
import { Rendezvous } from "./rendezvous.ts";

/** Policies that need nothing said. */
export type NamedPick = "round_robin" | "least_pending" | "nearest";

/** How a member is chosen among those that it leaves. */
export type Pick =
  | NamedPick
  /** The one with this name. */
  | { readonly name: string }
  /** Those with this tag, and of them by another policy; without one, in turn. */
  | { readonly tag: string; readonly then?: Pick }
  /** The same key goes to the same member, for as long as it is one. */
  | "key";

export interface Policy {
  /** Whether the member may be chosen at all; undefined when all may. */
  readonly admits: ((candidate: Candidate) => boolean) | undefined;
  /** What {@link admits} asks for, such as `the tag "ssd"`; empty without it. */
  readonly demand: string;
  /** One of the candidates, of which there is at least one. They ascend by address. */
  choose<C extends Candidate>(candidates: readonly C[], key: Uint8Array | undefined): C;
}

/** Makes the policy; it draws from the generator. */
export function createPolicy(pick: Pick, prng: Prng): Policy {
  if (pick === "round_robin") return new RoundRobin(prng);
  if (pick === "least_pending") return new LeastPending(prng);
  if (pick === "nearest") return new Nearest(prng);
  if (pick === "key") return new ByKey();
  if (typeof pick === "object" && pick !== null) {
    if ("name" in pick && isText(pick.name)) return new ByName(pick.name);
    if ("tag" in pick && isText(pick.tag)) {
      return new ByTag(pick.tag, createPolicy(pick.then ?? "round_robin", prng));
    }
  }
  throw new CoveyError(
    Code.invalidArgument,
    `pick: found ${describe(pick)}; allowed: "round_robin", "least_pending", "nearest", ` +
      "{ name }, { tag, then? }, { key }",
  );
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value !== "";
}

function describe(value: unknown): string {
  try {
    return JSON.stringify(value) ?? typeof value;
  } catch {
    // A ring of objects, or a big integer: its kind has to do.
    return typeof value;
  }
}

/** One after the other by address; which one is the first is drawn, so that nodes do not agree. */
class RoundRobin implements Policy {
  readonly admits = undefined;
  readonly demand = "";
  readonly #prng: Prng;
  /** Who was chosen last. It need not be a candidate any more: the next one is behind it. */
  #last: string | undefined = undefined;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  choose<C extends Candidate>(candidates: readonly C[]): C {
    const chosen = this.#last === undefined
      ? this.#prng.pick(candidates)
      : candidates[placeBehind(candidates, this.#last) % candidates.length];
    this.#last = chosen.address;
    return chosen;
  }
}

/** The place of the first candidate whose address is greater; their number when there is none. */
function placeBehind(candidates: readonly Candidate[], address: string): number {
  let low = 0;
  let high = candidates.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (candidates[middle].address > address) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The fewest calls under way. */
class LeastPending implements Policy {
  readonly admits = undefined;
  readonly demand = "";
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  choose<C extends Candidate>(candidates: readonly C[]): C {
    return leastPending(candidates, this.#prng);
  }
}

/**
 * Of two that are drawn among those with the fewest calls under way, the one whose last call is
 * longer ago: idle members take turns, and nodes that begin together do not all choose the same.
 */
function leastPending<C extends Candidate>(candidates: readonly C[], prng: Prng): C {
  let fewest = Infinity;
  let tied: C[] = [];
  for (const candidate of candidates) {
    if (candidate.pending > fewest) continue;
    if (candidate.pending < fewest) tied = [];
    fewest = candidate.pending;
    tied.push(candidate);
  }
  const one = prng.pick(tied);
  const other = prng.pick(tied);
  return other.lastCall < one.lastCall ? other : one;
}

/** The shortest round trip; among equals, and among those of whom none is known, the least busy. */
class Nearest implements Policy {
  readonly admits = undefined;
  readonly demand = "";
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  choose<C extends Candidate>(candidates: readonly C[]): C {
    let leastMs = Infinity;
    let tied: C[] = [];
    for (const candidate of candidates) {
      const tripMs = candidate.tripMs ?? Infinity;
      if (tripMs > leastMs) continue;
      if (tripMs < leastMs) tied = [];
      leastMs = tripMs;
      tied.push(candidate);
    }
    return tied.length === 1 ? tied[0] : leastPending(tied, this.#prng);
  }
}

class ByName implements Policy {
  readonly admits: (candidate: Candidate) => boolean;
  readonly demand: string;

  constructor(name: string) {
    this.admits = (candidate) => candidate.name === name;
    this.demand = `the name ${JSON.stringify(name)}`;
  }

  choose<C extends Candidate>(candidates: readonly C[]): C {
    // Names are unique in a view.
    return candidates[0];
  }
}

class ByTag implements Policy {
  readonly admits: (candidate: Candidate) => boolean;
  readonly demand: string;
  readonly #then: Policy;

  constructor(tag: string, then: Policy) {
    this.admits = (candidate) =>
      candidate.tags.includes(tag) && (then.admits === undefined || then.admits(candidate));
    const own = `the tag ${JSON.stringify(tag)}`;
    this.demand = then.demand === "" ? own : `${own} and ${then.demand}`;
    this.#then = then;
  }

  choose<C extends Candidate>(candidates: readonly C[], key: Uint8Array | undefined): C {
    return this.#then.choose(candidates, key);
  }
}

class ByKey implements Policy {
  readonly admits = undefined;
  readonly demand = "";
  readonly #rendezvous = new Rendezvous();

  choose<C extends Candidate>(candidates: readonly C[], key: Uint8Array | undefined): C {
    if (key === undefined) {
      throw new CoveyError(Code.invalidArgument, "pick by key: the call has no key", {
        sent: false,
      });
    }
    return this.#rendezvous.choose(candidates, key);
  }
}
