/**
 * The key-value store as programs use it: over one or several nodes, or without a network over the
 * handlers of the own node. What failed without having happened is tried again, at another node
 * where there is one, until the call's deadline; writes go through a session, so that a retry is
 * applied once.
 */
import { Calls } from "./client_calls.ts";
import type { CallOptions } from "../ttrpc/service.ts";
import { ClientElection, takeLock } from "./client_election.ts";
import { ClientWatch } from "./client_watch.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Clock, Random } from "../runtime/port.ts";
import type {
  DeleteOptions,
  KeyInput,
  KeySelection,
  KvCallOptions,
  KvDelete,
  KvElection,
  KvEntry,
  KvHash,
  KvHeader,
  KvLease,
  KvLeaseStatus,
  KvLimitsChange,
  KvLock,
  KvPut,
  KvRange,
  KvSnapshotEnd,
  KvStatus,
  KvTransaction,
  KvTransactionResult,
  KvWatch,
  LeaseOptions,
  LockOptions,
  PutOptions,
  RangeOptions,
  WatchOptions,
} from "./client_types.ts";
import {
  deleteRequest,
  entryOf,
  headerOf,
  limitsOf,
  operationResult,
  optionalEntry,
  putRequest,
  rangeRequest,
  readsOnly,
  toBytes,
  toWire,
  transactionRequest,
} from "./client_wire.ts";
import type { KvEndpoint } from "./client_endpoint.ts";
import { Leases } from "./client_lease.ts";
import { Requests } from "./client_requests.ts";
import type { ResponseHeader } from "../gen/covey/kv/v1/kv_pb.ts";
import { Sessions } from "./client_session.ts";
import { TransactionBuilder } from "./client_transaction.ts";

export interface KvClientOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** At least one; calls begin at the first. */
  readonly endpoints: readonly KvEndpoint[];
  /**
   * Number the writes, so that they may be repeated when their outcome is unknown. `"single"` gives
   * each write a session of its own that needs no closing: for a write or two. With false such a
   * write fails. Default true.
   */
  readonly sessions?: boolean | "single";
  /** Milliseconds for calls that say nothing, waiting for locks and elections aside. Default 10 s. */
  readonly timeoutMs?: number;
  /** Calls in flight; one more fails with `resource_exhausted`. Default 4,096. */
  readonly callsMax?: number;
}

const timeoutMsDefault = 10_000;
const callsMaxDefault = 4_096;
const leaseTtlMsDefault = 60_000;

/** Errors are CoveyErrors; {@link leaderOf} and {@link refusalOf} say more about them. */
export class KvClient implements AsyncDisposable {
  readonly #calls: Calls;
  readonly #sessions: Sessions;
  readonly #leases: Leases;

