/** Everything that a decision is made of, once it is known. */
import type { Memory } from "./memory.ts";
import { type Seat, seatsOf } from "./seat.ts";
import type { Inputs, Policy, ViewMember } from "./types.ts";

/** A member of the view without a replica. */
export interface Newcomer {
  readonly member: ViewMember;
  readonly presentMs: number;
}

export interface Situation {
  readonly policy: Policy;
  readonly inputs: Inputs;
  /** Ascending by replica. */
  readonly seats: readonly Seat[];
  readonly self: Seat;
  readonly voters: readonly Seat[];
  readonly learners: readonly Seat[];
  readonly newcomers: readonly Newcomer[];
  /** Since autopilot changed the voters last; Infinity when it has not. */
  readonly sinceVotersMs: number;
}

/** Undefined when the group does not know its own leader's replica, which is a leader no more. */
export function situationOf(
  inputs: Inputs,
  { memory, policy, nowMs, votersChangedMs }: {
    readonly memory: Memory;
    readonly policy: Policy;
    readonly nowMs: number;
    readonly votersChangedMs: number;
  },
): Situation | undefined {
  const seats = [...seatsOf(inputs, memory, policy, nowMs)]
    .sort((a, b) => a.replica.id - b.replica.id);
  const self = seats.find(({ isSelf }) => isSelf);
  if (self === undefined) return undefined;
  const known = new Set(seats.map(({ replica }) => replica.nodeId));
  const newcomers = inputs.view.members
    .filter(({ nodeId }) => !known.has(nodeId))
    .map((member) => ({ member, presentMs: nowMs - memory.node(member.nodeId).sinceMs }));
  return {
    policy,
    inputs,
    seats,
    self,
    voters: seats.filter(({ replica }) => replica.isVoter),
    learners: seats.filter(({ replica }) => !replica.isVoter),
    newcomers,
    sinceVotersMs: nowMs - votersChangedMs,
  };
}

export function isHealthy(situation: Situation, replica: number): boolean {
  return situation.seats.some((seat) =>
    seat.replica.id === replica && (seat.isSelf || seat.replica.inContact)
  );
}

/** Why this is no moment for a change that can wait, as a sentence; undefined when it is one. */
export function restlessness({ voters, policy }: Situation): string | undefined {
  for (const seat of voters) {
    const { presentMs, contactMs, isSelf, replica } = seat;
    const isCalm = presentMs !== undefined && presentMs >= policy.stabilizeMs &&
      (isSelf || (contactMs !== undefined && contactMs >= policy.stabilizeMs));
    if (!isCalm) return `${replica.name} has not been there for long enough`;
  }
  return undefined;
}
