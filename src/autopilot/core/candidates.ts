/** Whom to give a vote, and whom to take it from. */
import { Fate, type Seat, steadyMs } from "./seat.ts";
import { isHealthy, type Newcomer, type Situation } from "./situation.ts";
import { compareText } from "./words.ts";
import { compareSpreads, type Spread, spreadOf } from "./zones.ts";

/** Learners that can have a vote now, the best beside these voters first. */
export function candidates(situation: Situation, beside: readonly Seat[]): Seat[] {
  return situation.learners
    .filter(({ fate, hindrances }) => fate === "stays" && hindrances.length === 0)
    .sort((a, b) =>
      compareSpreads(spreadWith(beside, a), spreadWith(beside, b)) || a.behind - b.behind ||
      steadyMs(b) - steadyMs(a) || a.replica.id - b.replica.id
    );
}

/** Voters that can go while all are well, the one that is missed least first; never the leader. */
export function dispensable({ voters }: Situation): Seat[] {
  const others = voters.filter(({ isSelf }) => !isSelf);
  return others.sort((a, b) =>
    Number(isFit(a)) - Number(isFit(b)) ||
    compareSpreads(spreadWithout(voters, a), spreadWithout(voters, b)) ||
    b.replica.id - a.replica.id
  );
}

/** Whether it can stay a voter for good. */
export function isFit({ member, replica }: Seat): boolean {
  return member !== undefined && !member.isLeaf && replica.hasRoom;
}

/** Members that can become learners now, in the order in which they are added. */
export function joiners({ newcomers, seats }: Situation): Newcomer[] {
  const zones = new Set(seats.filter(({ fate }) => fate === Fate.stays).map(({ zone }) => zone));
  return newcomers
    .filter(({ member }) => !member.isLeaf && !member.isLeaving && member.standing === "vacant")
    .sort((a, b) => {
      // A zone of which there is nobody yet comes first.
      const isOld = Number(zones.has(a.member.zone)) - Number(zones.has(b.member.zone));
      return isOld || b.presentMs - a.presentMs || compareText(a.member.nodeId, b.member.nodeId);
    });
}

/** Who takes over from a leader that has to go: the healthy voter that has most of the log. */
export function heirs(situation: Situation): Seat[] {
  return situation.voters
    .filter((seat) =>
      !seat.isSelf && seat.fate === "stays" && isFit(seat) && isHealthy(situation, seat.replica.id)
    )
    .sort((a, b) => a.behind - b.behind || a.replica.id - b.replica.id);
}

export function spreadWith(seats: readonly Seat[], seat: Seat): Spread {
  return spreadOf([...seats, seat].map(({ zone }) => zone));
}

export function spreadWithout(seats: readonly Seat[], seat: Seat): Spread {
  return spreadOf(seats.filter((one) => one !== seat).map(({ zone }) => zone));
}
