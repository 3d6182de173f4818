/**
 * The rules, the most pressing one first. Each looks for one change that is safe now; what stands in
 * the way of one that is wanted becomes a sentence. The first rule that finds a change ends the
 * search, unless that very change failed a moment ago: then the next one has its turn.
 */
import { candidates, dispensable, heirs, isFit, joiners, spreadWith } from "./candidates.ts";
import { quorumProblem } from "./quorum.ts";
import { Fate, type Seat, steadyMs, whereabouts } from "./seat.ts";
import { isHealthy, restlessness, type Situation } from "./situation.ts";
import type { Change } from "./types.ts";
import { count, list, spellOf } from "./words.ts";
import { compareSpreads, spreadOf } from "./zones.ts";

export interface Plan {
  readonly change: Change | undefined;
  /** Why this change, or all that stands in the way of one. */
  readonly why: string;
}

/** What a rule found. */
interface Step {
  readonly change: Change;
  readonly why: string;
}

/** Voters that are missing, and for how long they may be. */
function absences({ voters, policy }: Situation): string[] {
  return voters
    .map((seat) => ({ name: seat.replica.name, where: whereabouts(seat, policy) }))
    .filter(({ where }) => where.length > 0)
    .map(({ name, where }) => `${name} ${list(where)}`);
}

/** Says why a change must not be tried yet; undefined when it may be. */
export type Held = (change: Change) => string | undefined;

export function plan(situation: Situation, held: Held): Plan {
  const planner = new Planner(situation, held);
  const step = planner.find();
  if (step !== undefined) return step;
  const { obstacles } = planner;
  if (obstacles.length === 0) obstacles.push(...absences(situation));
  return {
    change: undefined,
    why: obstacles.length === 0 ? "everything is as wanted" : obstacles.join("; "),
  };
}

