/**
 * The replicated key-value store as a machine: entries of the log in, results out. Reads that need
 * no entry (ranges, events, leases) are asked of it directly; the driver makes sure that it has
 * applied far enough for them.
 */
import { assert, unreachable } from "../../base/assert.ts";
import { chooseBranches, putBytes, putProblem } from "./transaction.ts";
import { revisionAfter, runPut, shapeProblem, type Tables } from "./transaction.ts";
import { chooseToRun, previousProblem } from "./bounds.ts";
import { type ChangesPage, type ChangesRequest, walkChanges } from "./changes.ts";
import type { Command, DeleteRangeCommand, PutCommand, RangeRequest } from "./command.ts";
import type { LeaseGrantCommand, Opening, TransactionCommand } from "./command.ts";
import { commandVersion, decodeCommand, isKnownCommand } from "./command_codec.ts";
import { defaultLimits, type KvLimits, recordBytes } from "./limits.ts";
import { decodeResult, encodeResult } from "./result_codec.ts";
import { eventsOf, type EventsPage, type EventsRequest, readEvents } from "./events.ts";
import type { Failure, FailureReason, KvEvent, KvResult, RangeResult } from "./result.ts";
import { grantLease, revokeLeases } from "./lease_commands.ts";
import { LeaseKeysScan } from "./lease_keys.ts";
import { type LongCommand, LongDelete } from "./long_command.ts";
import { KvRestore } from "./restore.ts";
import { type Lease, Leases } from "./leases.ts";
import type { KvSnapshot } from "./snapshot.ts";
import type { Machine, MachineEntry } from "../../base/machine.ts";
import { PutReader } from "./put_reader.ts";
import { rangeProblem, RangeScan } from "./range.ts";
import type { KvStatistics } from "./statistics.ts";
import { type Session, Sessions } from "./sessions.ts";
import { SnapshotPins } from "./snapshot_pins.ts";
import { ownBytes, TransactionRun } from "./transaction_run.ts";
import { TransactionScan } from "./transaction_scan.ts";
import { type Change, Store } from "./store.ts";

/**
 * Housekeeping that every entry does: some, and more for what it changed, so that memory is given
 * back faster than it is taken whatever is written and even if a driver never is idle.
 */
const cleanStepsPerEntry = 8;
const cleanStepsPerChange = 2;
const cleanStepsMax = 2_048;
/** Keys that one slice of a large command changes: some milliseconds of work. */
const keysPerSlice = 2_048;

/** A large command between two slices. */
interface Unfinished {
  readonly entry: MachineEntry;
  readonly command: LongCommand;
  readonly session: Session | undefined;
  readonly sequence: number;
}

/** One lease as a client sees it, but for the time: that is the leader's to tell. */
export interface LeaseInfo {
  readonly id: number;
  readonly ttlMs: number;
  /** What the last checkpoint left of it; 0 for all of it. */
  readonly remainingMs: number;
}

export class KvMachine implements Machine<KvResult> {
  #leases = new Leases();
  #store = new Store(this.#leases);
  #sessions = new Sessions();
  #limits: KvLimits = defaultLimits;
  #appliedIndex = 0;
  #appliedTerm = 0;
  #restoring = false;
  /** Where the history ended after the last entry. */
  #changesSeen = 0;
  /** For plain puts, used again and again. */
  readonly #putReader = new PutReader();
  readonly #putChange = { main: 0, sub: 0 };
  #unfinished: Unfinished | undefined;
  readonly #pins = new SnapshotPins();
  readonly #keysPerSlice: number;

