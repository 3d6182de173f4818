/**
 * The store once more, written to be obviously right and nothing else: one array of all changes that
 * ever were, looked through from the start for every answer. Keys and values are Latin-1 strings.
 */
import type { Command, Compare, Envelope, Operation } from "../../../src/kv/core/command.ts";
import type { DeleteRangeCommand, PutCommand } from "../../../src/kv/core/command.ts";
import type { RangeRequest, TransactionCommand } from "../../../src/kv/core/command.ts";
import type { FailureReason, KeyValue, KvEvent } from "../../../src/kv/core/result.ts";
import type { KvResult, OperationResult } from "../../../src/kv/core/result.ts";
import { defaultLimits, type KvLimits } from "../../../src/kv/core/limits.ts";
import { deleteWeight, entryWeight, rangeWeight, type Written } from "./twin_weight.ts";

export function text(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

export function latin(value: string): Uint8Array {
  return Uint8Array.from(value, (char) => char.charCodeAt(0));
}

export interface Change {
  readonly key: string;
  readonly value: string;
  readonly mod: number;
  readonly sub: number;
  readonly create: number;
  readonly version: number;
  readonly lease: number;
}

interface TwinSession {
  readonly id: number;
  readonly single: boolean;
  acknowledged: number;
  results: { sequence: number; result: KvResult }[];
}

class Refused extends Error {
  readonly reason: FailureReason;
  constructor(reason: FailureReason) {
    super(reason);
    this.reason = reason;
  }
}

export function within(
  key: string,
  request: { readonly key: Uint8Array; readonly end: Uint8Array },
) {
  const from = text(request.key), end = text(request.end);
  if (end === "") return key === from;
  return key >= from && (end === "\0" || key < end);
}

export class Twin {
  changes: Change[] = [];
  revision = 1;
  compactRevision = 0;
  leases: { id: number; ttlMs: number; remainingMs: number }[] = [];
  /** The least recently used first. */
  sessions: TwinSession[] = [];
  lastSession = 0;
  openings: { readonly nonce: string; readonly id: number }[] = [];
  limits: KvLimits = defaultLimits;
  /** A transaction that is read without the log is bounded in its compares alone. */
  weighsTransactions = true;
  #keysSeen = 0;
  /** While a command runs: its revision. */
  #main = 0;
  #sub = 0;

  clone(): Twin {
    const twin = new Twin();
    twin.changes = [...this.changes];
    twin.revision = this.revision;
    twin.compactRevision = this.compactRevision;
    twin.leases = this.leases.map((lease) => ({ ...lease }));
    twin.sessions = this.sessions.map((one) => ({ ...one, results: [...one.results] }));
    twin.lastSession = this.lastSession;
    twin.openings = [...this.openings];
    twin.limits = this.limits;
    return twin;
  }

  apply(envelope: Envelope, index: number): KvResult {
    const { session: header, command } = envelope;
    if (header === undefined) return this.#try(command, index);
    let id = header.session;
    if (header.opening !== undefined) {
      const nonce = header.opening.nonce.join();
      const opened = this.openings.find((one) => one.nonce === nonce);
      if (command.kind === "sessionClose") {
        this.sessions = this.sessions.filter((one) => one.id !== opened?.id);
        return { kind: "done", revision: this.revision };
      }
      if (opened === undefined) {
        this.openings = [...this.openings, { nonce, id: index }].slice(-16_384);
        this.#open(index, header.opening.single);
      }
      id = opened?.id ?? index;
      if (command.kind === "sessionOpen") {
        if (opened === undefined) this.#evict();
        const there = this.sessions.some((one) => one.id === id);
        if (!there) return this.#failure("session_expired");
        return { kind: "sessionOpen", revision: this.revision, session: id };
      }
    }
    const isSingle = (one: TwinSession): boolean => one.single && header.opening === undefined;
    const session = this.sessions.find((one) => one.id === id && !isSingle(one));
    if (session === undefined) {
      if (header.opening !== undefined) return this.#failure("session_expired");
      const known = header.session > 0 && header.session <= this.lastSession;
      return this.#failure(known ? "session_expired" : "session_unknown");
    }
    if (!session.single) {
      this.sessions = [...this.sessions.filter((one) => one !== session), session];
    }
    session.acknowledged = Math.max(session.acknowledged, header.acknowledged);
    session.results = session.results.filter((one) => one.sequence > session.acknowledged);
    if (header.sequence <= session.acknowledged) return this.#failure("session_stale");
    const known = session.results.find((one) => one.sequence === header.sequence);
    if (known !== undefined) return known.result;
    if (session.results.length >= this.limits.sessionResultsMax) {
      return this.#failure("session_full");
    }
    const result = this.#try(command, index);
    const kept: KvResult = weight(result) > this.limits.sessionResultBytesMax
      ? { kind: "failure", revision: result.revision, reason: "result_dropped", compactRevision: 0 }
      : result;
    session.results.push({ sequence: header.sequence, result: kept });
    this.#evict();
    return result;
  }

  #evict(): void {
    const bytes = (): number =>
      this.sessions.reduce(
        (sum, one) =>
          sum + 128 + one.results.reduce((part, { result }) => part + weight(result), 0),
        0,
      );
    for (const single of [true, false]) {
      for (;;) {
        const those = this.sessions.filter((one) => one.single === single);
        const tooMany = this.sessions.length > this.limits.sessionsMax ||
          bytes() > this.limits.sessionBytesMax;
        if (those.length < 2 || !tooMany) break;
        this.sessions = this.sessions.filter((one) => one !== those[0]);
      }
    }
  }

  #open(id: number, single: boolean): void {
    this.lastSession = id;
    this.sessions.push({ id, single, acknowledged: 0, results: [] });
  }

  #failure(reason: FailureReason): KvResult {
    const { revision, compactRevision } = this;
    return { kind: "failure", revision, reason, compactRevision };
  }

  #try(command: Command, index: number): KvResult {
    const before = this.clone();
    try {
      this.#keysSeen = 0;
      this.#main = this.revision + 1;
      this.#sub = 0;
      const result = this.#execute(command, index);
      if (this.#sub > 0) this.revision = this.#main;
      return result;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.changes = before.changes;
      return this.#failure(error.reason);
    }
  }

  #now(): number {
    return this.#sub > 0 ? this.#main : this.#main - 1;
  }

  #execute(command: Command, index: number): KvResult {
    switch (command.kind) {
      case "put":
      case "deleteRange":
        this.#shape(command);
        if (command.kind === "put") {
          this.#mayPut(command);
          this.#maySay(64 + this.#previousWeight(command));
          this.#room(this.#size(command));
        } else this.#maySay(64 + this.#previousWeight(command));
        return this.#run(command, new Map());
      case "transaction": {
        this.#transactionShape(command);
        const chosen = new Map<TransactionCommand, boolean>();
        this.#choose(command, chosen);
        const operations = this.#chosenOperations(command, chosen);
        for (const one of operations) {
          if (one.kind !== "range") continue;
          const problem = this.rangeProblem(one);
          if (problem !== undefined) throw new Refused(problem);
        }
        let size = 0;
        for (const one of operations) {
          if (one.kind !== "put") continue;
          this.#mayPut(one);
          size += this.#size(one);
        }
        if (this.weighsTransactions) {
          const bytes = this.#weigh(command, chosen, []);
          this.#maySee(0);
          this.#maySay(bytes);
        }
        if (size > 0) this.#room(size);
        return this.#run(command, chosen);
      }
      case "compact":
        if (command.revision > this.revision) throw new Refused("future_revision");
        if (command.revision <= this.compactRevision) throw new Refused("compacted");
        this.compactRevision = command.revision;
        return { kind: "compact", revision: this.revision };
      case "leaseGrant": {
        if (command.ttlMs === 0 || command.ttlMs > this.limits.leaseTtlMsMax) {
          throw new Refused("lease_ttl_invalid");
        }
        const exists = (id: number): boolean => this.leases.some((lease) => lease.id === id);
        if (exists(command.id)) throw new Refused("lease_exists");
        if (this.leases.length >= this.limits.leasesMax) throw new Refused("too_many_leases");
        this.#room(0);
        let id = command.id;
        if (id === 0) {
          id = index;
          while (exists(id)) id++;
        }
        const ttlMs = Math.max(command.ttlMs, this.limits.leaseTtlMsMin);
        this.leases.push({ id, ttlMs, remainingMs: 0 });
        return { kind: "leaseGrant", revision: this.revision, id, ttlMs };
      }
      case "leaseRevoke":
        if (!this.leases.some((lease) => lease.id === command.id)) {
          throw new Refused("lease_not_found");
        }
        return this.#revoke([command.id]);
      case "leaseExpire":
        return this.#revoke(command.ids);
      case "leaseCheckpoint":
        for (const { id, remainingMs } of command.leases) {
          for (const lease of this.leases) {
            if (lease.id === id) lease.remainingMs = Math.min(remainingMs, lease.ttlMs);
          }
        }
        return { kind: "done", revision: this.revision };
      case "sessionOpen":
        this.#open(index, false);
        this.#evict();
        return { kind: "sessionOpen", revision: this.revision, session: index };
      case "sessionClose":
        this.sessions = this.sessions.filter((one) => one.id !== command.session);
        return { kind: "done", revision: this.revision };
      case "configure":
        this.limits = { ...this.limits, ...command.limits };
        return { kind: "done", revision: this.revision };
    }
  }

  #revoke(ids: readonly number[]): KvResult {
    const gone = this.leases.filter((lease) => ids.includes(lease.id)).map((lease) => lease.id);
    const keys = this.#liveNow().filter((one) => gone.includes(one.lease)).map((one) => one.key);
    for (const key of keys) this.#erase(key);
    this.leases = this.leases.filter((lease) => !gone.includes(lease.id));
    return { kind: "leaseRevoke", revision: this.#now(), deleted: keys.length };
  }

  #erase(key: string): void {
    this.changes.push({
      key,
      value: "",
      mod: this.#main,
      sub: this.#sub++,
      create: 0,
      version: 0,
      lease: 0,
    });
  }

  /** What was there at a revision, in the order of the keys. */
  state(revision: number): Change[] {
    const last = new Map<string, Change>();
    for (const change of this.changes) if (change.mod <= revision) last.set(change.key, change);
    return [...last.values()].filter((change) => change.version > 0)
      .sort((a, b) => a.key < b.key ? -1 : 1);
  }

  #liveNow(): Change[] {
    return this.state(Infinity);
  }

  #live(key: string): Change | undefined {
    return this.#liveNow().find((change) => change.key === key);
  }

  #shape(operation: Exclude<Operation, TransactionCommand>): void {
    const { keyBytesMax } = this.limits;
    if (operation.key.length === 0) throw new Refused("key_empty");
    if (operation.key.length > keyBytesMax) throw new Refused("key_too_large");
    if (operation.kind !== "put") {
      if (operation.end.length > keyBytesMax) throw new Refused("key_too_large");
      return;
    }
    if (operation.ignoreValue && operation.value.length > 0) throw new Refused("value_provided");
    if (operation.ignoreLease && operation.lease !== 0) throw new Refused("lease_provided");
  }

  #mayPut(put: PutCommand): void {
    if ((put.ignoreValue || put.ignoreLease) && this.#live(text(put.key)) === undefined) {
      throw new Refused("key_not_found");
    }
    if (put.lease !== 0 && !this.leases.some((lease) => lease.id === put.lease)) {
      throw new Refused("lease_not_found");
    }
  }

  #size(put: PutCommand): number {
    const value = put.ignoreValue ? this.#live(text(put.key))?.value ?? "" : text(put.value);
    return 64 + put.key.length + value.length;
  }

  #room(size: number): void {
    if (this.bytes() + size > this.limits.databaseBytesMax) throw new Refused("no_space");
  }

  #maySay(bytes: number): void {
    if (bytes > this.limits.resultBytesMax) throw new Refused("result_too_large");
  }

  #maySee(keys: number): void {
    this.#keysSeen += keys;
    if (this.#keysSeen > this.limits.scanKeysMax) throw new Refused("too_many_keys");
  }

  #previousWeight(command: PutCommand | DeleteRangeCommand): number {
    if (!command.previous) return 0;
    if (command.kind === "deleteRange") return deleteWeight(this, command).bytes;
    const before = this.#live(text(command.key));
    return before === undefined ? 0 : entryWeight(before);
  }

  /** What the result takes at most; counts the keys that are seen on the way. */
  #weigh(
    transaction: TransactionCommand,
    chosen: Map<TransactionCommand, boolean>,
    written: Written[],
  ): number {
    let bytes = 64;
    for (const one of chosen.get(transaction) ? transaction.success : transaction.failure) {
      if (one.kind === "transaction") {
        bytes += this.#weigh(one, chosen, written);
        continue;
      }
      bytes += 64;
      if (one.kind === "range") {
        const weight = rangeWeight(this, one, written);
        this.#maySee(weight.keys);
        bytes += weight.bytes;
        continue;
      }
      bytes += this.#previousWeight(one);
      if (one.kind === "put") {
        written.push({ key: one.key, end: latin(""), keys: 1, weight: this.#size(one) });
        continue;
      }
      const { keys } = deleteWeight(this, one);
      if (one.end.length > 0) this.#maySee(keys);
      written.push({
        key: one.key,
        end: one.end,
        keys: Math.max(keys, one.end.length > 0 ? 0 : 1),
      });
    }
    return bytes;
  }

  #transactionShape(transaction: TransactionCommand): void {
    const all = nestedIn(transaction);
    const compares = all.flatMap((one) => one.compares);
    const operations = all.flatMap((one) => [...one.success, ...one.failure]);
    if (Math.max(compares.length, operations.length) > this.limits.operationsMax) {
      throw new Refused("too_many_operations");
    }
    this.#nestedShape(transaction);
    if (changedTwice(transaction)) throw new Refused("duplicate_key");
  }

  #nestedShape(transaction: TransactionCommand): void {
    for (const { key, end } of transaction.compares) {
      if (key.length === 0) throw new Refused("key_empty");
      if (Math.max(key.length, end.length) > this.limits.keyBytesMax) {
        throw new Refused("key_too_large");
      }
    }
    for (const operation of [...transaction.success, ...transaction.failure]) {
      if (operation.kind === "transaction") this.#nestedShape(operation);
      else this.#shape(operation);
    }
  }

  #choose(transaction: TransactionCommand, chosen: Map<TransactionCommand, boolean>): void {
    const succeeded = transaction.compares.every((compare) => this.#holds(compare));
    chosen.set(transaction, succeeded);
    for (const operation of succeeded ? transaction.success : transaction.failure) {
      if (operation.kind === "transaction") this.#choose(operation, chosen);
    }
  }

  #chosenOperations(
    transaction: TransactionCommand,
    chosen: Map<TransactionCommand, boolean>,
  ): Operation[] {
    const own = chosen.get(transaction) ? transaction.success : transaction.failure;
    return [
      ...own.filter((one) => one.kind !== "transaction"),
      ...own.flatMap((one) =>
        one.kind === "transaction" ? this.#chosenOperations(one, chosen) : []
      ),
    ];
  }

  #holds(compare: Compare): boolean {
    const found = this.#liveNow().filter((change) => within(change.key, compare));
    if (found.length === 0) {
      if (compare.target === 3) return false;
      return ordered(0, compare.number, compare.operator);
    }
    return found.every((change) => {
      if (compare.end.length > 0) this.#maySee(1);
      if (compare.target === 3) {
        return ordered(change.value, text(compare.value), compare.operator);
      }
      const field = ([change.version, change.create, change.mod, 0, change.lease] as const)[
        compare.target
      ];
      return ordered(field, compare.number, compare.operator);
    });
  }

  #run(operation: Operation, chosen: Map<TransactionCommand, boolean>): OperationResult {
    if (operation.kind === "transaction") {
      const succeeded = chosen.get(operation) ?? false;
      const branch = succeeded ? operation.success : operation.failure;
      const results = branch.map((one) => this.#run(one, chosen));
      return { kind: "transaction", revision: this.#now(), succeeded, results };
    }
    if (operation.kind === "range") return this.read(operation, this.#now());
    if (operation.kind === "deleteRange") return this.#delete(operation);
    const key = text(operation.key);
    const before = this.#live(key);
    this.changes.push({
      key,
      value: operation.ignoreValue ? before?.value ?? "" : text(operation.value),
      mod: this.#main,
      sub: this.#sub++,
      create: before?.create ?? this.#main,
      version: (before?.version ?? 0) + 1,
      lease: operation.ignoreLease ? before?.lease ?? 0 : operation.lease,
    });
    const previous = operation.previous && before !== undefined ? shown(before) : undefined;
    return { kind: "put", revision: this.#now(), previous };
  }

  #delete(command: DeleteRangeCommand): OperationResult {
    const found = this.#liveNow().filter((change) => within(change.key, command));
    for (const { key } of found) this.#erase(key);
    return {
      kind: "deleteRange",
      revision: this.#now(),
      deleted: found.length,
      previous: command.previous ? found.map((change) => shown(change)) : [],
    };
  }

  rangeProblem(request: RangeRequest): FailureReason | undefined {
    if (request.key.length === 0) return "key_empty";
    if (request.revision > this.revision) return "future_revision";
    return request.revision > 0 && request.revision < this.compactRevision
      ? "compacted"
      : undefined;
  }

  range(request: RangeRequest): KvResult {
    const problem = this.rangeProblem(request);
    return problem === undefined ? this.read(request, this.revision) : this.#failure(problem);
  }

  read(request: RangeRequest, newest: number): OperationResult {
    const revision = request.revision === 0 ? newest : request.revision;
    const inside = this.state(revision).filter((change) => within(change.key, request));
    let wanted = inside.filter((change) =>
      (request.modMin === 0 || change.mod >= request.modMin) &&
      (request.modMax === 0 || change.mod <= request.modMax) &&
      (request.createMin === 0 || change.create >= request.createMin) &&
      (request.createMax === 0 || change.create <= request.createMax)
    );
    const by = (change: Change): number | string =>
      ([change.key, change.version, change.create, change.mod, change.value] as const)[
        request.sortTarget
      ];
    const sign = request.sortOrder === 2 ? -1 : 1;
    wanted = wanted.sort((a, b) => by(a) === by(b) ? 0 : by(a) < by(b) ? -sign : sign);
    const limited = request.limit > 0 ? wanted.slice(0, request.limit) : wanted;
    return {
      kind: "range",
      revision: newest,
      count: inside.length,
      more: !request.countOnly && limited.length < wanted.length,
      entries: request.countOnly ? [] : limited.map((change) => shown(change, request.keysOnly)),
    };
  }

  /** All events of an interval from a revision on; undefined when it is compacted. */
  events(key: Uint8Array, end: Uint8Array, from: number): KvEvent[] | undefined {
    if (from < this.compactRevision) return undefined;
    return this.changes.flatMap((change, at): KvEvent[] => {
      if (change.mod < from || !within(change.key, { key, end })) return [];
      const before = this.changes.slice(0, at).findLast((one) => one.key === change.key);
      const tells = before !== undefined && before.version > 0 &&
        change.mod > this.compactRevision;
      return [{
        type: change.version === 0 ? "delete" : "put",
        entry: shown(change),
        previous: tells ? shown(before) : undefined,
      }];
    });
  }

  /** What the quota counts. */
  bytes(compacted = this.compactRevision): number {
    let sum = 0;
    for (const [at, change] of this.changes.entries()) {
      const next = this.changes.slice(at + 1).find((one) => one.key === change.key);
      if (next !== undefined && next.mod <= compacted) continue;
      if (change.version === 0 && change.mod <= compacted) continue;
      sum += 64 + change.key.length + change.value.length;
    }
    return sum;
  }
}

function shown(change: Change, keysOnly = false): KeyValue {
  return {
    key: latin(change.key),
    value: latin(keysOnly ? "" : change.value),
    createRevision: change.create,
    modRevision: change.mod,
    version: change.version,
    lease: change.lease,
  };
}

function ordered(a: number | string, b: number | string, operator: number): boolean {
  return operator === 0 ? a === b : operator === 1 ? a > b : operator === 2 ? a < b : a !== b;
}

function nestedIn(transaction: TransactionCommand): TransactionCommand[] {
  return [
    transaction,
    ...[...transaction.success, ...transaction.failure].flatMap((one) =>
      one.kind === "transaction" ? nestedIn(one) : []
    ),
  ];
}

/** Every way through it, each as the changes it would try in order. */
function paths(transaction: TransactionCommand): (PutCommand | DeleteRangeCommand)[][] {
  return [transaction.success, transaction.failure].flatMap((branch) => {
    let ways: (PutCommand | DeleteRangeCommand)[][] = [[]];
    for (const one of branch) {
      if (one.kind === "range") continue;
      const next = one.kind === "transaction" ? paths(one) : [[one]];
      ways = ways.flatMap((way) => next.map((more) => [...way, ...more]));
    }
    return ways;
  });
}

function changedTwice(transaction: TransactionCommand): boolean {
  return paths(transaction).some((way) =>
    way.some((one, at) =>
      one.kind === "put" && way.some((other, place) =>
        place !== at &&
        (other.kind === "put" ? text(other.key) === text(one.key) : within(text(one.key), other))
      )
    )
  );
}

function weight(result: KvResult): number {
  const entry = ({ key, value }: KeyValue): number => 64 + key.length + value.length;
  const sum = (entries: readonly KeyValue[]): number =>
    entries.reduce((all, one) => all + entry(one), 0);
  if (result.kind === "put" && result.previous !== undefined) return 64 + entry(result.previous);
  if (result.kind === "deleteRange") return 64 + sum(result.previous);
  if (result.kind === "range") return 64 + sum(result.entries);
  if (result.kind === "transaction") {
    return result.results.reduce((all, one) => all + weight(one), 64);
  }
  return 64;
}
