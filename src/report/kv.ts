/** What the store's status is as JSON, for the route `/v1/kv` and for commands with `--json`. */
import type { StatusResponse } from "../gen/covey/kv/v1/kv_pb.ts";

export interface KvReport {
  readonly clusterId: string;
  /** Of the node that answered. */
  readonly replica: number;
  readonly revision: number;
  readonly term: number;
  /** The replica that leads; 0 for none. */
  readonly leader: number;
  /** covey's version. */
  readonly version: string;
  /** What counts towards the quota, the quota, and how much of it a compaction could free. */
  readonly bytes: number;
  readonly bytesMax: number;
  readonly historyBytes: number;
  /** What keys and values take in memory. */
  readonly memoryBytes: number;
  readonly raftIndex: number;
  readonly appliedIndex: number;
  readonly compactRevision: number;
  readonly keys: number;
  readonly leases: number;
  readonly sessions: number;
  /** On this node. */
  readonly watches: number;
  /** What is wrong: `NOSPACE`, `RESTORING`, `no leader`, `stopped: ` and the reason. */
  readonly errors: readonly string[];
}

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
