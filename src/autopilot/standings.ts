/**
 * Asks members whether they have a replica: those without one here, and those whose replica is out
 * of contact. What a node said counts until it says something else or joins anew.
 */
import { CoveyError } from "../base/error.ts";
import { Transport } from "../gen/covey/raft/v1/transport_pb.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import type { Standing } from "./core/types.ts";
import type { FeedMember } from "./view_feed.ts";

/** Says where a member stands; rejects when it does not answer, or when the signal fires. */
export type AskStanding = (member: FeedMember, signal: AbortSignal) => Promise<Standing>;

/** For one answer. */
const answerMs = 2_000;
/** Between two questions to the same member. */
const againMs = 5_000;
/** Questions under way: with hundreds of members the rest waits for its turn. */
export const asksMax = 8;

export interface StandingsParts {
  readonly clock: Clock;
  readonly ask: AskStanding;
  /** Somebody stands otherwise than before. */
  readonly changed: () => void;
  /** All of {@link asksMax} are under way, and one more waits. */
  readonly limited: () => void;
}

interface Known {
  readonly incarnation: bigint;
  standing: Standing;
  /** When it was asked last. */
  askedMs: number;
  isAsked: boolean;
}

export class Standings {
  readonly #parts: StandingsParts;
  readonly #known = new Map<string, Known>();
  #asking = 0;
  /** Of the questions since the last {@link clear}. */
  #abort = new AbortController();

  constructor(parts: StandingsParts) {
    this.#parts = parts;
  }

  of(nodeId: string): Standing {
    return this.#known.get(nodeId)?.standing ?? "unknown";
  }

  /** Asks those of these members whose turn it is, and forgets all others. */
  want(members: readonly FeedMember[]): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const wanted = new Map(members.map((member) => [member.nodeId, member]));
    for (const [nodeId, { incarnation }] of this.#known) {
      if (wanted.get(nodeId)?.incarnation !== incarnation) this.#known.delete(nodeId);
    }
    const due = members
      .map((member) => ({ member, known: this.#entry(member) }))
      .filter(({ known }) => !known.isAsked && nowMs - known.askedMs >= againMs)
      .sort((a, b) => a.known.askedMs - b.known.askedMs);
    for (const { member, known } of due) {
      if (this.#asking >= asksMax) {
        this.#parts.limited();
        return;
      }
      known.askedMs = nowMs;
      void this.#ask(member, known);
    }
  }

  /** What it said is of the past. */
  forget(nodeId: string): void {
    this.#known.delete(nodeId);
  }

  /** Nobody is asked any more, and nothing is known. */
  clear(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#known.clear();
  }

  #entry({ nodeId, incarnation }: FeedMember): Known {
    let known = this.#known.get(nodeId);
    if (known === undefined) {
      known = { incarnation, standing: "unknown", askedMs: -Infinity, isAsked: false };
      this.#known.set(nodeId, known);
    }
    return known;
  }

  async #ask(member: FeedMember, known: Known): Promise<void> {
    const { clock, ask, changed } = this.#parts;
    const abort = new AbortController();
    const end = (): void => abort.abort();
    const timer: Timer = clock.timer(answerMs, end, undefined);
    const { signal } = this.#abort;
    signal.addEventListener("abort", end);
    known.isAsked = true;
    this.#asking++;
    try {
      const standing = await ask(member, abort.signal);
      const isNews = standing !== known.standing;
      known.standing = standing;
      if (isNews && this.#known.get(member.nodeId) === known) changed();
    } catch (error) {
      // Whoever does not answer stands where it stood. Anything else is a bug here.
      if (!(error instanceof CoveyError)) throw error;
    } finally {
      timer.cancel();
      signal.removeEventListener("abort", end);
      known.isAsked = false;
      this.#asking--;
    }
  }
}

/** Asks over the mesh. */
export function askOverMesh(
  channel: (address: string) => Channel,
  clusterId: () => string | undefined,
): AskStanding {
  return async ({ address, nodeId }, signal) => {
    using opened = channel(address);
    const answer = await createClient(Transport, opened).identify({}, {
      signal,
      timeoutMs: answerMs,
    });
    // Somebody else is there by now: the view will say so.
    if (answer.self?.nodeId !== nodeId) return "unknown";
    if (answer.clusterId === "") return "vacant";
    return answer.clusterId === clusterId() ? "taken" : "foreign";
  };
}
