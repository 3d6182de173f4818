/** What a {@link KvClient} is asked and answers. Keys and values go in as text or bytes. */
import { decodeText } from "../base/bytes.ts";

/** Text is UTF-8. */
export type KeyInput = string | Uint8Array;

/**
 * Which keys: one; all with a prefix (`""` means every key); or from one on, up to but without
 * another.
 */
export type KeySelection =
  | KeyInput
  | { readonly prefix: KeyInput }
  | { readonly from: KeyInput; readonly to?: KeyInput };

/** What every call takes. */
export interface KvCallOptions {
  /** Milliseconds for the whole call, retries included; 0 for none at all. Default: the client's. */
  readonly timeoutMs?: number;
  /** Ends the call with `canceled`. A write may have happened all the same. */
  readonly signal?: AbortSignal;
}

/** Comes with every answer. */
export interface KvHeader {
  /** 128 bits in lower-case hexadecimal. */
  readonly clusterId: string;
  /** Of the replica that answered; 0 where the node has none. */
  readonly replica: number;
  /** The store's revision when the answer was made. */
  readonly revision: number;
  readonly term: number;
}

/** One key as it was at some revision. */
export class KvEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Of the put that created it. */
  readonly createRevision: number;
  /** Of its last change. */
  readonly modRevision: number;
  /** Counts the puts since the key was created, from 1; 0 for a deleted key. */
  readonly version: number;
  /** The lease that it hangs on; 0 for none. */
  readonly lease: number;

  constructor(fields: KvEntryFields) {
    this.key = fields.key;
    this.value = fields.value;
    this.createRevision = fields.createRevision;
    this.modRevision = fields.modRevision;
    this.version = fields.version;
    this.lease = fields.lease;
  }

  /** The key as text; undefined when it is not UTF-8. */
  get keyText(): string | undefined {
    return decodeText(this.key);
  }

  /** The value as text; undefined when it is not UTF-8. */
  get text(): string | undefined {
    return decodeText(this.value);
  }
}

export type KvEntryFields = Pick<
  KvEntry,
  "key" | "value" | "createRevision" | "modRevision" | "version" | "lease"
>;

export type KvSortOrder = "ascend" | "descend";
export type KvSortTarget = "key" | "version" | "create" | "mod" | "value";

export interface RangeFields {
  /** The most entries; 0, the default, for no bound but the message's size. */
  readonly limit?: number;
  /** As of this revision; 0, the default, for the newest. */
  readonly revision?: number;
  /** Without an order, `sortBy` sorts ascending. */
  readonly order?: KvSortOrder;
  readonly sortBy?: KvSortTarget;
  /** Leave the values out. */
  readonly keysOnly?: boolean;
  /** Leave the entries out. */
  readonly countOnly?: boolean;
  readonly minModRevision?: number;
  readonly maxModRevision?: number;
  readonly minCreateRevision?: number;
  readonly maxCreateRevision?: number;
}

export interface RangeOptions extends RangeFields, KvCallOptions {
  /**
   * Take the asked node's own state, which may be old. Otherwise nothing that was acknowledged
   * before the call is missing.
   */
  readonly serializable?: boolean;
}

export interface KvRange {
  readonly revision: number;
  readonly header: KvHeader;
  readonly entries: readonly KvEntry[];
  /** The limit left some out. */
  readonly more: boolean;
  /** Keys in the selection, whatever the limit and the revision bounds say. */
  readonly count: number;
}

export interface PutFields {
  /** The lease that the key is to hang on; default none. */
  readonly lease?: number;
  /** Answer with what was there. */
  readonly previous?: boolean;
  /** Keep the lease that is there; the key must exist. */
  readonly keepLease?: boolean;
}

export interface PutOptions extends PutFields, KvCallOptions {}

export interface KvPut {
  readonly revision: number;
  readonly header: KvHeader;
  /** What was there, when it was asked for and there was something. */
  readonly previous: KvEntry | undefined;
}

export interface DeleteFields {
  /** Answer with what was there. */
  readonly previous?: boolean;
}

export interface DeleteOptions extends DeleteFields, KvCallOptions {}

