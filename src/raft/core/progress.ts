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
  /** The pause is not for a probe that may still arrive: the next heartbeat's answer ends it. */
  resumesAtHeartbeat = false;
  /** The probe under way repeats one that nobody answered, without its entries. */
  isRepeat = false;
  /** When a probe went out last, or a heartbeat's answer made an append due. */
  #sentTick = -Infinity;
  /** The snapshot under way; 0 when none is, or when one has to be made first. */
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

  /** It needs a snapshot that is newer than the stored one. */
  get awaitsSnapshot(): boolean {
    return this.state === ProgressState.snapshot && this.pendingSnapshot === 0;
  }

  /** Whether it was heard of within the last one to two election timeouts. */
  get isThere(): boolean {
    return this.recentActive || this.wasActive;
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
    this.sentCommit = index;
  }

  /** Nothing is sent until there is a snapshot behind which no entry is missing. */
  awaitSnapshot(): void {
    this.#reset(ProgressState.snapshot);
    this.next = this.match + 1 as LogIndex;
  }

  /** The snapshot under way did not arrive: ask where the logs agree, not where they would have. */
  snapshotFailed(): void {
    this.pendingSnapshot = 0 as LogIndex;
    this.becomeProbe();
  }

  /** An append with `count` entries went out. */
  sent(count: number, bytes: number, tick: number): void {
    assert(this.state !== ProgressState.snapshot, "no append is sent beside a snapshot");
    if (this.state === ProgressState.probe) {
      this.paused = true;
      this.resumesAtHeartbeat = false;
      this.#sentTick = tick;
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
    this.isRepeat = false;
    return true;
  }

  /** What is on its way to it is lost, or there is nothing on its way. */
  lost(): void {
    if (this.state === ProgressState.replicate) this.becomeProbe();
    else if (this.state === ProgressState.probe && this.paused) this.resumesAtHeartbeat = true;
  }

  /**
   * It answered a heartbeat. Says whether an append is due, because the one before may be lost.
   *
   * A heartbeat overtakes an append that a thin link is still busy with, so its answer says nothing
   * of that: a probe is repeated after a time without an answer, and then without entries. (etcd
   * repeats it at each answer; its appends and heartbeats share a stream.)
   */
  answeredHeartbeat(
    tick: number,
    { repeatTicks, nudgeTicks }: { readonly repeatTicks: number; readonly nudgeTicks: number },
  ): boolean {
    if (this.state === ProgressState.snapshot) return false;
    const sinceTicks = tick - this.#sentTick;
    if (this.state === ProgressState.replicate) {
      if (sinceTicks < nudgeTicks) return false;
      this.#sentTick = tick;
    } else if (this.paused && !this.resumesAtHeartbeat) {
      if (sinceTicks < repeatTicks) return false;
      this.isRepeat = true;
    }
    this.paused = false;
    return true;
  }

  /** A repeated probe was answered: what it repeated is lost, and may go out again. */
  repeatAnswered(): void {
    this.isRepeat = false;
    this.paused = false;
    this.owesAppend = true;
  }

  #reset(state: ProgressState): void {
    this.state = state;
    this.paused = false;
    this.resumesAtHeartbeat = false;
    this.isRepeat = false;
    this.#sentTick = -Infinity;
    this.pendingSnapshot = 0 as LogIndex;
    this.inflights.clear();
  }
}
