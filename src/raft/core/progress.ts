/**
 * What a leader knows of one replica. A replica is probed (one append at a time) until it is known
 * where the logs agree, then replicated to (a window of appends), or sent a snapshot (nothing else
 * until it has that).
 */
import { assert } from "../../base/assert.ts";
import { type InflightLimits, Inflights } from "./inflights.ts";
import type { LogIndex, ReplicaId } from "./types.ts";

export const ProgressState = {
  probe: "probe",
  replicate: "replicate",
  snapshot: "snapshot",
} as const;
export type ProgressState = (typeof ProgressState)[keyof typeof ProgressState];

export class Progress {
  readonly id: ReplicaId;
  /** The highest index known to be durable there and equal to ours. */
  match: LogIndex = 0 as LogIndex;
  /** The next entry to send; above `match` always. */
  next: LogIndex;
  state: ProgressState = ProgressState.probe;
  /** Nothing is sent until something is heard: the probe is out, or the window is full. */
  paused = false;
  /** One append is due even if it carries nothing new. */
  owesAppend = false;
  /** The snapshot under way; 0 when none is. */
  pendingSnapshot: LogIndex = 0 as LogIndex;
  /** Whether it was heard of since the last check of the quorum. */
  recentActive: boolean;
  /** Whether it was heard of between the last check and the one before. */
  wasActive = false;
  /** The highest commit index that it was told. */
  sentCommit: LogIndex = 0 as LogIndex;
  /** The highest round of heartbeats that it answered (see reads.ts). */
  roundAcked = 0;
  readonly inflights: Inflights;

  constructor(
    id: ReplicaId,
    next: LogIndex,
    options: { readonly limits: InflightLimits; readonly recentActive: boolean },
  ) {
    this.id = id;
    this.next = next;
    this.recentActive = options.recentActive;
    this.inflights = new Inflights(options.limits);
  }

  isPaused(): boolean {
    return this.state === ProgressState.snapshot || this.paused;
  }

  becomeProbe(): void {
    // After a snapshot the logs are expected to agree where it ended.
    const next = this.state === ProgressState.snapshot
      ? Math.max(this.match, this.pendingSnapshot) + 1
      : this.match + 1;
    this.#reset(ProgressState.probe);
    this.next = next as LogIndex;
  }

  becomeReplicate(): void {
    this.#reset(ProgressState.replicate);
    this.next = this.match + 1 as LogIndex;
  }

  becomeSnapshot(index: LogIndex): void {
    this.#reset(ProgressState.snapshot);
    this.pendingSnapshot = index;
    this.next = index + 1 as LogIndex;
  }

  /** The snapshot under way did not arrive: ask where the logs agree, not where they would have. */
  snapshotFailed(): void {
    this.pendingSnapshot = 0 as LogIndex;
    this.becomeProbe();
  }

  /** An append with `count` entries went out. */
  sent(count: number, bytes: number): void {
    assert(this.state !== ProgressState.snapshot, "no append is sent beside a snapshot");
    if (this.state === ProgressState.probe) {
      this.paused = true;
      return;
    }
    if (count > 0) {
      this.next = this.next + count as LogIndex;
      this.inflights.add(this.next - 1 as LogIndex, bytes);
    }
    this.paused = this.inflights.isFull();
  }

  /** It acknowledged everything up to `index`. Says whether that is news. */
  acknowledged(index: LogIndex): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1) as LogIndex;
    this.paused = false;
    return true;
  }

  /**
   * It refused the append after `rejected`; the logs may agree at `hint`. False when the answer is
   * an old one.
   */
  refused(rejected: LogIndex, hint: LogIndex): boolean {
    if (this.state === ProgressState.replicate) {
      if (rejected <= this.match) return false;
      this.next = this.match + 1 as LogIndex;
      return true;
    }
    if (this.state === ProgressState.snapshot || this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1) as LogIndex;
    this.paused = false;
    return true;
  }

  #reset(state: ProgressState): void {
    this.state = state;
    this.paused = false;
    this.pendingSnapshot = 0 as LogIndex;
    this.inflights.clear();
  }
}
