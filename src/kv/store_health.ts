/**
 * Whether the store can do its work on this node, and whether it has room: what health, readiness,
 * status and metrics say of it is the same everywhere.
 */
import type { Clock, Subscription, Timer } from "../runtime/port.ts";
import { Election, KV, Lease, Lock } from "../gen/covey/kv/v1/kv_pb.ts";
import { KeyValueService } from "../gen/api/v1/raft_go_pb.ts";
import type { KvGroup, LeaderHint } from "./group.ts";
import type { KvMachine } from "./core/kv_machine.ts";
import type { KvResult } from "./core/result.ts";

/** A machine that lacks more entries than this answers with what is old. */
const behindMax = 5_000;
/** Entries between two looks at how far behind it is. */
const entriesPerLook = 256;
/** A store that was full has room again when this part of its quota is free. */
const roomAgain = 1 / 20;

/** What the store held when it refused something for want of room. */
interface Full {
  readonly bytes: number;
  readonly bytesMax: number;
}

export class StoreHealth {
  /** Those that nobody can answer without a leader; watches and what operators ask go on. */
  readonly services: readonly string[] = [KV, Lease, Election, Lock, KeyValueService]
    .map(({ typeName }) => typeName);
  readonly #machine: KvMachine;
  readonly #clock: Clock;
  readonly #listeners = new Set<() => void>();
  #group: KvGroup | undefined = undefined;
  /** There is none, and has been none for an election timeout. */
  #isLeaderMissing = true;
  #missing: Timer | undefined = undefined;
  #full: Full | undefined = undefined;
  #entries = 0;
  #isBehind = false;

  constructor(machine: KvMachine, clock: Clock) {
    this.#machine = machine;
    this.#clock = clock;
  }

  attach(group: KvGroup): void {
    this.#group = group;
  }

  /** Why it cannot take every request, in one line; undefined when it can. */
  get problem(): string | undefined {
    if (this.#group === undefined) return "the store waits for a cluster";
    const { stopped } = this.#group;
    if (stopped !== undefined) return stopped.rawMessage;
    if (this.#machine.restoring) return "the store is being filled from a snapshot";
    if (this.#isLeaderMissing) return "there is no leader";
    const { committed, applied, hindrance } = this.#group;
    if (hindrance !== undefined) return hindrance;
    if (committed - applied <= behindMax) return undefined;
    return `the store is behind: ${committed - applied} entries are committed and not applied`;
  }

  /**
   * Nobody has led for as long as an election takes. A replica that hears nothing any more knows
   * that within two election timeouts, and says so here within three.
   */
  get isLeaderMissing(): boolean {
    return this.#isLeaderMissing;
  }

  /** Writes are refused for want of room; reads, deletes and compactions go on. */
  get isFull(): boolean {
    if (this.#full !== undefined) return true;
    const { bytes, bytesMax } = this.#machine;
    return bytes >= bytesMax;
  }

  /** What is wrong although reads go on, in one line; undefined when nothing is. */
  get note(): string | undefined {
    if (this.isFull) return "NOSPACE: writes are refused until there is room";
    return this.#group?.roomProblem;
  }

  /** To be told when {@link problem} may be another one. */
  onChange(listener: () => void): Subscription {
    this.#listeners.add(listener);
    return { cancel: () => this.#listeners.delete(listener) };
  }

  leader(leader: LeaderHint | undefined): void {
    if (leader !== undefined) {
      this.#missing?.cancel();
      this.#missing = undefined;
      this.#isLeaderMissing = false;
      this.changed();
    } else if (!this.#isLeaderMissing && this.#group !== undefined) {
      // A change of leaders is no failure; a term in which nobody was elected gives no more time.
      this.#missing ??= this.#clock.timer(this.#group.electionTimeoutMs, leaderMissing, this);
    }
  }

  /** Public only for the timer. */
  leaderMissing(): void {
    this.#missing = undefined;
    this.#isLeaderMissing = true;
    this.changed();
  }

  applied(result: KvResult): void {
    if (++this.#entries % entriesPerLook === 0) this.#look();
    if (result.kind === "failure" && result.reason === "no_space") {
      // A large value may be refused long before the last byte is taken.
      const { bytes, bytesMax } = this.#machine;
      this.#full = { bytes, bytesMax };
    } else if (this.#full !== undefined) this.#lookForRoom(this.#full);
  }

  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  stop(): void {
    this.#missing?.cancel();
    this.#missing = undefined;
  }

  #look(): void {
    const { committed = 0, applied = 0 } = this.#group ?? {};
    const isBehind = committed - applied > behindMax;
    if (isBehind === this.#isBehind) return;
    this.#isBehind = isBehind;
    this.changed();
  }

  #lookForRoom(full: Full): void {
    const { bytes, bytesMax } = this.#machine;
    if (bytesMax > full.bytesMax || bytes <= full.bytes - bytesMax * roomAgain) {
      this.#full = undefined;
    }
  }
}

function leaderMissing(health: StoreHealth): void {
  health.leaderMissing();
}