export interface KvDelete {
  readonly revision: number;
  readonly header: KvHeader;
  readonly deleted: number;
  readonly previous: readonly KvEntry[];
}

export type KvCompareOperator = "=" | "!=" | "<" | ">";

/** What is compared, with what. A missing key has zeros, and no value. */
export type KvCompare =
  & { readonly keys: KeySelection; readonly is?: KvCompareOperator }
  & (
    | { readonly version: number }
    | { readonly createRevision: number }
    | { readonly modRevision: number }
    | { readonly lease: number }
    | { readonly value: KeyInput }
  );

/** `value: undefined` keeps the value that is there. */
export type KvOperation =
  | ({ readonly put: KeyInput; readonly value: KeyInput | undefined } & PutFields)
  | ({ readonly delete: KeySelection } & DeleteFields)
  | ({ readonly range: KeySelection } & RangeFields)
  | { readonly transaction: KvTransaction };

/** If every comparison holds, the first list of operations, else the second; in one revision. */
export interface KvTransaction {
  readonly compare?: readonly KvCompare[];
  readonly success?: readonly KvOperation[];
  readonly failure?: readonly KvOperation[];
}

export type KvOperationResult =
  | { readonly kind: "put"; readonly previous: KvEntry | undefined }
  | {
    readonly kind: "delete";
    readonly deleted: number;
    readonly previous: readonly KvEntry[];
  }
  | {
    readonly kind: "range";
    readonly entries: readonly KvEntry[];
    readonly more: boolean;
    readonly count: number;
  }
  | {
    readonly kind: "transaction";
    readonly succeeded: boolean;
    readonly results: readonly KvOperationResult[];
  };

export interface KvTransactionResult {
  readonly revision: number;
  readonly header: KvHeader;
  /** Every comparison held. */
  readonly succeeded: boolean;
  /** Of the operations that ran, in their order. */
  readonly results: readonly KvOperationResult[];
}

export interface WatchOptions {
  readonly signal?: AbortSignal;
  /** The first revision to tell of; default: the next one. */
  readonly from?: number;
  /** With what was there before, where it is not compacted. */
  readonly previous?: boolean;
  readonly withoutPuts?: boolean;
  readonly withoutDeletes?: boolean;
  /** Also yield now and then up to where there was nothing to tell. */
  readonly progress?: boolean;
}

export type KvWatchEvent =
  | {
    readonly type: "put" | "delete";
    readonly revision: number;
    /** Of a deleted key, only the key and the revision. */
    readonly entry: KvEntry;
    readonly previous: KvEntry | undefined;
  }
  /** Nothing up to this revision is still to come; only where it was asked for. */
  | { readonly type: "progress"; readonly revision: number };

/**
 * A watch: goes on by itself after the loss of a node or a stream, every event once and in order.
 * Ends with a {@link CompactedError} when what comes next is compacted.
 */
export interface KvWatch extends AsyncIterableIterator<KvWatchEvent>, AsyncDisposable {
  /** Resolves once a node watches: what changes from then on is told. Rejects when none will. */
  readonly ready: Promise<void>;
  /** Everything up to this revision was yielded; 0 while that is not known. */
  readonly revision: number;
  /** Ends the watch: the iterator is done. */
  close(): void;
}

export interface LeaseOptions extends KvCallOptions {
  /** How long the lease lives without a sign of life, in whole seconds. Default 60 s. */
  readonly ttlMs?: number;
  /** Default: the store chooses. */
  readonly id?: number;
  /** Renew it until it is closed. Default true. */
  readonly keepAlive?: boolean;
}

/**
 * A granted lease, renewed until it is closed. `await using` revokes it at the end of the block,
 * and with it every key that hangs on it.
 */
export interface KvLease extends AsyncDisposable {
  readonly id: number;
  /** As granted: never below the store's limit. */
  readonly ttlMs: number;
  /** Fires when the lease is over, or may be because no node could be reached for its whole time. */
  readonly signal: AbortSignal;
  /** Stops renewing; the lease ends by itself. */
  release(): void;
  /** Stops renewing and ends the lease with its keys. */
  revoke(options?: KvCallOptions): Promise<void>;
}

