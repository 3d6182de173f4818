/**
 * The groups beside the root group: who asked for them here, and which of them run here. Where a
 * group is placed stands in the root group's log, so every node agrees on it; a replica runs as soon
 * as the node's program has brought the machine for it.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Group } from "./group.ts";
import type { GroupOfAny } from "./group_types.ts";
import { fitsLog, foundGroup, joinGroup, reopenGroup } from "./group_start.ts";
import type { RaftHost } from "./host.ts";
import { carryForward } from "./log_carry.ts";
import type { Machine } from "../base/machine.ts";
import type { GroupRecord, Member } from "./members.ts";
import type { Storage } from "./storage.ts";
import type { RecoveredGroup } from "./wal/recovery.ts";
import { joiningLog } from "./core/founding.ts";

/** A machine that waits for its group, or drives it. */
interface Registration {
  readonly machine: Machine<unknown>;
  group: GroupOfAny | undefined;
  starting: boolean;
  /** Those who wait until the group runs here, or is known not to. */
  waiters: (() => void)[];
  failure: CoveyError | undefined;
}

export class Groups {
  readonly #host: RaftHost;
  readonly #storage: Storage;
  readonly #root: GroupOfAny;
  readonly #logger: Logger;
  readonly #registrations = new Map<string, Registration>();
  #stopped = false;
  /** A group is being carried forward. */
  #busy = false;
  /** Groups that are being erased. */
  readonly #sweeping = new Set<number>();
  /** Groups that are being started. */
  readonly #starting = new Set<number>();

  constructor(parts: {
    readonly host: RaftHost;
    readonly storage: Storage;
    readonly root: GroupOfAny;
    readonly logger: Logger;
  }) {
    this.#host = parts.host;
    this.#storage = parts.storage;
    this.#root = parts.root;
    this.#logger = parts.logger;
  }

  /** Where the group of this name is placed, as far as this node has applied the root's log. */
  record(name: string): GroupRecord | undefined {
    return this.#root.members.groups.find((group) => group.name === name);
  }

