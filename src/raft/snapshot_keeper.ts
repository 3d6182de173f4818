/**
 * When a group's next snapshot is due, and what may be forgotten once it is there: the log on disk up
 * to the older of the two. How much of the log is in memory is another matter ({@link LogMemory}); a
 * follower that needs what is not gets a snapshot that is taken for it.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { CatchUp } from "./catch_up.ts";
import type { RaftNode } from "./core/node.ts";
import type { SnapshotMeta } from "./core/types.ts";
import { carryForward } from "./log_carry.ts";
import type { GroupHost } from "./group_types.ts";
import type { GroupSnapshots, TakenSnapshot } from "./group_snapshots.ts";
import { type LogHold, LogMemory } from "./log_memory.ts";

/** After one that failed. */
const retryMs = 10_000;

export interface SnapshotKeeperParts {
  readonly group: number;
  readonly host: GroupHost;
  readonly node: RaftNode;
  readonly snapshots: GroupSnapshots;
  readonly catchUp: CatchUp;
  /** The machine is between two entries. */
  mayBegin(): boolean;
  /** What the machine holds. */
  appliedIndex(): number;
  /** An entry without data, from any replica. */
  proposeNothing(): Promise<unknown>;
  /** A follower may have waited for the snapshot. */
  offer(): void;
}

export class SnapshotKeeper {
  readonly #parts: SnapshotKeeperParts;
  readonly #memory: LogMemory;
  #wanted = false;
  #notBeforeMs = -Infinity;

  constructor(parts: SnapshotKeeperParts) {
    this.#parts = parts;
    this.#memory = new LogMemory({ ...parts, options: parts.host.options });
  }

  /** See {@link LogMemory.hold}. */
  hold(): LogHold {
    return this.#memory.hold();
  }

  /** The group's old entries hold up so much log; beyond its own share a snapshot is wanted early. */
  want(heldBytes: number): void {
    // Between two snapshots of a busy group there is that much of it, and the log goes to the older.
    if (heldBytes >= 3 * this.#dueBytes) this.#wanted = true;
  }

  tick(nowMs: number): void {
    const { group, host, node, snapshots } = this.#parts;
    this.#memory.trim();
    if (!(this.#isDue() || node.wantsSnapshot) || nowMs < this.#notBeforeMs) return;
    if (snapshots.isTaking || !this.#parts.mayBegin() || host.log.space === "low") return;
    if (this.#newestIndex() === this.#parts.appliedIndex()) {
      this.#advance(nowMs);
      return;
    }
    this.#wanted = false;
    snapshots.take().catch((cause: unknown) => {
      this.#notBeforeMs = host.clock.monotonicMs() + retryMs;
      if (cause instanceof CoveyError && cause.code === Code.canceled) return;
      host.logger.warning("no snapshot could be taken; it is tried again", { group, cause });
    });
  }

  /** Takes one now, whether it is due or not. */
  take(): Promise<TakenSnapshot> {
    if (this.#parts.mayBegin()) return this.#parts.snapshots.take();
    return Promise.reject(
      new CoveyError(Code.unavailable, "the machine is busy with a large entry: try again"),
    );
  }

  stored(meta: SnapshotMeta): void {
    const { group, host, node, catchUp, snapshots } = this.#parts;
    const { counters } = host;
    counters.snapshotsTaken++;
    counters.snapshotsTakenBytes += snapshots.newestBytes;
    counters.onSnapshot?.(group, meta, snapshots.newestBytes);
    node.snapshotStored(meta);
    catchUp.snapshotStored();
    const older = host.store.older(group, meta.index);
    if (older !== undefined) host.compactLog(group, older);
    this.#parts.offer();
  }

  #newestIndex(): number {
    const applied = this.#parts.appliedIndex();
    const stored = this.#parts.host.store.list(this.#parts.group);
    return stored.filter(({ index }) => index <= applied).at(-1)?.index ?? 0;
  }

  /**
   * Nothing has happened since the newest snapshot, so another one would be the same. The log is
   * kept for the one before it: an empty entry makes room for two that are both new.
   */
  #advance(nowMs: number): void {
    this.#notBeforeMs = nowMs + retryMs;
    this.#parts.proposeNothing().then(
      () => this.#notBeforeMs = -Infinity,
      () => void this.#carry(),
    );
  }

  /** Without a quorum nothing is proposed; the log must not be held by that. */
  async #carry(): Promise<void> {
    const { host, group, node } = this.#parts;
    try {
      const isDone = await carryForward(host, {
        group,
        fits: ({ index }) => index <= this.#parts.appliedIndex(),
        entriesFrom: (index) => node.handedFrom(index),
      });
      if (isDone) this.#wanted = false;
    } catch (cause) {
      host.logger.error("a group without a quorum keeps the log from being shortened", {
        group,
        cause,
      });
    }
  }

  /** A large state is not worth writing for a little log. */
  get #dueBytes(): number {
    const { host, snapshots } = this.#parts;
    return Math.max(host.options.snapshotLogBytes, snapshots.newestBytes / 2);
  }

  #isDue(): boolean {
    return this.#wanted || this.#parts.catchUp.sinceSnapshotBytes >= this.#dueBytes;
  }
}