  /** Only tests have a reason for slices of another size. */
  constructor(options: { readonly keysPerSlice?: number } = {}) {
    this.#keysPerSlice = options.keysPerSlice ?? keysPerSlice;
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  get revision(): number {
    return this.#store.revision;
  }

  get compactRevision(): number {
    return this.#store.compactRevision;
  }

  /** What counts towards the quota, and the quota. */
  get bytes(): number {
    return this.#store.bytes;
  }

  get bytesMax(): number {
    return this.#limits.databaseBytesMax;
  }

  get limits(): KvLimits {
    return this.#limits;
  }

  /** It is being filled from a snapshot: nothing of it may be read or shown. */
  get restoring(): boolean {
    return this.#restoring;
  }

  /** A large entry is not finished: no snapshot may be begun. */
  get applying(): boolean {
    return this.#unfinished !== undefined;
  }

  /** A snapshot is being read, so that {@link work} has to wait. */
  get pinned(): boolean {
    return this.#store.pins > 0;
  }

  apply(entry: MachineEntry): KvResult | undefined {
    assert(!this.#restoring, "nothing is applied while the machine is restored");
    assert(this.#unfinished === undefined, "an entry is finished before the next one");
    assert(entry.index > this.#appliedIndex, "entries are applied in order");
    const result = this.#applyData(entry);
    return result === undefined ? this.resume() : this.#applied(entry, result);
  }

  resume(): KvResult | undefined {
    const unfinished = this.#unfinished;
    assert(unfinished !== undefined, "there is an entry to go on with");
    const { command, session, sequence, entry } = unfinished;
    // Within a slice it sees what it has written; everybody else sees it once it is whole.
    this.#store.unsettled = false;
    if (!command.step(this.#keysPerSlice)) {
      this.#store.unsettled = true;
      return undefined;
    }
    this.#unfinished = undefined;
    const result = command.result(this.#commit(command.change));
    if (session !== undefined) this.#sessions.keep(session, sequence, result, this.#limits);
    return this.#applied(entry, result);
  }

  #applied(entry: MachineEntry, result: KvResult): KvResult {
    if (this.isFatal(result)) return result;
    this.#appliedIndex = entry.index;
    this.#appliedTerm = entry.term;
    const { end } = this.#store.history;
    const steps = cleanStepsPerEntry + cleanStepsPerChange * (end - this.#changesSeen);
    this.#changesSeen = end;
    this.#pins.check(this.#store);
    this.#store.clean(Math.min(steps, cleanStepsMax));
    return result;
  }

  isFatal(result: KvResult): boolean {
    return result.kind === "failure" && result.reason === "unsupported_version";
  }

  supports(data: Uint8Array): boolean {
    return isKnownCommand(data);
  }

  encodeResult(result: KvResult): Uint8Array {
    return encodeResult(result);
  }

  decodeResult(bytes: Uint8Array): KvResult | undefined {
    return decodeResult(bytes);
  }

  /**
   * Housekeeping that changes no answer, about `steps` small units of it. False when none is left.
   * To be called when nothing else is to be done; `apply` does a little of it by itself.
   */
  work(steps: number): boolean {
    return this.#store.clean(steps);
  }

  /** `pinnedBytesMax` bounds what is kept for it; by default twice what the store holds. */
  snapshot({ pinnedBytesMax }: { readonly pinnedBytesMax?: number } = {}): KvSnapshot {
    assert(!this.#restoring, "a machine that is restored has no snapshot");
    assert(this.#unfinished === undefined, "a snapshot stands between two entries");
    return this.#pins.begin({
      index: this.#appliedIndex,
      term: this.#appliedTerm,
      store: this.#store,
      leases: this.#leases,
      sessions: this.#sessions,
      limits: this.#limits,
    }, pinnedBytesMax);
  }

  /** Old state that is kept for snapshots alone. */
  get pinnedBytes(): number {
    return this.#pins.bytes(this.#store);
  }

  restore(): KvRestore {
    this.#restoring = true;
    this.#unfinished = undefined;
    this.#appliedIndex = 0;
    this.#appliedTerm = 0;
    this.#leases = new Leases();
    this.#store = new Store(this.#leases);
    this.#sessions = new Sessions();
    const target = { store: this.#store, leases: this.#leases, sessions: this.#sessions };
    return new KvRestore(target, ({ index, term, limits }) => {
      assert(this.#store === target.store, "the last restore that began is the one that ends");
      this.#appliedIndex = index;
      this.#appliedTerm = term;
      this.#limits = limits;
      this.#changesSeen = target.store.history.end;
      this.#restoring = false;
    });
  }

  /** Reads an interval; the scan can be taken in slices. Above `bytesMax` it is `too_large`. */
  scan(request: RangeRequest, bytesMax = Infinity): RangeScan | Failure {
    const problem = rangeProblem(this.#store, request);
    if (problem !== undefined) return this.#failure(problem);
    return new RangeScan(this.#store, request, { bytesMax });
  }

  /** Reads a transaction that writes nothing, of its own state of now, likewise in slices. */
  scanTransaction(command: TransactionCommand, bytesMax = Infinity): TransactionScan | Failure {
    assert(this.#unfinished === undefined, "compares do not look into an entry");
    const problem = shapeProblem(command, this.#limits);
    if (problem !== undefined) return this.#failure(problem);
    const chosen = chooseBranches(command, this.#tables, { keys: this.#limits.scanKeysMax });
    if (typeof chosen === "string") return this.#failure(chosen);
    return new TransactionScan(this.#store, chosen, bytesMax);
  }

  /** Reads an interval at once. */
  range(request: RangeRequest): RangeResult | Failure {
    const scan = this.scan(request);
    if (!(scan instanceof RangeScan)) return scan;
    for (;;) {
      const result = scan.step(Number.MAX_SAFE_INTEGER);
      if (result === "compacted") return this.#failure(result);
      assert(result !== "too_large", "a scan without a bound on its bytes meets none");
      if (result !== undefined) return result;
    }
  }

  /** One page of a watch. */
  events(request: EventsRequest): EventsPage {
    return readEvents(this.#store, request);
  }

  /** Changes one after the other, where they lie: for many watches at once. */
  changes(request: ChangesRequest): ChangesPage {
    return walkChanges(this.#store, request);
  }

  /**
   * Everything that the newest entry changed, with previous values, for live watchers. To be asked
   * before the next entry is applied, which may be a compaction. Where an entry may have changed very
   * many keys, {@link events} gives the same in pages.
   */
  eventsOf(revision: number): KvEvent[] {
    return eventsOf(this.#store, revision);
  }

  lease(id: number): LeaseInfo | undefined {
    const lease = this.#leases.get(id);
    return lease === undefined ? undefined : infoOf(lease);
  }

  /** In the order of their granting. */
  leases(): LeaseInfo[] {
    return [...this.#leases.all()].map(infoOf);
  }

  /** The keys of a lease, in their order; to be closed. */
  leaseKeys(id: number, bytesMax = Infinity): LeaseKeysScan {
    return new LeaseKeysScan(this.#store, this.#leases.get(id)?.keys ?? [], bytesMax);
  }

  revisionForHistory(bytesMax: number): number | undefined {
    return this.#store.revisionForHistory(bytesMax);
  }

  statistics(): KvStatistics {
    const store = this.#store;
    return {
      revision: store.revision,
      compactRevision: store.compactRevision,
      keys: store.index.live,
      bytes: store.bytes,
      bytesMax: this.#limits.databaseBytesMax,
      historyBytes: store.historyBytes,
      memoryBytes: store.records.arena.bytesHeld,
      pinnedBytes: this.pinnedBytes,
      leases: this.#leases.size,
      sessions: this.#sessions.size,
      sessionBytes: this.#sessions.bytes,
    };
  }

  /** What is wrong with the machine's own order, for tests; undefined when nothing is. */
  check(): string | undefined {
    return this.#store.index.check();
  }

  /** Undefined for a large command, which is unfinished then. */
  #applyData(entry: MachineEntry): KvResult | undefined {
    const { data } = entry;
    // A new leader's first entry has no data.
    if (data.length === 0) return this.#done();
    // Before anything else is asked of it: a newer build may ask otherwise.
    if (data[0] > commandVersion) return this.#failure("unsupported_version");
    if (data.length > this.#limits.requestBytesMax) return this.#failure("request_too_large");
    if (this.#putReader.read(data)) {
      const result = this.#applyPut(this.#putReader, entry.index);
      this.#putReader.shut();
      return result;
    }
    const envelope = decodeCommand(data);
    if (typeof envelope === "string") return this.#failure(envelope);
    const { command, session: header } = envelope;
    if (header?.opening !== undefined) {
      if (command.kind === "sessionOpen") return this.#openNamed(header.opening, entry.index);
      if (command.kind === "sessionClose") {
        this.#sessions.closeNamed(header.opening);
        return this.#done();
      }
    }
    const session = header && this.#sessions.begin(header, entry.index, this.#limits);
    if (typeof session === "string") return this.#failure(session);
    if (session !== undefined && "kind" in session) return session;
    const sequence = header?.sequence ?? 0;
    const result = this.#execute(command, entry.index);
    if ("step" in result) {
      this.#unfinished = { entry, command: result, session, sequence };
      return undefined;
    }
    if (session !== undefined) this.#sessions.keep(session, sequence, result, this.#limits);
    return result;
  }

  #openNamed(opening: Opening, index: number): KvResult {
    const session = this.#sessions.openNamed(opening, index, this.#limits);
    if (session === undefined) return this.#failure("session_expired");
    return { kind: "sessionOpen", revision: this.#store.revision, session: session.id };
  }

  #applyPut(put: PutReader, index: number): KvResult {
    if (put.session === 0) return this.#plainPut(put);
    const session = this.#sessions.begin(put, index, this.#limits);
    if (typeof session === "string") return this.#failure(session);
    if ("kind" in session) return session;
    const { sequence } = put;
    const result = this.#plainPut(put);
    this.#sessions.keep(session, sequence, result, this.#limits);
    return result;
  }

  /** A put that asks for nothing and keeps nothing; any other is made a command first. */
  #plainPut(put: PutReader): KvResult {
    const { key, value, keyFrom, keyTo, valueFrom, valueTo, lease } = put;
    const { previous, ignoreValue, ignoreLease } = put;
    if (previous || ignoreValue || ignoreLease) {
      return this.#put({
        kind: "put",
        key: key.subarray(keyFrom, keyTo),
        value: value.subarray(valueFrom, valueTo),
        lease,
        previous,
        ignoreValue,
        ignoreLease,
      });
    }
    if (keyFrom === keyTo) return this.#failure("key_empty");
    if (keyTo - keyFrom > this.#limits.keyBytesMax) return this.#failure("key_too_large");
    if (lease !== 0 && !this.#leases.has(lease)) return this.#failure("lease_not_found");
    if (!this.#hasRoom(recordBytes(keyTo - keyFrom, valueTo - valueFrom))) {
      return this.#failure("no_space");
    }
    const revision = this.#store.revision + 1;
    this.#putChange.main = revision;
    this.#putChange.sub = 0;
    this.#store.put(put, this.#putChange);
    this.#store.revision = revision;
    return { kind: "put", revision, previous: undefined };
  }

  #execute(command: Command, index: number): KvResult | LongCommand {
    switch (command.kind) {
      case "put":
        return this.#put(command);
      case "deleteRange":
        return this.#deleteRange(command);
      case "transaction":
        return this.#transaction(command);
      case "compact":
        return this.#compact(command.revision);
      case "leaseGrant":
        return this.#grant(command, index);
      case "leaseRevoke":
        return this.#leases.has(command.id)
          ? revokeLeases([command.id], this.#tables)
          : this.#failure("lease_not_found");
      case "leaseExpire":
        return revokeLeases(command.ids, this.#tables);
      case "leaseCheckpoint":
        for (const { id, remainingMs } of command.leases) {
          const lease = this.#leases.get(id);
          if (lease !== undefined) lease.remainingMs = Math.min(remainingMs, lease.ttlMs);
        }
        return this.#done();
      case "sessionOpen":
        this.#sessions.open(index, this.#limits);
        return { kind: "sessionOpen", revision: this.#store.revision, session: index };
      case "sessionClose":
        this.#sessions.close(command.session);
        return this.#done();
      case "configure":
        this.#limits = { ...this.#limits, ...command.limits };
        return this.#done();
      default:
        return unreachable(command);
    }
  }

  get #tables(): Tables {
    return { store: this.#store, leases: this.#leases, limits: this.#limits };
  }

  /** Every command makes one revision at most, whatever it changes. */
  #begin(): Change {
    return { main: this.#store.revision + 1, sub: 0 };
  }

  #commit(change: Change): number {
    this.#store.revision = revisionAfter(change);
    return this.#store.revision;
  }

  #hasRoom(bytes: number): boolean {
    return this.#store.bytes + bytes <= this.#limits.databaseBytesMax;
  }

  #put(command: PutCommand): KvResult {
    const tables = this.#tables;
    const problem = shapeProblem(command, this.#limits) ?? putProblem(command, tables) ??
      previousProblem(command, tables);
    if (problem !== undefined) return this.#failure(problem);
    if (!this.#hasRoom(putBytes(command, this.#store))) return this.#failure("no_space");
    const change = this.#begin();
    const previous = runPut(command, this.#store, change);
    return { kind: "put", revision: this.#commit(change), previous };
  }

  #deleteRange(command: DeleteRangeCommand): Failure | LongCommand {
    const problem = shapeProblem(command, this.#limits) ?? previousProblem(command, this.#tables);
    return problem === undefined ? new LongDelete(this.#store, command) : this.#failure(problem);
  }

  #transaction(command: TransactionCommand): KvResult | LongCommand {
    const problem = shapeProblem(command, this.#limits);
    if (problem !== undefined) return this.#failure(problem);
    const toRun = chooseToRun(command, this.#tables);
    if (typeof toRun === "string") return this.#failure(toRun);
    const { chosen, keys } = toRun;
    if (keys > this.#keysPerSlice) return new TransactionRun(ownBytes(chosen), this.#store);
    const run = new TransactionRun(chosen, this.#store);
    for (let done = false; !done;) done = run.step(Number.MAX_SAFE_INTEGER);
    this.#commit(run.change);
    return run.result();
  }

  #compact(revision: number): KvResult {
    if (revision > this.#store.revision) return this.#failure("future_revision");
    if (revision <= this.#store.compactRevision) return this.#failure("compacted");
    this.#store.compact(revision);
    return { kind: "compact", revision: this.#store.revision };
  }

  #grant(command: LeaseGrantCommand, index: number): KvResult {
    const granted = grantLease(command, index, this.#tables);
    return typeof granted === "string" ? this.#failure(granted) : granted;
  }

  #done(): KvResult {
    return { kind: "done", revision: this.#store.revision };
  }

  #failure(reason: FailureReason): Failure {
    const { revision, compactRevision } = this.#store;
    return { kind: "failure", revision, reason, compactRevision };
  }
}

function infoOf({ id, ttlMs, remainingMs }: Lease): LeaseInfo {
  return { id, ttlMs, remainingMs };
}