  constructor(options: KvClientOptions) {
    this.#calls = new Calls({
      clock: options.clock,
      random: options.random,
      endpoints: options.endpoints,
      timeoutMs: options.timeoutMs ?? timeoutMsDefault,
      callsMax: options.callsMax ?? callsMaxDefault,
    });
    this.#sessions = new Sessions(this.#calls, options.sessions ?? true);
    this.#leases = new Leases(this.#calls);
  }

  /** The key's entry; undefined when there is none. */
  async get(key: KeyInput, options: RangeOptions = {}): Promise<KvEntry | undefined> {
    const { entries } = await this.range(toBytes(key), options);
    return entries[0];
  }

  async range(keys: KeySelection, options: RangeOptions = {}): Promise<KvRange> {
    const request = {
      ...rangeRequest(keys, options),
      serializable: options.serializable ?? false,
    };
    const response = await this.#read(options, (endpoint, own) => endpoint.kv.range(request, own));
    const header = headerOf(response.header);
    return {
      revision: header.revision,
      header,
      entries: response.kvs.map(entryOf),
      more: response.more,
      count: Number(response.count),
    };
  }

  /** `value: undefined` keeps the value that is there; the key must exist then. */
  async put(
    key: KeyInput,
    value: KeyInput | undefined,
    options: PutOptions = {},
  ): Promise<KvPut> {
    const request = putRequest(key, value, options);
    const { header: wire, prevKv } = await this.#sessions.write(
      options,
      (endpoint, own, session) => endpoint.kv.put({ ...request, session }, own),
    );
    const header = headerOf(wire);
    return { revision: header.revision, header, previous: optionalEntry(prevKv) };
  }

  async delete(keys: KeySelection, options: DeleteOptions = {}): Promise<KvDelete> {
    const request = deleteRequest(keys, options);
    const response = await this.#sessions.write(
      options,
      (endpoint, own, session) => endpoint.kv.deleteRange({ ...request, session }, own),
    );
    const header = headerOf(response.header);
    return {
      revision: header.revision,
      header,
      deleted: Number(response.deleted),
      previous: response.prevKvs.map(entryOf),
    };
  }

  /** Begins a transaction: `kv.transaction().if(…).do(…).otherwise(…).commit()`. */
  transaction(): TransactionBuilder {
    return new TransactionBuilder((transaction, options) => this.transact(transaction, options));
  }

  async transact(
    transaction: KvTransaction,
    options: KvCallOptions = {},
  ): Promise<KvTransactionResult> {
    const request = transactionRequest(transaction);
    const response = readsOnly(transaction)
      ? await this.#read(options, (endpoint, own) => endpoint.kv.txn(request, own))
      : await this.#sessions.write(
        options,
        (endpoint, own, session) => endpoint.kv.txn({ ...request, session }, own),
      );
    const header = headerOf(response.header);
    return {
      revision: header.revision,
      header,
      succeeded: response.succeeded,
      results: response.responses.map(operationResult),
    };
  }

  /** Forgets what was superseded up to this revision. */
  async compact(revision: number, options: KvCallOptions = {}): Promise<KvHeader> {
    const request = { revision: toWire(revision, "revision") };
    return await this.#headerOf(this.#sessions.write(
      options,
      (endpoint, own, session) => endpoint.kv.compact({ ...request, session }, own),
    ));
  }

  /** It watches from now on, whenever somebody reads it. */
  watch(keys: KeySelection, options: WatchOptions = {}): KvWatch {
    return new ClientWatch(this.#calls, keys, options);
  }

  async lease(options: LeaseOptions = {}): Promise<KvLease> {
    const { ttlMs: wanted = leaseTtlMsDefault, id: wantedId, keepAlive = true } = options;
    const request = {
      ttl: toWire(Math.ceil(wanted / 1000), "ttlMs"),
      id: toWire(wantedId, "id"),
    };
    let askedMs = 0;
    const { id, ttl } = await this.#sessions.write(options, (endpoint, own, session) => {
      askedMs = this.#calls.clock.monotonicMs();
      return endpoint.lease.leaseGrant({ ...request, session }, own);
    });
    return this.#leases.hold(
      Number(id),
      Number(ttl) * 1000,
      askedMs,
      keepAlive,
      (lease, how) => this.revokeLease(lease, how),
    );
  }

  /** Ids of all leases. */
  async leases(options: KvCallOptions = {}): Promise<number[]> {
    const { leases } = await this.#read(
      options,
      (endpoint, own) => endpoint.lease.leaseLeases({}, own),
    );
    return leases.map(({ id }) => Number(id));
  }

  async leaseStatus(
    id: number,
    options: KvCallOptions & { readonly keys?: boolean } = {},
  ): Promise<KvLeaseStatus> {
    const request = { id: toWire(id, "id"), keys: options.keys ?? false };
    const response = await this.#read(
      options,
      (endpoint, own) => endpoint.lease.leaseTimeToLive(request, own),
    );
    const header = headerOf(response.header);
    const ttl = Number(response.ttl);
    return {
      revision: header.revision,
      header,
      id,
      remainingMs: ttl < 0 ? undefined : ttl * 1000,
      ttlMs: Number(response.grantedTtl) * 1000,
      keys: response.keys,
    };
  }

  /** Renews a lease once; the new time to live in milliseconds, undefined when it is over. */
  async renewLease(id: number, options: KvCallOptions = {}): Promise<number | undefined> {
    const ttl = await this.#read(options, async (endpoint, own) => {
      const requests = new Requests<{ readonly id: bigint }>();
      requests.push({ id: toWire(id, "id") });
      try {
        for await (const response of endpoint.lease.leaseKeepAlive(requests, own)) {
          return Number(response.ttl);
        }
      } finally {
        requests.end();
      }
      throw new CoveyError(Code.unavailable, "the node ended the renewal without an answer");
    });
    return ttl > 0 ? ttl * 1000 : undefined;
  }

  /** Ends a lease and deletes its keys. */
  async revokeLease(id: number, options: KvCallOptions = {}): Promise<KvHeader> {
    const request = { id: toWire(id, "id") };
    return await this.#headerOf(this.#sessions.write(
      options,
      (endpoint, own, session) => endpoint.lease.leaseRevoke({ ...request, session }, own),
    ));
  }

  /** Waits for the lock. */
  lock(name: KeyInput, options: LockOptions = {}): Promise<KvLock> {
    return takeLock(this.#elections, name, options);
  }

  /** Gives a lock back by its key, for whoever has nothing else. */
  async unlock(key: Uint8Array, options: KvCallOptions = {}): Promise<KvHeader> {
    return (await this.delete(key, options)).header;
  }

  election(name: KeyInput): KvElection {
    return new ClientElection(this.#elections, name);
  }

  /** Of the node that answers. */
  async status(options: KvCallOptions = {}): Promise<KvStatus> {
    const response = await this.#read(
      options,
      (endpoint, own) => endpoint.maintenance.status({}, own),
    );
    return {
      header: headerOf(response.header),
      version: response.version,
      bytes: Number(response.dbSize),
      bytesMax: Number(response.dbQuota),
      historyBytes: Number(response.historySize),
      leader: Number(response.leader),
      raftIndex: Number(response.raftIndex),
      appliedIndex: Number(response.raftAppliedIndex),
      keys: Number(response.keys),
      leases: Number(response.leases),
      sessions: Number(response.sessions),
      watches: Number(response.watches),
      compactRevision: Number(response.compactRevision),
      memoryBytes: Number(response.memorySize),
      errors: response.errors,
      limits: limitsOf(response.limits),
    };
  }

  /** Of the state of the node that answers; the same everywhere at the same applied index. */
  async hash(options: KvCallOptions = {}): Promise<KvHash> {
    const response = await this.#read(
      options,
      (endpoint, own) => endpoint.maintenance.hash({}, own),
    );
    const { hash, appliedIndex } = response;
    return { header: headerOf(response.header), hash, appliedIndex: Number(appliedIndex) };
  }

  /**
   * The whole store of the node that answers, in pieces; the generator's result says what it holds.
   * It is not tried again: another node's bytes would not fit to what was read.
   */
  async *snapshot(
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<Uint8Array, KvSnapshotEnd> {
    const signal = this.#calls.untilClosed(options.signal);
    let bytes = 0;
    for await (const piece of this.#calls.endpoint.maintenance.snapshot({}, { signal })) {
      bytes += piece.blob.length;
      yield piece.blob;
      if (piece.header !== undefined) {
        return { index: Number(piece.index), term: Number(piece.term), bytes };
      }
    }
    throw new CoveyError(Code.dataLoss, "the snapshot ended before it was whole: take another one");
  }

  async setLimits(limits: KvLimitsChange, options: KvCallOptions = {}): Promise<KvHeader> {
    const request = {
      requestBytesMax: toWire(limits.requestBytesMax, "requestBytesMax"),
      keyBytesMax: toWire(limits.keyBytesMax, "keyBytesMax"),
      operationsMax: toWire(limits.operationsMax, "operationsMax"),
      databaseBytesMax: toWire(limits.databaseBytesMax, "databaseBytesMax"),
      leasesMax: toWire(limits.leasesMax, "leasesMax"),
      leaseTtlMillisMin: toWire(limits.leaseTtlMsMin, "leaseTtlMsMin"),
      leaseTtlMillisMax: toWire(limits.leaseTtlMsMax, "leaseTtlMsMax"),
      sessionsMax: toWire(limits.sessionsMax, "sessionsMax"),
      sessionResultsMax: toWire(limits.sessionResultsMax, "sessionResultsMax"),
      sessionBytesMax: toWire(limits.sessionBytesMax, "sessionBytesMax"),
      sessionResultBytesMax: toWire(limits.sessionResultBytesMax, "sessionResultBytesMax"),
      resultBytesMax: toWire(limits.resultBytesMax, "resultBytesMax"),
      scanKeysMax: toWire(limits.scanKeysMax, "scanKeysMax"),
    };
    return await this.#headerOf(this.#sessions.write(
      options,
      (endpoint, own, session) => endpoint.maintenance.setLimits({ ...request, session }, own),
    ));
  }

  /** Ends watches, renewals and what waits, and closes the session. Channels are their owner's. */
  async close(): Promise<void> {
    this.#leases.close();
    const closed = this.#calls.closing.aborted;
    this.#calls.close();
    if (!closed) await this.#sessions.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #elections() {
    return {
      calls: this.#calls,
      lease: (options: LeaseOptions) => this.lease(options),
      watch: (key: Uint8Array, options: WatchOptions) => this.watch(key, options),
      range: (key: Uint8Array, options: KvCallOptions) => this.range(key, options),
      transact: (transaction: KvTransaction, options?: KvCallOptions) =>
        this.transact(transaction, options),
    };
  }

  /** What may be done any number of times. */
  #read<T>(
    options: KvCallOptions,
    attempt: (endpoint: KvEndpoint, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    return this.#calls.run(options, { repeat: "always" }, attempt);
  }

  async #headerOf(answer: Promise<{ readonly header?: ResponseHeader }>): Promise<KvHeader> {
    return headerOf((await answer).header);
  }
}
