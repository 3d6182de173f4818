/** The active configuration, the progress of its members, and the votes of an election. */
import { isJoint, isVoter, members } from "./configuration.ts";
import type { InflightLimits } from "./inflights.ts";
import { Progress } from "./progress.ts";
import { jointIndex, jointVote, VoteResult } from "./quorum.ts";
import type { Configuration, LogIndex, ReplicaId } from "./types.ts";

export class Tracker {
  readonly #limits: InflightLimits;
  #configuration: Configuration;
  readonly #progress = new Map<ReplicaId, Progress>();
  /** Ascending, so that every walk over the members takes the same order everywhere. */
  #ids: readonly ReplicaId[] = [];
  readonly #votes = new Map<ReplicaId, boolean>();
  #hasChecked = false;
  // Made once: these run for every acknowledgement.
  readonly #matchOf = (id: ReplicaId): number => this.#progress.get(id)?.match ?? 0;
  readonly #roundOf = (id: ReplicaId): number => this.#progress.get(id)?.roundAcked ?? 0;

  constructor(configuration: Configuration, limits: InflightLimits) {
    this.#limits = limits;
    this.#configuration = configuration;
    this.setConfiguration(configuration, 1 as LogIndex);
  }

  get configuration(): Configuration {
    return this.#configuration;
  }

  /** From now on no more than so many bytes of appends are under way to each. */
  limitWindows(bytesMax: number): void {
    this.#limits.bytesMax = bytesMax;
  }

  /** Members of both halves and learners, ascending. */
  get ids(): readonly ReplicaId[] {
    return this.#ids;
  }

  get(id: ReplicaId): Progress | undefined {
    return this.#progress.get(id);
  }

  isVoter(id: ReplicaId): boolean {
    return isVoter(this.#configuration, id);
  }

  isLearner(id: ReplicaId): boolean {
    return this.#configuration.learners.includes(id);
  }

  isJoint(): boolean {
    return isJoint(this.#configuration);
  }

  /** Whether this replica alone decides. */
  isSoleVoter(id: ReplicaId): boolean {
    const { voters, votersOutgoing } = this.#configuration;
    return voters.length === 1 && voters[0] === id &&
      (votersOutgoing.length === 0 || (votersOutgoing.length === 1 && votersOutgoing[0] === id));
  }

  /** Members that stay keep their progress; new ones are probed from `next`. */
  setConfiguration(configuration: Configuration, next: LogIndex): void {
    this.#configuration = configuration;
    this.#ids = members(configuration);
    for (const id of [...this.#progress.keys()]) {
      if (!this.#ids.includes(id)) this.#progress.delete(id);
    }
    for (const id of this.#ids) {
      if (this.#progress.has(id)) continue;
      // A new member counts as active, else the next check of the quorum would come too early.
      this.#progress.set(id, new Progress(id, next, { limits: this.#limits, recentActive: true }));
    }
  }

  /** Whether this leader has listened for a whole election timeout. */
  get hasChecked(): boolean {
    return this.#hasChecked;
  }

  /** A new leader knows nothing of anybody. */
  restart(next: LogIndex): void {
    this.#hasChecked = false;
    this.#progress.clear();
    for (const id of this.#ids) {
      this.#progress.set(id, new Progress(id, next, { limits: this.#limits, recentActive: false }));
    }
  }

  /** The highest index that is durable on the quorum. */
  quorumIndex(): number {
    const { voters, votersOutgoing } = this.#configuration;
    return jointIndex(voters, votersOutgoing, this.#matchOf);
  }

  /** The highest round of heartbeats that the quorum has answered. */
  quorumRound(): number {
    const { voters, votersOutgoing } = this.#configuration;
    return jointIndex(voters, votersOutgoing, this.#roundOf);
  }

  /** Whether the quorum was heard of since {@link forgetActive}; `self` always is. */
  isQuorumActive(self: ReplicaId): boolean {
    const active = new Map<ReplicaId, boolean>();
    for (const [id, progress] of this.#progress) {
      active.set(id, id === self || progress.recentActive);
    }
    const { voters, votersOutgoing } = this.#configuration;
    return jointVote(voters, votersOutgoing, active) === VoteResult.won;
  }

  forgetActive(): void {
    this.#hasChecked = true;
    for (const progress of this.#progress.values()) {
      progress.wasActive = progress.recentActive;
      progress.recentActive = false;
    }
  }

  clearVotes(): void {
    this.#votes.clear();
  }

  /** The first answer of a replica counts. */
  recordVote(id: ReplicaId, granted: boolean): VoteResult {
    if (!this.#votes.has(id)) this.#votes.set(id, granted);
    const { voters, votersOutgoing } = this.#configuration;
    return jointVote(voters, votersOutgoing, this.#votes);
  }
}