  /** The program has the machine for this group. */
  register(name: string, machine: Machine<unknown>): void {
    if (this.#registrations.has(name)) {
      throw new CoveyError(Code.alreadyExists, `group ${name} has a machine on this node already`);
    }
    this.#registrations.set(name, {
      machine,
      group: undefined,
      starting: false,
      waiters: [],
      failure: undefined,
    });
    this.reconcile();
  }

  /** The machine is not wanted after all, unless it drives its group already. */
  unregister(name: string): void {
    const registration = this.#registrations.get(name);
    if (registration === undefined || registration.group !== undefined || registration.starting) {
      return;
    }
    this.#registrations.delete(name);
  }

  /** The group as it runs here; undefined when it is known and placed elsewhere. */
  async running<Result>(name: string, signal: AbortSignal): Promise<Group<Result> | undefined> {
    const registration = this.#registrations.get(name);
    if (registration === undefined) {
      throw new CoveyError(Code.failedPrecondition, `group ${name} has no machine on this node`);
    }
    for (;;) {
      if (registration.failure !== undefined) throw registration.failure;
      if (registration.group !== undefined) return registration.group;
      const record = this.record(name);
      if (record !== undefined && !this.#isHere(record)) return undefined;
      if (signal.aborted) throw new CoveyError(Code.canceled, "the request was canceled");
      await new Promise<void>((resolve) => {
        registration.waiters.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** The root group's log, or what is registered here, changed: starts and ends what follows. */
  reconcile(): void {
    if (this.#stopped) return;
    for (const [name, registration] of this.#registrations) {
      const record = this.record(name);
      const isIdle = registration.group === undefined && !registration.starting &&
        registration.failure === undefined;
      if (record !== undefined && isIdle) {
        if (this.#isHere(record)) void this.#start(record, registration);
        else this.#wake(registration);
      } else if (record === undefined && registration.group !== undefined) {
        void this.#end(registration);
      }
    }
    void this.#sweep();
  }

  /**
   * A group that does not run here, for want of its machine, holds up the log: what it needs is
   * carried forward.
   */
  async letGo(id: number): Promise<void> {
    const recovered = this.#storage.groups.get(id);
    if (recovered === undefined || this.#host.group(id) !== undefined || this.#busy) return;
    // Before a snapshot is read for nothing.
    if (!this.#storage.log.hasRoomFor(recovered.entries)) return;
    this.#busy = true;
    try {
      const isDone = await carryForward(this.#storage, {
        group: id,
        fits: (meta) => fitsLog(meta, recovered),
        // A group that began to run meanwhile has written more, which must not be taken back.
        entriesFrom: (index) =>
          this.#host.group(id) !== undefined
            ? undefined
            : recovered.entries.filter((entry) => entry.index >= index),
      });
      if (isDone) {
        this.#logger.info("a group without its machine was carried forward", { group: id });
      }
    } catch (cause) {
      this.#logger.error("a group without its machine keeps the log from being shortened", {
        group: id,
        cause,
      });
    } finally {
      this.#busy = false;
    }
  }

  /** Groups that were removed while they did not run here leave nothing behind. */
  async #sweep(): Promise<void> {
    const { members } = this.#root;
    for (const id of this.#storage.groups.keys()) {
      const isRemoved = id !== this.#root.id && id < members.nextGroup &&
        members.group(id) === undefined;
      const isBusy = this.#host.group(id) !== undefined || this.#sweeping.has(id);
      if (!isRemoved || isBusy || this.#starting.has(id)) continue;
      this.#sweeping.add(id);
      await this.#erase(id);
      this.#sweeping.delete(id);
    }
  }

  /** This node was made a replica of a group that it is no founder of. */
  async invited(id: number, replica: number): Promise<void> {
    const known = this.#storage.groups.get(id);
    if (known !== undefined && known.replica !== replica) {
      throw new CoveyError(
        Code.failedPrecondition,
        `this node still has replica ${known.replica} of group ${id}: its data is worth nothing, and ` +
          "the node can be added anew with an empty data directory",
      );
    }
    if (known !== undefined) return;
    const { log } = this.#storage;
    await log.whenDurable(log.createGroup(id, replica));
    this.#storage.groups.set(id, joiner(id, replica));
    this.reconcile();
  }

  stop(): void {
    this.#stopped = true;
    for (const registration of this.#registrations.values()) {
      registration.failure ??= new CoveyError(Code.unavailable, "the node is shutting down");
      this.#wake(registration);
    }
  }

  #isHere(record: GroupRecord): boolean {
    return this.#storage.groups.has(record.id) || this.#ownReplica(record) !== undefined;
  }

  #ownReplica(record: GroupRecord): Member | undefined {
    return record.founders.find(({ nodeId }) => nodeId === this.#host.nodeId);
  }

  async #start(record: GroupRecord, registration: Registration): Promise<void> {
    registration.starting = true;
    this.#starting.add(record.id);
    try {
      const recovered = this.#storage.groups.get(record.id);
      const start = {
        host: this.#host,
        storage: this.#storage,
        id: record.id,
        name: record.name,
        replica: recovered?.replica ?? this.#ownReplica(record)!.replica,
        machine: registration.machine,
        logger: this.#logger,
        random: this.#host.random(),
      };
      let group: GroupOfAny;
      if (recovered === undefined) {
        group = await foundGroup(start, record.founders);
        this.#storage.groups.set(record.id, joiner(record.id, start.replica));
      } else if (recovered.snapshot.index === 0 && recovered.entries.length === 0) {
        group = await joinGroup(start, record.founders, { isCreated: true });
      } else {
        group = await reopenGroup(start, recovered);
      }
      registration.group = group;
      this.#host.add(group);
      this.#logger.info("a group runs here", { group: record.id, name: record.name });
    } catch (error) {
      registration.failure = CoveyError.from(error, Code.internal);
      this.#logger.error("a group cannot be started", { name: record.name, cause: error });
    } finally {
      registration.starting = false;
      this.#starting.delete(record.id);
      this.#wake(registration);
      // It may have been removed in the meantime.
      this.reconcile();
    }
  }

  /** The group is removed: its data goes. */
  async #end(registration: Registration): Promise<void> {
    const { group } = registration;
    if (group === undefined) return;
    registration.group = undefined;
    const gone = new CoveyError(Code.notFound, `group ${group.name} was removed`);
    registration.failure = gone;
    this.#registrations.delete(group.name);
    this.#wake(registration);
    this.#sweeping.add(group.id);
    await this.#host.remove(group.id, gone);
    await this.#erase(group.id);
    this.#sweeping.delete(group.id);
  }

  async #erase(id: number): Promise<void> {
    const { log, store, groups } = this.#storage;
    try {
      await log.whenDurable(log.removeGroup(id));
      groups.delete(id);
      await store.remove(id);
      this.#logger.info("a group was removed", { group: id });
    } catch (error) {
      if (!this.#stopped) {
        this.#logger.error("a group's data could not be removed", { group: id, cause: error });
      }
    }
  }

  #wake(registration: Registration): void {
    const { waiters } = registration;
    registration.waiters = [];
    for (const wake of waiters) wake();
  }
}

function joiner(group: number, replica: number): RecoveredGroup {
  const { hardState, snapshot } = joiningLog();
  return { group, replica, hardState, snapshot, entries: [] };
}
