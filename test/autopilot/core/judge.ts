/**
 * What is promised, judged by what the pilot was shown: kept here without any of its code, as plain
 * lists of when each replica was in the view and in contact.
 */
import type { Change, Inputs, Replica, ViewMember } from "../../../src/autopilot/core/types.ts";
import type { Model } from "./model.ts";

interface Sight {
  readonly atMs: number;
  readonly incarnation: bigint | undefined;
  readonly isVacant: boolean;
  readonly inContact: boolean;
}

const majority = (count: number): number => Math.floor(count / 2) + 1;

export class Judge {
  readonly #model: Model;
  /** Of each replica, since this leader leads; the newest last. */
  #sights = new Map<number, Sight[]>();
  #inputs: Inputs | undefined = undefined;
  /** How often each kind of change was seen. */
  readonly seen: Record<string, number> = {};

  constructor(model: Model) {
    this.#model = model;
  }

  saw(inputs: Inputs, atMs: number): void {
    this.#inputs = inputs;
    const next = new Map<number, Sight[]>();
    for (const replica of inputs.group.replicas) {
      const member = this.#member(replica);
      const sights = this.#sights.get(replica.id) ?? [];
      sights.push({
        atMs,
        incarnation: member?.incarnation,
        isVacant: member?.standing === "vacant",
        inContact: replica.inContact,
      });
      next.set(replica.id, sights);
    }
    this.#sights = next;
  }

  forget(): void {
    this.#sights = new Map();
  }

