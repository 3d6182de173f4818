/** The store's status as JSON. */
import type { StatusResponse } from "../../gen/covey/kv/v1/kv_pb.ts";

export function kvStatusObject(status: StatusResponse): Record<string, unknown> {
  return {
    clusterId: status.header?.clusterId ?? "",
    replica: Number(status.header?.memberId ?? 0),
    revision: Number(status.header?.revision ?? 0),
    term: Number(status.header?.raftTerm ?? 0),
    version: status.version,
    bytes: Number(status.dbSize),
    bytesMax: Number(status.dbQuota),
    historyBytes: Number(status.historySize),
    memoryBytes: Number(status.memorySize),
    leader: Number(status.leader),
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
