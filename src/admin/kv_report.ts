/** Answers of the store's services as JSON, in the words of `covey kv … --json`. */
import {
  type Event,
  Event_Type,
  type KeyValue,
  type RangeResponse,
  type StatusResponse,
} from "../gen/covey/kv/v1/kv_pb.ts";
import { shownBytes } from "./kv_input.ts";
import type { KvChange, KvEntryReport, KvRangeReport, KvReport } from "./kv_schema.ts";

export function kvReport(status: StatusResponse): KvReport {
  const { header } = status;
  return {
    clusterId: header?.clusterId ?? "",
    replica: Number(header?.memberId ?? 0),
    revision: Number(header?.revision ?? 0),
    term: Number(header?.raftTerm ?? 0),
    leader: Number(status.leader),
    version: status.version,
    bytes: Number(status.dbSize),
    bytesMax: Number(status.dbQuota),
    historyBytes: Number(status.historySize),
    memoryBytes: Number(status.memorySize),
    raftIndex: Number(status.raftIndex),
    appliedIndex: Number(status.raftAppliedIndex),
    compactRevision: Number(status.compactRevision),
    keys: Number(status.keys),
    leases: Number(status.leases),
    sessions: Number(status.sessions),
    watches: Number(status.watches),
    errors: status.errors,
  };
}

export function rangeReport(answer: RangeResponse, keysOnly: boolean): KvRangeReport {
  return {
    revision: Number(answer.header?.revision ?? 0),
    count: Number(answer.count),
    more: answer.more,
    entries: answer.kvs.map((entry) => entryReport(entry, keysOnly)),
  };
}

export function entryReport(entry: KeyValue, keysOnly = false): KvEntryReport {
  return {
    ...shownBytes("key", entry.key),
    ...(keysOnly ? {} : shownBytes("value", entry.value)),
    createRevision: Number(entry.createRevision),
    modRevision: Number(entry.modRevision),
    version: Number(entry.version),
    lease: Number(entry.lease),
  };
}

export function changeReport({ type, kv, prevKv }: Event): KvChange {
  const isDelete = type === Event_Type.DELETE;
  return {
    type: isDelete ? "delete" : "put",
    entry: entryReport(kv!, isDelete),
    ...(prevKv === undefined ? {} : { previous: entryReport(prevKv) }),
  };
}
