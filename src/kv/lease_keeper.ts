/**
 * The leader's watch over the leases: renews them, and proposes that those end which nobody renewed
 * for their whole time. Only the leader does so, and only as the leader: what a leader of yesterday
 * thinks to be over is never forwarded to its successor, who granted every lease its whole time
 * again. There is a timer only while there are leases; renewing one writes nothing.
 *
 * Time is the monotonic clock's, less what the process was held up: whoever could not hear a sign
 * of life must not count that time against it.
 */
import type { Clock, Timer } from "../runtime/port.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Command } from "./core/command.ts";
import { decodeCommand } from "./core/command_codec.ts";
import type { KvParts } from "./kv_parts.ts";
import type { KvResult } from "./core/result.ts";
import { LeaseClock } from "./core/lease_clock.ts";
import type { MachineEntry } from "../base/machine.ts";
import type { RequestOptions } from "./group.ts";
import { unavailable } from "./refusal.ts";

/** Leases that one command ends or checkpoints. */
const leasesPerCommand = 500;
/** Leases that end within this time of each other end together. */
const tickMsLeast = 100;
/** While there are leases, the time that a hold-up may seem to have lasted is bounded by this. */
const tickMsMost = 10_000;
/** After a proposal that failed. */
const retryMs = 500;
/** A timer that comes later than this shows that the process was held up. */
const lateMsMax = 250;

export class LeaseKeeper {
  readonly #parts: KvParts;
  readonly #clock: Clock;
  readonly #due = new LeaseClock();
  #leading = false;
  /** Time that does not count. */
  #heldMs = 0;
  #timer: Timer | undefined = undefined;
  /** When the timer is due, by the monotonic clock. */
  #timerMs = 0;
  /** The process certainly ran then. */
  #aliveMs = 0;
  /** A proposal is under way; the next one follows it. */
  #proposing = false;

  constructor(parts: KvParts) {
    this.#parts = parts;
    this.#clock = parts.clock;
  }

  /** This node leads, and knows every lease that there is. */
  get leading(): boolean {
    return this.#leading && this.#parts.attached.isLeading;
  }

  led(leading: boolean): void {
    this.#leading = leading;
    if (leading) {
      this.#due.promote(this.#parts.machine.leases(), this.#nowMs());
      this.#arm();
    } else {
      this.#due.demote();
      this.#disarm();
    }
  }

  applied(entry: MachineEntry, result: KvResult): void {
    if (!this.#leading) return;
    if (this.#timer !== undefined) this.#aliveMs = this.#clock.monotonicMs();
    if (result.kind === "leaseGrant") this.#look(result.id);
    else if (result.kind === "leaseRevoke") {
      const envelope = decodeCommand(entry.data);
      if (typeof envelope === "string") return;
      const { command } = envelope;
      if (command.kind === "leaseRevoke") this.#look(command.id);
      else if (command.kind === "leaseExpire") { for (const id of command.ids) this.#look(id); }
    }
  }

  /**
   * A client's sign of life: the new time to live in milliseconds, undefined for a lease that is
   * over. Resolves once it is certain that no other node led when it came.
   */
  async renew(id: number, options?: RequestOptions): Promise<number | undefined> {
    this.#assertLeading();
    this.#aliveMs = this.#clock.monotonicMs();
    const renewed = this.#due.renew(id, this.#nowMs());
    if (renewed === undefined) {
      await this.#parts.group.barrier(options);
      return undefined;
    }
    this.#parts.counters.leasesRenewed++;
    const { ttlMs, checkpoint } = renewed;
    if (checkpoint === 0) {
      await this.#parts.group.barrier(options);
      return ttlMs;
    }
    await this.#propose({ kind: "leaseCheckpoint", leases: [{ id, remainingMs: 0 }] }, options);
    this.#due.checkpointCleared(id, checkpoint);
    return ttlMs;
  }

  /** What is left of a lease that exists; 0 for one that is about to end. */
  remainingMs(id: number): number {
    return this.#due.remainingMs(id, this.#nowMs()) ?? 0;
  }

  stop(): void {
    this.#leading = false;
    this.#disarm();
  }

  #assertLeading(): void {
    if (!this.leading) throw unavailable("this node does not lead any more: ask the leader");
  }

  /** The machine says whether there is such a lease. A retried command says nothing new. */
  #look(id: number): void {
    const lease = this.#parts.machine.lease(id);
    if (lease === undefined) this.#due.removed(id);
    else if (!this.#due.has(id)) {
      this.#due.granted(lease, this.#nowMs());
      const leftMs = lease.remainingMs === 0 ? lease.ttlMs : lease.remainingMs;
      if (this.#timer === undefined || this.#clock.monotonicMs() + leftMs < this.#timerMs) {
        this.#setTimer(leftMs);
      }
    }
  }

  #nowMs(): number {
    return this.#clock.monotonicMs() - this.#heldMs;
  }

  #arm(): void {
    const nextMs = this.#due.nextMs();
    if (nextMs === undefined) this.#disarm();
    else this.#setTimer(nextMs - this.#nowMs());
  }

  #setTimer(delayMs: number): void {
    this.#disarm();
    const waitMs = Math.min(Math.max(delayMs, tickMsLeast), tickMsMost);
    this.#aliveMs = this.#clock.monotonicMs();
    this.#timerMs = this.#aliveMs + waitMs;
    this.#timer = this.#clock.timer(waitMs, tick, this);
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Public only for the timer. */
  tick(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    // Since when it was held up is not known, only when it was not.
    if (nowMs - this.#timerMs > lateMsMax) this.#heldMs += nowMs - this.#aliveMs;
    this.#aliveMs = nowMs;
    if (!this.leading) return;
    if (!this.#proposing) void this.#work();
    this.#arm();
  }

  async #work(): Promise<void> {
    this.#proposing = true;
    try {
      while (this.leading) {
        const ids = this.#due.expired(this.#nowMs(), leasesPerCommand);
        if (ids.length === 0) break;
        if (!await this.#expire(ids)) return;
      }
      while (this.leading) {
        const leases = this.#due.checkpoints(this.#nowMs(), leasesPerCommand);
        if (leases.length === 0) break;
        await this.#propose({ kind: "leaseCheckpoint", leases });
      }
    } catch (error) {
      // Without a checkpoint the next leader grants the whole time again, which harms nobody.
      this.#parts.logger.debug("leases were not checkpointed", { cause: error });
    } finally {
      this.#proposing = false;
      if (this.leading && this.#timer === undefined) this.#arm();
    }
  }

  async #expire(ids: number[]): Promise<boolean> {
    try {
      await this.#propose({ kind: "leaseExpire", ids });
      this.#parts.counters.leasesExpired += ids.length;
      return true;
    } catch (error) {
      this.#parts.logger.debug("leases that are over were not ended yet", {
        leases: ids.length,
        cause: error,
      });
      // Those that it ended after all are not known any more.
      this.#due.retry(ids);
      if (this.leading) this.#setTimer(retryMs);
      return false;
    }
  }

  async #propose(command: Command, options: RequestOptions = {}): Promise<void> {
    this.#assertLeading();
    const result = await this.#parts.commands.propose(command, undefined, {
      ...options,
      leaderOnly: true,
    });
    if (result.kind !== "failure") return;
    throw new CoveyError(Code.internal, `the store refused a ${command.kind}: ${result.reason}`);
  }
}

function tick(keeper: LeaseKeeper): void {
  keeper.tick();
}