export interface KvLeaseStatus {
  readonly revision: number;
  readonly header: KvHeader;
  readonly id: number;
  /** Milliseconds left, in whole seconds; undefined when there is no such lease. */
  readonly remainingMs: number | undefined;
  readonly ttlMs: number;
  readonly keys: readonly Uint8Array[];
}

export interface LockOptions extends KvCallOptions {
  /** Milliseconds to wait for the lock; default: for ever. */
  readonly timeoutMs?: number;
  /** The lease that holds the lock; default: one of its own, which ends with it. */
  readonly lease?: number;
  /** Of its own lease. Default 60 s. */
  readonly ttlMs?: number;
}

/** A lock that is held, as long as its lease lives. */
export interface KvLock extends AsyncDisposable {
  readonly key: Uint8Array;
  readonly lease: number;
  /**
   * Fires when its own lease is over, or may be because no node could be reached. With a lease of
   * the caller's, when its key is gone: what nobody could be asked about only that lease's own
   * signal tells.
   */
  readonly signal: AbortSignal;
  /** To be put into the transactions of whoever holds the lock: true as long as it is held. */
  readonly held: KvCompare;
  unlock(options?: KvCallOptions): Promise<void>;
}

export interface CampaignOptions extends LockOptions {}

/** An election that was won, as long as its lease lives. */
export interface KvLeadership extends AsyncDisposable {
  readonly key: Uint8Array;
  /** The key's create revision: higher with each who is elected. */
  readonly revision: number;
  readonly lease: number;
  /** As that of a {@link KvLock}. */
  readonly signal: AbortSignal;
  readonly held: KvCompare;
  /** Changes the value that the others see. */
  proclaim(value: KeyInput, options?: KvCallOptions): Promise<void>;
  resign(options?: KvCallOptions): Promise<void>;
}

/** An election by its name. */
export interface KvElection {
  /** Waits until it is won. */
  campaign(value: KeyInput, options?: CampaignOptions): Promise<KvLeadership>;
  /** Who is elected, its value being what it proclaimed; undefined when nobody is. */
  leader(options?: KvCallOptions): Promise<KvEntry | undefined>;
  /** Who is elected, each who follows, and what they proclaim. Goes on by itself after a loss. */
  observe(options?: { readonly signal?: AbortSignal }): AsyncIterableIterator<KvEntry>;
}

export interface KvStatus {
  readonly header: KvHeader;
  readonly version: string;
  /** What counts towards the quota, the quota, and how much a compaction could free. */
  readonly bytes: number;
  readonly bytesMax: number;
  readonly historyBytes: number;
  /** The replica that leads; 0 for none. */
  readonly leader: number;
  readonly raftIndex: number;
  readonly appliedIndex: number;
  readonly keys: number;
  readonly leases: number;
  readonly sessions: number;
  readonly watches: number;
  readonly compactRevision: number;
  /** What keys and values take in memory. */
  readonly memoryBytes: number;
  /** What is wrong: "NOSPACE", "RESTORING", "no leader", "stopped: " and why. */
  readonly errors: readonly string[];
  /** In force. */
  readonly limits: Required<KvLimitsChange>;
}

export interface KvHash {
  readonly header: KvHeader;
  readonly hash: string;
  readonly appliedIndex: number;
}

/** What a snapshot holds. */
export interface KvSnapshotEnd {
  readonly index: number;
  readonly term: number;
  readonly bytes: number;
}

/** The replicated limits that are to be changed; see docs/reference/kv.md. */
export interface KvLimitsChange {
  readonly requestBytesMax?: number;
  readonly keyBytesMax?: number;
  readonly operationsMax?: number;
  readonly databaseBytesMax?: number;
  readonly leasesMax?: number;
  readonly leaseTtlMsMin?: number;
  readonly leaseTtlMsMax?: number;
  readonly sessionsMax?: number;
  readonly sessionResultsMax?: number;
  readonly sessionBytesMax?: number;
  readonly sessionResultBytesMax?: number;
  readonly resultBytesMax?: number;
  readonly scanKeysMax?: number;
}
