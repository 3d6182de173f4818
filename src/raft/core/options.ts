/** What one replica of one group is told at its start. Times are ticks, whose length is the driver's. */
import { assert } from "../../base/assert.ts";
import { isReplicaId } from "./configuration.ts";
import type { ReplicaId } from "./types.ts";

/** How a linearizable read makes sure that no newer leader has committed anything. */
export const ReadMode = {
  /** A round of heartbeats (section 6.4). */
  readIndex: "readIndex",
  /** The last round, while it is recent (section 6.4.1). Wrong if clocks drift beyond the margin. */
  lease: "lease",
} as const;
export type ReadMode = (typeof ReadMode)[keyof typeof ReadMode];

export interface Options {
  readonly id: ReplicaId;
  /** A follower campaigns after one to two of these without a leader. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** A leader whose disk makes no progress for so long resigns; a follower does not campaign. */
  readonly diskStallTicks: number;
  /** Ask whether an election could be won before the term is raised (section 9.6). */
  readonly preVote: boolean;
  /** A leader that does not hear of a quorum resigns; a voter that hears its leader votes for nobody. */
  readonly checkQuorum: boolean;
  readonly readMode: ReadMode;
  /** By how many ticks a leader's lease ends before its voters' leases may. */
  readonly leaseMarginTicks: number;
  /** Entries in one append; a single larger entry goes alone. */
  readonly appendBytesMax: number;
  /** Appends that a follower has not acknowledged. */
  readonly inflightMessagesMax: number;
  readonly inflightBytesMax: number;
  /** Committed entries that are being applied. */
  readonly applyingBytesMax: number;
  /** Data of a leader's entries that are not committed; beyond it proposals are dropped. */
  readonly uncommittedBytesMax: number;
  /** Reads that wait, here or from followers; beyond it they are dropped. */
  readonly readsMax: number;
  /** A follower sends proposals on to the leader. */
  readonly forwardProposals: boolean;
  /**
   * A new commit index alone is not sent: it goes with the next append or heartbeat, or when the
   * driver says so. Saves two messages of five for each entry of a client that is alone.
   */
  readonly lazyCommits: boolean;
  /** A leader that is no voter any more resigns. */
  readonly stepDownOnRemoval: boolean;
}

export const defaultOptions: Omit<Options, "id"> = {
  electionTicks: 10,
  heartbeatTicks: 1,
  diskStallTicks: 10,
  preVote: true,
  checkQuorum: true,
  readMode: ReadMode.readIndex,
  leaseMarginTicks: 3,
  appendBytesMax: 1 << 20,
  inflightMessagesMax: 256,
  inflightBytesMax: 16 << 20,
  applyingBytesMax: 4 << 20,
  uncommittedBytesMax: 64 << 20,
  readsMax: 65_536,
  forwardProposals: true,
  lazyCommits: false,
  stepDownOnRemoval: true,
};

/** The given options over the defaults. Wrong ones are a programmer's error. */
export function makeOptions(
  given: Partial<Options> & { readonly id: ReplicaId },
): Options {
  const diskStallTicks = given.diskStallTicks ?? given.electionTicks ??
    defaultOptions.diskStallTicks;
  const options = { ...defaultOptions, ...given, diskStallTicks };
  assert(isReplicaId(options.id), "a replica id is a number above 0");
  const limits = [
    options.heartbeatTicks,
    options.diskStallTicks,
    options.leaseMarginTicks,
    options.inflightMessagesMax,
    options.inflightBytesMax,
    options.applyingBytesMax,
    options.uncommittedBytesMax,
    options.readsMax,
  ];
  assert(limits.every((limit) => limit >= 1), "limits are 1 or more");
  assert(options.appendBytesMax >= 0, "an append's bytes are not negative");
  assert(
    options.electionTicks > options.heartbeatTicks,
    "an election timeout is longer than a heartbeat's interval",
  );
  assert(
    options.readMode !== ReadMode.lease || options.checkQuorum,
    "lease reads need the leases of voters, which are part of checkQuorum",
  );
  assert(
    options.readMode !== ReadMode.lease || options.leaseMarginTicks < options.electionTicks,
    "a lease's margin is shorter than an election timeout",
  );
  return options;
}
