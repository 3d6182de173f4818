/** Entries, ranges and changes as JSON, in the words of `covey kv … --json`. */
import {
  type Event,
  Event_Type,
  type KeyValue,
  type RangeResponse,
} from "../gen/covey/kv/v1/kv_pb.ts";
import { shownBytes } from "./kv_input.ts";
import type { KvChange, KvEntryReport, KvRangeReport } from "./kv_schema.ts";

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
