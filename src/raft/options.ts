/** What the consensus module is told by its configuration. Times are milliseconds. */
export interface RaftOptions {
  readonly heartbeatMs: number;
  /** The least election timeout; it grows with the measured round trip and disk. */
  readonly electionMs: number;
  /** A leader whose disk makes no progress for so long resigns. */
  readonly diskStallMs: number;
  readonly segmentBytes: number;
  readonly lowWaterBytes: number;
  /** Log after which a snapshot is taken. */
  readonly snapshotLogBytes: number;
  /** Entries that stay in memory for slow followers. */
  readonly catchUpBytes: number;
  readonly appendBytesMax: number;
  readonly inflightBytesMax: number;
  readonly inflightMessagesMax: number;
  readonly uncommittedBytesMax: number;
  /** Largest command; it must fit into a message between nodes and into a record of the log. */
  readonly commandBytesMax: number;
  /** Proposals that wait on this node. */
  readonly proposalsMax: number;
  /** For a request without a deadline of its own. */
  readonly requestMs: number;
  readonly leaseReads: boolean;
}

export const raftOptionsDefault: RaftOptions = {
  heartbeatMs: 100,
  electionMs: 500,
  diskStallMs: 3_000,
  segmentBytes: 4 << 20,
  lowWaterBytes: 64 << 20,
  snapshotLogBytes: 8 << 20,
  catchUpBytes: 4 << 20,
  appendBytesMax: 64 << 10,
  inflightBytesMax: 16 << 20,
  inflightMessagesMax: 256,
  uncommittedBytesMax: 64 << 20,
  commandBytesMax: (4 << 20) - 4096,
  proposalsMax: 65_536,
  requestMs: 7_000,
  leaseReads: false,
};

/** Ticks in a heartbeat's interval: elections are drawn in steps of one tick. */
export const ticksPerHeartbeat = 2;

/**
 * A tick that takes longer than so many does not count for a lease. A leader's lease is three
 * quarters of an election timeout at most (core_options.ts), and a voter's a tick less than one.
 */
export const tickLateness = 1.2;
