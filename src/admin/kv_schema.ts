/**
 * What `/v1/kv` and the paths below it take and answer. Keys and values are bytes: as text under
 * their name (`key`) where they are UTF-8, else in base64 under the name with that behind it
 * (`keyBase64`). Requests may use either.
 */

export type { KvReport } from "../report/kv.ts";

export interface KvEntryReport {
  readonly key?: string;
  readonly keyBase64?: string;
  /** Neither of the two where only keys were asked for. */
  readonly value?: string;
  readonly valueBase64?: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Puts since the key was created. */
  readonly version: number;
  /** 0 for none. */
  readonly lease: number;
}

export interface KvRangeReport {
  readonly revision: number;
  /** Keys in the interval, whatever the limit and the revision bounds say. */
  readonly count: number;
  /** The limit left some out. */
  readonly more: boolean;
  readonly entries: readonly KvEntryReport[];
}

export interface KvPutInput {
  readonly key?: string;
  readonly keyBase64?: string;
  readonly value?: string;
  readonly valueBase64?: string;
  /** The lease that the key is to hang on; without it, none. */
  readonly lease?: number;
  /** Keep the lease that is there; the key must exist. */
  readonly keepLease?: boolean;
  /** Answer with what was there. */
  readonly previous?: boolean;
}

export interface KvPutReport {
  readonly revision: number;
  /** What was there, when it was asked for and there was something. */
  readonly previous?: KvEntryReport;
}

export interface KvDeleteReport {
  readonly revision: number;
  /** 1 when the key was there. */
  readonly deleted: number;
  readonly previous?: KvEntryReport;
}

export interface KvLeasesReport {
  readonly revision: number;
  readonly leases: readonly { readonly id: number }[];
}

/** Which keys: exactly one of key, prefix and from. */
export type KvSelectionQuery = {
  key?: string;
  keyBase64?: string;
  prefix?: string;
  prefixBase64?: string;
  from?: string;
  fromBase64?: string;
  to?: string;
  toBase64?: string;
};

export type KvRangeQuery = KvSelectionQuery & {
  limit?: string;
  revision?: string;
  order?: "ascend" | "descend";
  sortBy?: "key" | "version" | "create" | "mod" | "value";
  keysOnly?: "true" | "false";
  countOnly?: "true" | "false";
  serializable?: "true" | "false";
};

export type KvDeleteQuery = {
  key?: string;
  keyBase64?: string;
  previous?: "true" | "false";
};

export type KvWatchQuery = KvSelectionQuery & {
  fromRevision?: string;
  previous?: "true" | "false";
  withoutPuts?: "true" | "false";
  withoutDeletes?: "true" | "false";
};

/** `data` of the event `change` of `/v1/kv/watch`. */
export interface KvChangeData {
  readonly revision: number;
  readonly events: readonly KvChange[];
  /** More of this revision follows in the next event. */
  readonly more?: true;
}

export interface KvChange {
  readonly type: "put" | "delete";
  /** Of a deleted key, only the key and the mod revision mean anything. */
  readonly entry: KvEntryReport;
  readonly previous?: KvEntryReport;
}