  handedOut(change: Change, isAnotherInFlight: boolean): void {
    this.#demand(!isAnotherInFlight, "one change in flight");
    const { group, view } = this.#inputs!;
    this.#demand(group.hasHeard && !group.isBusy, "nothing is decided in between");
    switch (change.kind) {
      case "add_learner": {
        const member = view.members.find(({ nodeId }) => nodeId === change.nodeId);
        this.#demand(member?.standing === "vacant" && !member.isLeaf, "only the vacant are added");
        this.#demand(
          group.replicas.every(({ nodeId }) => nodeId !== change.nodeId),
          "one replica per node",
        );
        this.#count("add");
        return;
      }
      case "transfer": {
        const self = this.#replica(group.self);
        const heir = this.#replica(change.to);
        this.#demand(this.#departed(self), "a leader hands over when it has to go");
        this.#demand(heir.isVoter && heir.inContact && heir !== self, "to a healthy voter");
        this.#count("transfer");
        return;
      }
      case "voters":
        this.#judgeVoters(change);
    }
  }

  #judgeVoters({ promote, demote, remove }: Change & { kind: "voters" }): void {
    const { group } = this.#inputs!;
    const { policy } = this.#model;
    const voters = group.replicas.filter(({ isVoter }) => isVoter);
    const out = [...demote, ...remove].map((id) => this.#replica(id));
    const promoted = promote.map((id) => this.#replica(id));
    const after = [...voters.filter((voter) => !out.includes(voter)), ...promoted];
    for (const half of [voters, after]) {
      const healthy = half.filter(({ inContact }) => inContact).length;
      this.#demand(healthy >= majority(half.length), "a healthy majority before and after");
    }
    const most = Math.max(policy.voters, voters.length) + 1;
    this.#demand(voters.length + promote.length <= most, "at most one more voter than wanted");
    // A leader that leaves may need an heir first.
    const extra = this.#departed(this.#replica(group.self)) ? 1 : 0;
    const mostAfter = Math.max(policy.voters + extra, voters.length);
    this.#demand(after.length <= mostAfter, "no more than wanted");
    this.#demand(!out.some(({ id }) => id === group.self), "the leader is never taken out");
    this.#demand(
      out.length > 0 || extra > 0 || after.length % 2 === 1,
      "votes are given so that the number is odd",
    );
    this.#demand(demote.every((id) => this.#replica(id).isVoter), "voters are demoted");
    for (const replica of promoted) {
      this.#demand(!replica.isVoter, "learners are promoted");
      this.#demand(this.#isSteady(replica, policy.stabilizeMs), "a successor is stable");
      this.#demand(
        replica.match > 0 && !replica.inSnapshot &&
          (group.lastIndex - replica.match <= policy.behindMax || replica.match >= group.committed),
        "a successor has caught up",
      );
    }
    for (const replica of out) {
      if (replica.isVoter) this.#judgeVoterOut(replica, { voters, promoted, after });
      else this.#judgeLearnerOut(replica);
    }
    if (out.length === 0) this.#count(`promote ${promote.length}`);
  }

  #judgeVoterOut(
    replica: Replica,
    { voters, promoted, after }: {
      readonly voters: readonly Replica[];
      readonly promoted: readonly Replica[];
      readonly after: readonly Replica[];
    },
  ): void {
    const { policy } = this.#model;
    const isExcess = voters.length > policy.voters;
    if (this.#departed(replica)) {
      this.#count("left voter");
      return;
    }
    if (this.#isGone(replica, policy.replaceAfterMs)) {
      const isVacant = this.#member(replica)?.standing === "vacant";
      this.#demand(promoted.length > 0 || isExcess || isVacant, "add before remove");
      this.#count(isVacant ? "lost voter" : "dead voter");
      return;
    }
    const isCalm = voters.every((voter) => this.#isSteady(voter, policy.stabilizeMs));
    this.#demand(isCalm, "a voter that is there stays while another one is not");
    if (isExcess) {
      this.#count("excess voter");
      return;
    }
    const isUnfit = this.#member(replica)?.isLeaf === true;
    this.#demand(promoted.length === 1, "exchanges are one for one");
    if (!isUnfit) {
      const [before, next] = [voters, after].map((some) => this.#zones(some));
      const isBetter = next.zones > before.zones ||
        (next.zones === before.zones && next.largest < before.largest);
      this.#demand(isBetter, "an exchange makes the spread strictly better");
    }
    this.#count("exchange");
  }

  #judgeLearnerOut(replica: Replica): void {
    const { policy } = this.#model;
    if (this.#departed(replica)) {
      this.#count("left learner");
      return;
    }
    const isDead = this.#isGone(replica, policy.removeAfterMs);
    const isLost = this.#isDisowned(replica) && this.#isGone(replica, policy.stabilizeMs);
    this.#demand(isDead || isLost, "a learner that may come back stays");
    this.#count(isDead ? "dead learner" : "lost learner");
  }

  /** In the view as the same member, and in contact, for so long. */
  #isSteady(replica: Replica, ms: number): boolean {
    return this.#lasts(
      replica,
      ms,
      (sight, newest) =>
        sight.incarnation !== undefined && sight.incarnation === newest.incarnation &&
        (replica.id === this.#inputs!.group.self || sight.inContact),
    );
  }

  #isGone(replica: Replica, ms: number): boolean {
    return this.#lasts(
      replica,
      ms,
      ({ incarnation, isVacant, inContact }) =>
        !inContact && (incarnation === undefined || isVacant),
    );
  }

  #lasts(replica: Replica, ms: number, is: (sight: Sight, newest: Sight) => boolean): boolean {
    const sights = this.#sights.get(replica.id)!;
    const newest = sights[sights.length - 1];
    for (let at = sights.length - 1; at >= 0; at--) {
      if (!is(sights[at], newest)) return false;
      if (newest.atMs - sights[at].atMs >= ms) return true;
    }
    return false;
  }

  #departed(replica: Replica): boolean {
    const member = this.#member(replica);
    return member === undefined ? this.#inputs!.departures.has(replica.nodeId) : member.isLeaving;
  }

  #isDisowned(replica: Replica): boolean {
    const member = this.#member(replica);
    if (member !== undefined) return member.standing === "vacant";
    return this.#inputs!.view.members.some(({ name, address }) =>
      name === replica.name && address === replica.address
    );
  }

  #zones(replicas: readonly Replica[]): { readonly zones: number; readonly largest: number } {
    const counts = new Map<string, number>();
    for (const replica of replicas) {
      const zone = this.#member(replica)?.zone ?? "";
      counts.set(zone, (counts.get(zone) ?? 0) + 1);
    }
    return { zones: counts.size, largest: Math.max(...counts.values()) };
  }

  #member({ nodeId }: Replica): ViewMember | undefined {
    return this.#inputs!.view.members.find((member) => member.nodeId === nodeId);
  }

  #replica(id: number): Replica {
    const found = this.#inputs!.group.replicas.find((replica) => replica.id === id);
    this.#demand(found !== undefined, "only replicas that are there are changed");
    return found!;
  }

  #count(what: string): void {
    this.seen[what] = (this.seen[what] ?? 0) + 1;
  }

  #demand(isSo: boolean, invariant: string): void {
    if (isSo) return;
    const { nowMs, evaluation } = this.#model;
    throw new Error(`${invariant}: broken at ${nowMs} ms; before it: ${evaluation?.why}`);
  }
}
