/** What autopilot is told, and what it answers: plain data. */

/** `off`: not even looked at. `dry_run`: says what it would do. `on`: does it. */
export type Mode = "off" | "on" | "dry_run";

export interface Policy {
  readonly mode: Mode;
  /** Voters that there should be, where enough nodes can be one: an odd number. */
  readonly voters: number;
  /** Replicas that follow without a vote; more members than this are left to observe. */
  readonly learnersMax: number;
  /** For how long a voter is out of the view and out of contact before it is replaced. */
  readonly replaceAfterMs: number;
  /** The same for a learner, before it is taken out. */
  readonly removeAfterMs: number;
  /** For how long a node is in the view and in contact before it is given a vote. */
  readonly stabilizeMs: number;
  /** Entries that a learner may lack of the leader's log and still be given a vote. */
  readonly behindMax: number;
  /** Two evaluations that are further apart mean that this process stood still. */
  readonly stallMs: number;
}

export const defaultPolicy: Policy = {
  mode: "on",
  voters: 3,
  learnersMax: 12,
  replaceAfterMs: 60_000,
  removeAfterMs: 72 * 3_600_000,
  stabilizeMs: 10_000,
  behindMax: 250,
  stallMs: 5_000,
};

/**
 * What a member of the view says of its replica. `vacant`: it is part of no cluster, so whatever
 * replica it was is lost. `taken`: it has one of this cluster. `foreign`: of another cluster.
 */
export type Standing = "unknown" | "vacant" | "taken" | "foreign";

export interface ViewMember {
  /** Of its mesh listener, `tcp://host:port`. */
  readonly address: string;
  /** 32 hexadecimal digits. */
  readonly nodeId: string;
  /** Drawn anew at each join. */
  readonly incarnation: bigint;
  readonly name: string;
  /** A leaf follows the view, and has no part in any decision. */
  readonly isLeaf: boolean;
  /** The value of its tag `zone=…`; empty without one. */
  readonly zone: string;
  readonly standing: Standing;
  /** It has said that it is about to leave, and waits for its replica to be taken out. */
  readonly isLeaving: boolean;
}

/** The agreed list of members, as the leader's node has it. */
export interface View {
  readonly epoch: number;
  /** This side of the cluster cannot agree on a new view: who is there is not known. */
  readonly isDegraded: boolean;
  readonly members: readonly ViewMember[];
}

/** How a node went that is in the view no more, and did not just fail. */
export type Departure = "left" | "kicked";

/** A replica, as the leader of its group knows it. */
export interface Replica {
  readonly id: number;
  readonly nodeId: string;
  readonly name: string;
  readonly address: string;
  readonly isVoter: boolean;
  /** The highest index known to be durable there. */
  readonly match: number;
  /** Whether the leader heard of it within the last two election timeouts; true of itself. */
  readonly inContact: boolean;
  /** It is being sent a snapshot, and nothing else until it has that. */
  readonly inSnapshot: boolean;
  /** Whether its node's disk has room, as far as the leader knows. */
  readonly hasRoom: boolean;
}

/** The group, as its leader knows it. */
export interface Group {
  /** The leader's own replica. */
  readonly self: number;
  readonly lastIndex: number;
  readonly committed: number;
  /** It leads for an election timeout at least: whom it has not heard of is not there. */
  readonly hasHeard: boolean;
  /** A change of the configuration, or of the leader, is under way. */
  readonly isBusy: boolean;
  readonly replicas: readonly Replica[];
}

export interface Inputs {
  readonly view: View;
  /** By node id. */
  readonly departures: ReadonlyMap<string, Departure>;
  readonly group: Group;
}

/** One step. All replicas of `voters` change in one entry of the log, jointly if that is needed. */
export type Change =
  | {
    readonly kind: "add_learner";
    readonly nodeId: string;
    readonly name: string;
    readonly address: string;
  }
  | {
    readonly kind: "voters";
    /** Learners that become voters. */
    readonly promote: readonly number[];
    /** Voters that become learners. */
    readonly demote: readonly number[];
    /** Replicas that are taken out for ever; voters or learners. */
    readonly remove: readonly number[];
  }
  | { readonly kind: "transfer"; readonly to: number };

/** How a change went. */
export type Outcome =
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly why: string };

export type RoleName = "voter" | "learner" | "observer" | "none";

/** A clock that runs towards a change. */
export interface TimerReport {
  /** What becomes of it at the end: a voter is replaced, a learner removed or promoted. */
  readonly what: "replace" | "remove" | "promote";
  readonly elapsedMs: number;
  readonly limitMs: number;
}

/** A member of the view, a replica, or both. */
export interface MemberReport {
  readonly nodeId: string;
  readonly name: string;
  readonly address: string;
  /** 0 without one. */
  readonly replica: number;
  readonly zone: string;
  readonly role: RoleName;
  readonly wanted: RoleName;
  readonly inView: boolean;
  readonly inContact: boolean;
  /** Entries that it lacks of the leader's log. */
  readonly behind: number;
  /** Plain sentences without their subject: "is out of the view for 12 s of 60 s". */
  readonly reasons: readonly string[];
  readonly timers: readonly TimerReport[];
}

export interface Evaluation {
  readonly mode: Mode;
  readonly votersWanted: number;
  readonly voters: number;
  /** Of the voters, those in the view and in contact. */
  readonly votersHealthy: number;
  /** What to do now; never one while another is in flight. */
  readonly change: Change | undefined;
  /** What is being done. */
  readonly inFlight: Change | undefined;
  /** Why this change, or the one in flight; without both, why none. */
  readonly why: string;
}

/** The same for the same change: what failed is known by it. */
export function changeKey(change: Change): string {
  switch (change.kind) {
    case "add_learner":
      return `add ${change.nodeId}`;
    case "transfer":
      return `transfer ${change.to}`;
    case "voters": {
      const { promote, demote, remove } = change;
      return `voters +${promote.join(",")} -${demote.join(",")} x${remove.join(",")}`;
    }
  }
}
