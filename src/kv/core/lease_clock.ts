/**
 * The leader's view of the leases: when each is due. It is not replicated. A new leader begins with
 * what the last checkpoint left of every lease, which can only lengthen them; a lease ends when the
 * command that the leader proposes for it is applied. Renewing therefore writes nothing to the log,
 * and an idle cluster with living clients writes nothing at all.
 *
 * Times are milliseconds of any clock that does not go back; the driver reads it.
 */

interface Due {
  readonly id: number;
  readonly ttlMs: number;
  dueMs: number;
  /** Its next checkpoint; infinite for a lease too short to need one. */
  checkpointMs: number;
  /** The log may know of less than the whole time to live: counts what was proposed so; 0 for not. */
  checkpoint: number;
  /** Proposed to expire: it is not renewed any more. */
  expiring: boolean;
}

/** What a driver learns from the machine about one lease. */
export interface LeaseTime {
  readonly id: number;
  readonly ttlMs: number;
  readonly remainingMs: number;
}

/** etcd's: leases longer than this are checkpointed this often. */
export const checkpointEveryMs = 300_000;

export class LeaseClock {
  readonly #due = new Map<number, Due>();
  /** Of the last checkpoint. */
  #checkpoint = 0;

  /** Starts over, when this node became the leader and has applied everything before its term. */
  promote(leases: Iterable<LeaseTime>, nowMs: number): void {
    this.#due.clear();
    for (const lease of leases) this.granted(lease, nowMs);
  }

  /** Forgets everything, when this node is not the leader any more. */
  demote(): void {
    this.#due.clear();
  }

  granted(lease: LeaseTime, nowMs: number): void {
    const leftMs = lease.remainingMs === 0 ? lease.ttlMs : lease.remainingMs;
    this.#due.set(lease.id, {
      id: lease.id,
      ttlMs: lease.ttlMs,
      dueMs: nowMs + leftMs,
      checkpointMs: leftMs > checkpointEveryMs ? nowMs + checkpointEveryMs : Infinity,
      checkpoint: lease.remainingMs === 0 ? 0 : ++this.#checkpoint,
      expiring: false,
    });
  }

  /** Revoked or expired, as the log says. */
  removed(id: number): void {
    this.#due.delete(id);
  }

  /**
   * A client's keep-alive. `checkpoint` other than 0 asks for a checkpoint of 0, because the log may
   * know of less than the whole time to live; it must be applied before the client is answered, and
   * before any other one that renews the lease meanwhile.
   */
  renew(id: number, nowMs: number): { ttlMs: number; checkpoint: number } | undefined {
    const due = this.#due.get(id);
    if (due === undefined || due.expiring || due.dueMs <= nowMs) return undefined;
    due.dueMs = nowMs + due.ttlMs;
    due.checkpointMs = due.ttlMs > checkpointEveryMs ? nowMs + checkpointEveryMs : Infinity;
    return { ttlMs: due.ttlMs, checkpoint: due.checkpoint };
  }

  /** What a renewal asked for was applied: the log knows of the whole time, unless it was told anew. */
  checkpointCleared(id: number, checkpoint: number): void {
    const due = this.#due.get(id);
    if (due?.checkpoint === checkpoint) due.checkpoint = 0;
  }

  has(id: number): boolean {
    return this.#due.has(id);
  }

  /** What is left of a lease; undefined for one that is unknown or over. */
  remainingMs(id: number, nowMs: number): number | undefined {
    const due = this.#due.get(id);
    return due === undefined || due.expiring ? undefined : Math.max(0, due.dueMs - nowMs);
  }

  /**
   * Leases to propose for expiry, ids ascending, at most this many. Each is given once; when the
   * proposal is dropped, {@link retry} gives it again.
   */
  expired(nowMs: number, most: number): number[] {
    const ids: number[] = [];
    for (const due of this.#due.values()) {
      if (due.expiring || due.dueMs > nowMs) continue;
      due.expiring = true;
      ids.push(due.id);
      if (ids.length === most) break;
    }
    return ids.sort((a, b) => a - b);
  }

  /** The proposal for these did not happen. */
  retry(ids: readonly number[]): void {
    for (const id of ids) {
      const due = this.#due.get(id);
      if (due !== undefined) due.expiring = false;
    }
  }

  /** Checkpoints to propose, ids ascending, at most this many. */
  checkpoints(nowMs: number, most: number): { id: number; remainingMs: number }[] {
    const found: { id: number; remainingMs: number }[] = [];
    for (const due of this.#due.values()) {
      if (due.expiring || due.checkpointMs > nowMs || due.dueMs <= nowMs) continue;
      due.checkpointMs = nowMs + checkpointEveryMs;
      due.checkpoint = ++this.#checkpoint;
      found.push({ id: due.id, remainingMs: Math.max(1, Math.floor(due.dueMs - nowMs)) });
      if (found.length === most) break;
    }
    return found.sort((a, b) => a.id - b.id);
  }

  /** When there is next something to do; undefined when there is no lease. */
  nextMs(): number | undefined {
    let next = Infinity;
    for (const due of this.#due.values()) {
      if (!due.expiring) next = Math.min(next, due.dueMs, due.checkpointMs);
    }
    return next === Infinity ? undefined : next;
  }
}
