/**
 * What the driver counts beside the core's own counters. Plain numbers; whoever shows them reads
 * them. There is one of these per node, and it is there before the node is part of a cluster.
 */
import type { SnapshotMeta } from "./core/types.ts";

/** One kind of link, to all nodes together. */
export class LinkCounters {
  framesSent = 0;
  framesReceived = 0;
  /** Messages that were given up: too much waited for the link. */
  messagesDropped = 0;
}

export class RaftCounters {
  readonly control: LinkCounters = new LinkCounters();
  readonly log: LinkCounters = new LinkCounters();
  /** Commands taken for the log of a group that this node leads, and those that came to nothing. */
  proposals = 0;
  proposalsFailed = 0;
  /** Commands that were not even taken: too many waited, or the disk is nearly full. */
  proposalsRefused = 0;
  proposalsRefusedForSpace = 0;
  snapshotsTaken = 0;
  snapshotsTakenBytes = 0;
  snapshotsSent = 0;
  snapshotsSendFailed = 0;
  snapshotsSentBytes = 0;
  snapshotsReceived = 0;
  snapshotsReceivedBytes = 0;
  /** Openings of files that had to wait for a free descriptor. */
  descriptorWaits = 0;
  /** The log's end was torn by a crash and cut off when this process opened it. */
  isTailRepaired = false;
  /** Told how long one proposal in {@link proposalsPerSample} took to be applied here. */
  onCommit: ((seconds: number) => void) | undefined = undefined;
  /** A snapshot was taken and is durable. */
  onSnapshot: ((group: number, meta: SnapshotMeta, bytes: number) => void) | undefined = undefined;
}

/** The clock is not asked for every proposal. */
export const proposalsPerSample = 16;