class Planner {
  readonly obstacles: string[] = [];
  readonly #situation: Situation;
  readonly #held: Held;
  readonly #rules: readonly (() => Step | undefined)[] = [
    () => this.#handOver(),
    () => this.#giveUp(),
    () => this.#findHeir(),
    () => this.#grow(),
    () => this.#shrink(),
    () => this.#exchangeUnfit(),
    () => this.#spread(),
    () => this.#tidy(),
    () => this.#welcome(),
  ];

  constructor(situation: Situation, held: Held) {
    this.#situation = situation;
    this.#held = held;
  }

  find(): Step | undefined {
    for (const rule of this.#rules) {
      const step = rule();
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** A leader that has to go hands over first; the next one sees to the rest. */
  #handOver(): Step | undefined {
    const { self } = this.#situation;
    if (self.fate === Fate.stays) return undefined;
    return this.#transfer(heirs(this.#situation), this.#farewell());
  }

  /** A leader that has to go and has no heir gives a vote to one, beyond the wanted number if need be. */
  #findHeir(): Step | undefined {
    const { self, voters, policy } = this.#situation;
    if (self.fate === Fate.stays || heirs(this.#situation).length > 0) return undefined;
    const why = this.#farewell();
    if (voters.length <= policy.voters) {
      for (const next of candidates(this.#situation, voters)) {
        const step = this.#change({ promote: [next] }, `${why}: ${next.replica.name} gets a vote`);
        if (step !== undefined) return step;
      }
    }
    return this.#hinder(`${why}, and nobody can take over`);
  }

  #farewell(): string {
    const { self, policy } = this.#situation;
    return `${self.replica.name} leads and ${whereabouts(self, policy)[0]}`;
  }

  #transfer(inherit: readonly Seat[], why: string): Step | undefined {
    for (const heir of inherit) {
      const change: Change = { kind: "transfer", to: heir.replica.id };
      const step = this.#offer(change, `${why}: ${heir.replica.name} is to lead`);
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** Voters that left, are lost or dead: a successor comes in the same step, where there is one. */
  #giveUp(): Step | undefined {
    const { voters } = this.#situation;
    const order: readonly Fate[] = [Fate.left, Fate.lost, Fate.dead];
    const gone = voters
      .filter(({ fate, isSelf }) => fate !== Fate.stays && !isSelf)
      .sort((a, b) => order.indexOf(a.fate) - order.indexOf(b.fate));
    for (const seat of gone) {
      const step = this.#replace(seat);
      if (step !== undefined) return step;
    }
    return undefined;
  }

  #replace(seat: Seat): Step | undefined {
    const { voters, policy } = this.#situation;
    const why = `${seat.replica.name} ${list(whereabouts(seat, policy))}`;
    const rest = voters.filter((one) => one !== seat);
    if (voters.length > policy.voters) {
      return this.#change({ out: [seat] }, `${why}, and there are more voters than wanted`);
    }
    const ready = candidates(this.#situation, rest);
    for (const next of ready) {
      const step = this.#change(
        { promote: [next], out: [seat] },
        `${why}: ${next.replica.name} takes its place`,
      );
      if (step !== undefined) return step;
    }
    if (ready.length > 0) return undefined;
    const missing = `${why}, and ${this.#nobody()}`;
    // One that left is as good as gone. A node that lost its replica cannot have another one before
    // this is out; and without a voter that is lost no fewer of the others may fail than with it.
    if (seat.fate !== Fate.left && !seat.isVacant) return this.#hinder(missing);
    return this.#change({ out: [seat] }, missing);
  }

  /** From an odd number to the next odd one in one step: an even number bears no more failures. */
  #grow(): Step | undefined {
    const { voters, policy } = this.#situation;
    const missing = policy.voters - voters.length;
    if (missing <= 0) return undefined;
    const needed = voters.length % 2 === 0 ? 1 : 2;
    if (needed > missing) return undefined;
    const wanted = `${count(missing, "more voter")} ${missing === 1 ? "is" : "are"} wanted`;
    const ready = candidates(this.#situation, voters);
    if (ready.length === 0) return this.#hinder(`${wanted}, and ${this.#nobody()}`);
    if (ready.length < needed) {
      return this.#hinder(
        `${wanted}, and only ${ready[0].replica.name} is ready of the two that ` +
          "make an odd number",
      );
    }
    for (const first of ready) {
      const promote = [first];
      if (needed === 2) {
        promote.push(
          ...candidates(this.#situation, [...voters, first])
            .filter((seat) => seat !== first).slice(0, 1),
        );
      }
      const names = list(promote.map(({ replica }) => replica.name));
      const verb = promote.length === 1 ? "gets a vote" : "get votes";
      const step = this.#change({ promote }, `${wanted}: ${names} ${verb}`);
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** Down to the wanted number, while all is well; from odd to odd, as above. */
  #shrink(): Step | undefined {
    const { voters, policy } = this.#situation;
    const excess = voters.length - policy.voters;
    if (excess <= 0) return undefined;
    const why = `there are ${voters.length} voters, and ${policy.voters} are wanted`;
    const restless = restlessness(this.#situation);
    if (restless !== undefined) return this.#hinder(`${why}, but ${restless}`);
    const first = dispensable(this.#situation);
    for (const seat of first) {
      const out = [seat];
      if (excess > 1 && voters.length % 2 === 1) {
        const left = voters.filter((one) => one !== seat);
        out.push(...dispensable({ ...this.#situation, voters: left }).slice(0, 1));
      }
      const names = list(out.map(({ replica }) => replica.name));
      const step = this.#change(
        { out },
        `${why}: ${names} ${out.length === 1 ? "is" : "are"} ` +
          "to go on without a vote",
      );
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** Leaves, and nodes whose disk is nearly full, are exchanged for better ones when all is calm. */
  #exchangeUnfit(): Step | undefined {
    const { voters } = this.#situation;
    for (const seat of voters) {
      if (seat.fate !== Fate.stays || seat.member === undefined || isFit(seat)) continue;
      const { name } = seat.replica;
      const why = seat.member.isLeaf
        ? `${name} is a leaf, which is to have no vote`
        : `${name} has a disk that is nearly full`;
      const next = this.#exchangeable(seat);
      if (typeof next === "string") {
        this.#hinder(`${why}, but ${next}`);
        continue;
      }
      const step = seat.isSelf ? this.#transfer(heirs(this.#situation), why) : this.#change(
        { promote: [next], out: [seat] },
        `${why}: ${next.replica.name} takes its place`,
      );
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** Only what makes the spread strictly better, so that no two exchanges undo each other. */
  #spread(): Step | undefined {
    const { voters } = this.#situation;
    let best: { readonly seat: Seat; readonly next: Seat } | undefined;
    let bestSpread = spreadOf(voters.map(({ zone }) => zone));
    for (const seat of dispensable(this.#situation)) {
      const rest = voters.filter((one) => one !== seat);
      for (const next of candidates(this.#situation, rest).slice(0, 1)) {
        const spread = spreadWith(rest, next);
        if (compareSpreads(spread, bestSpread) >= 0) continue;
        best = { seat, next };
        bestSpread = spread;
      }
    }
    if (best === undefined) return undefined;
    const { seat, next } = best;
    const why = `${next.replica.name} in ${zoneName(next)} instead of ${seat.replica.name} in ` +
      `${zoneName(seat)} spreads the voters better`;
    const problem = this.#unsettled(next);
    if (problem !== undefined) return this.#hinder(`${why}, but ${problem}`);
    return this.#change({ promote: [next], out: [seat] }, why);
  }

  /** Who may come for this one without need, or why nobody may now. */
  #exchangeable(seat: Seat): Seat | string {
    const { voters } = this.#situation;
    const [next] = candidates(this.#situation, voters.filter((one) => one !== seat));
    if (next === undefined) return this.#nobody();
    return this.#unsettled(next) ?? next;
  }

  /** Why nothing is exchanged that could stay as it is; such changes are far apart. */
  #unsettled(next: Seat): string | undefined {
    const { policy, sinceVotersMs } = this.#situation;
    const { replaceAfterMs } = policy;
    const restless = restlessness(this.#situation);
    if (restless !== undefined) return restless;
    if (steadyMs(next) < replaceAfterMs) {
      return `${next.replica.name} is there for ${spellOf(steadyMs(next), replaceAfterMs)}`;
    }
    if (sinceVotersMs < replaceAfterMs) {
      return `the voters changed ${spellOf(sinceVotersMs, replaceAfterMs)} ago`;
    }
    return undefined;
  }

  /** Learners that left, are lost or dead. */
  #tidy(): Step | undefined {
    for (const seat of this.#situation.learners) {
      if (seat.fate === Fate.stays) continue;
      const why = `${seat.replica.name} ${list(whereabouts(seat, this.#situation.policy))}`;
      const step = this.#change({ out: [seat] }, `learner ${why}`);
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** Members without a replica become learners. */
  #welcome(): Step | undefined {
    const { policy, learners, voters } = this.#situation;
    // One that is away for a moment is counted on.
    const useful =
      learners.filter(({ fate, goneMs }) => fate === Fate.stays && goneMs < policy.replaceAfterMs)
        .length;
    const missing = policy.voters - voters.filter(({ fate }) => fate === Fate.stays).length;
    for (const { member } of joiners(this.#situation)) {
      // Beyond the limit only who is needed as a voter.
      if (useful >= policy.learnersMax && useful >= missing) return undefined;
      const { nodeId, name, address } = member;
      const step = this.#offer(
        { kind: "add_learner", nodeId, name, address },
        `${name} is a member and has no replica yet`,
      );
      if (step !== undefined) return step;
    }
    return undefined;
  }

  /** A change of the replicas, if it is safe. */
  #change(
    { promote = [], out = [] }: {
      readonly promote?: readonly Seat[];
      readonly out?: readonly Seat[];
    },
    why: string,
  ): Step | undefined {
    const ids = (seats: readonly Seat[]): number[] =>
      seats.map(({ replica }) => replica.id).sort((a, b) => a - b);
    const before = ids(this.#situation.voters);
    const leaving = ids(out);
    const after = [...before.filter((id) => !leaving.includes(id)), ...ids(promote)];
    const problem = quorumProblem(
      { before, after },
      (replica) => isHealthy(this.#situation, replica),
    );
    if (problem !== undefined) return this.#hinder(`${why}, but ${problem}`);
    // A voter that may come back stays as a learner; who never will is taken out.
    const isDemoted = ({ fate, replica }: Seat): boolean =>
      replica.isVoter && (fate === Fate.stays || fate === Fate.dead);
    return this.#offer({
      kind: "voters",
      promote: ids(promote),
      demote: ids(out.filter(isDemoted)),
      remove: ids(out.filter((seat) => !isDemoted(seat))),
    }, why);
  }

  #offer(change: Change, why: string): Step | undefined {
    const held = this.#held(change);
    if (held === undefined) return { change, why };
    return this.#hinder(`${why}, but ${held}`);
  }

  #hinder(obstacle: string): undefined {
    if (!this.obstacles.includes(obstacle)) this.obstacles.push(obstacle);
    return undefined;
  }

  /** Why there is no candidate. */
  #nobody(): string {
    const near = this.#situation.learners.filter(({ fate }) => fate === Fate.stays);
    if (near.length === 0) return "there is no learner to take a vote";
    return `no learner is ready: ${
      near.map(({ replica, hindrances }) => `${replica.name} ${list(hindrances)}`).join(", ")
    }`;
  }
}

function zoneName({ zone }: Seat): string {
  return zone === "" ? "no zone" : `zone ${zone}`;
}
