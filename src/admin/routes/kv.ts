/** `/v1/kv` and below: the store's requests as plain JSON. */
import {
  KV,
  Lease,
  Maintenance,
  RangeRequest_SortOrder as SortOrder,
  RangeRequest_SortTarget as SortTarget,
} from "../../gen/covey/kv/v1/kv_pb.ts";
import type { Gate, Visit } from "../gate.ts";
import { type BodyLimits, noParameters, readJson, readQuery } from "../input.ts";
import {
  deleteQuery,
  limitOf,
  neededBytes,
  putBody,
  rangeQuery,
  readSelection,
} from "../kv_input.ts";
import { entryReport, rangeReport } from "../kv_report.ts";
import { kvReport } from "../../report/kv.ts";
import { jsonReply } from "../reply.ts";
import type { Reply } from "../schema.ts";
import type { ServiceCaller } from "../service_call.ts";

const orders = { ascend: SortOrder.ASCEND, descend: SortOrder.DESCEND } as const;
const targets = {
  key: SortTarget.KEY,
  version: SortTarget.VERSION,
  create: SortTarget.CREATE,
  mod: SortTarget.MOD,
  value: SortTarget.VALUE,
} as const;

export function kvRoutes(gate: Gate, caller: ServiceCaller, limits: BodyLimits): void {
  gate.serve("GET /v1/kv", async (visit) => {
    readQuery(visit.url, noParameters);
    return jsonReply(kvReport(await caller.unary(visit, Maintenance.method.status, {})), 200);
  });
  gate.serve("GET /v1/kv/range", (visit) => range(visit, caller));
  gate.serve("PUT /v1/kv/key", (visit) => put(visit, caller, limits));
  gate.serve("DELETE /v1/kv/key", (visit) => remove(visit, caller));
  gate.serve("GET /v1/kv/leases", async (visit) => {
    readQuery(visit.url, noParameters);
    const { header, leases } = await caller.unary(visit, Lease.method.leaseLeases, {});
    return jsonReply({
      revision: Number(header?.revision ?? 0),
      leases: leases.map(({ id }) => ({ id: Number(id) })),
    }, 200);
  });
}

async function range(visit: Visit, caller: ServiceCaller): Promise<Reply<"GET /v1/kv/range">> {
  const input = readQuery(visit.url, rangeQuery);
  const { order, sortBy, keysOnly = false } = input;
  const answer = await caller.unary(visit, KV.method.range, {
    ...readSelection(input),
    limit: limitOf(input.limit),
    revision: BigInt(input.revision ?? 0),
    sortOrder: order !== undefined
      ? orders[order]
      : sortBy === undefined
      ? SortOrder.NONE
      : SortOrder.ASCEND,
    sortTarget: targets[sortBy ?? "key"],
    keysOnly,
    countOnly: input.countOnly,
    serializable: input.serializable,
  });
  return jsonReply(rangeReport(answer, keysOnly), 200);
}

async function put(
  visit: Visit,
  caller: ServiceCaller,
  limits: BodyLimits,
): Promise<Reply<"PUT /v1/kv/key">> {
  const input = await readJson(visit, limits, putBody);
  const { header, prevKv } = await caller.unary(visit, KV.method.put, {
    key: neededBytes(input, "key").slice(),
    value: neededBytes(input, "value").slice(),
    lease: BigInt(input.lease ?? 0),
    ignoreLease: input.keepLease,
    prevKv: input.previous,
  });
  return jsonReply({
    revision: Number(header?.revision ?? 0),
    ...(prevKv === undefined ? {} : { previous: entryReport(prevKv) }),
  }, 200);
}

async function remove(
  visit: Visit,
  caller: ServiceCaller,
): Promise<Reply<"DELETE /v1/kv/key">> {
  const input = readQuery(visit.url, deleteQuery);
  const { header, deleted, prevKvs } = await caller.unary(visit, KV.method.deleteRange, {
    key: neededBytes(input, "key").slice(),
    prevKv: input.previous,
  });
  return jsonReply({
    revision: Number(header?.revision ?? 0),
    deleted: Number(deleted),
    ...(prevKvs.length === 0 ? {} : { previous: entryReport(prevKvs[0]) }),
  }, 200);
}
