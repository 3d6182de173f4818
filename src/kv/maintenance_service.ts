/** covey.kv.v1.Maintenance: for operators, of the node that is asked. */
import type {
  Limits,
  Maintenance,
  SetLimitsRequest,
  SnapshotResponseSchema,
} from "../gen/covey/kv/v1/kv_pb.ts";
import { SetLimitsRequestSchema } from "../gen/covey/kv/v1/kv_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import type { Handlers } from "../ttrpc/service.ts";
import { failed, type KvParts, within } from "./kv_parts.ts";
import { invalid } from "./refusal.ts";
import { type KvLimits, limitsLeast } from "./core/limits.ts";
import type { Snapshots } from "./snapshots.ts";
import { toNumber, toSession } from "./request.ts";
import { Xxh64 } from "../base/xxh64.ts";

type SnapshotInit = MessageInitShape<typeof SnapshotResponseSchema>;

/** Bulk travels in pieces of this size. */
const pieceBytes = 64 * 1024;

export function maintenanceHandlers(
  parts: KvParts,
  snapshots: Snapshots,
): Handlers<typeof Maintenance> {
  const { commands, counters, headers, hub, machine, slices } = parts;

  async function* snapshot(): AsyncGenerator<SnapshotInit> {
    const open = await snapshots.open();
    counters.snapshots++;
    try {
      let blob = open.next(pieceBytes);
      while (blob !== undefined) {
        await slices.turn();
        const next = open.next(pieceBytes);
        counters.snapshotBytes += blob.length;
        if (next === undefined) {
          const index = BigInt(open.index), term = BigInt(open.term);
          yield { header: headers.of(open.revision), blob, index, term };
        } else yield { blob };
        blob = next;
      }
    } finally {
      open.close();
    }
  }

  return {
    status: () => {
      const statistics = machine.statistics();
      parts.assertServing();
      const { committed, leader, stopped } = parts.attached;
      const errors: string[] = [];
      if (parts.health.isFull) errors.push("NOSPACE");
      if (machine.restoring) errors.push("RESTORING");
      if (stopped !== undefined) errors.push(`stopped: ${stopped.rawMessage}`);
      else if (leader === undefined) errors.push("no leader");
      return {
        header: headers.of(machine.revision),
        version: parts.version,
        dbSize: BigInt(statistics.bytes),
        dbQuota: BigInt(statistics.bytesMax),
        historySize: BigInt(statistics.historyBytes),
        leader: BigInt(leader?.replica ?? 0),
        raftIndex: BigInt(committed),
        raftAppliedIndex: BigInt(machine.appliedIndex),
        keys: BigInt(statistics.keys),
        leases: BigInt(statistics.leases),
        sessions: BigInt(statistics.sessions),
        watches: BigInt(hub.counters.watches),
        compactRevision: BigInt(statistics.compactRevision),
        memorySize: BigInt(statistics.memoryBytes),
        errors,
        limits: limitsInit(machine.limits),
      };
    },
    hash: async () => {
      const open = await snapshots.open();
      try {
        const hash = new Xxh64();
        await slices.run(() => {
          const piece = open.next(pieceBytes);
          if (piece === undefined) return hash;
          hash.update(piece);
          return undefined;
        });
        return {
          header: headers.of(open.revision),
          hash: hash.digestHex(),
          appliedIndex: BigInt(open.index),
        };
      } finally {
        open.close();
      }
    },
    snapshot,
    setLimits: async (request, context) => {
      const limits = limitsOf(request);
      const session = toSession(request.session);
      if (limits.leaseTtlMsMin !== undefined || limits.leaseTtlMsMax !== undefined) {
        await parts.group.barrier(within(context)).catch(failed);
        assertOrdered({ ...machine.limits, ...limits });
      }
      return await commands.propose({ kind: "configure", limits }, session, within(context))
        .then((result) => {
          parts.logger.info("the store's limits were changed by an operator", { ...limits });
          return { header: headers.of(commands.expect(result, "done").revision) };
        }, failed);
    },
  };
}

/** By the limit's own name; the generated names differ where a unit is spelled out. */
const fieldOf: Readonly<Record<keyof KvLimits, Exclude<keyof Limits, `$${string}`>>> = {
  requestBytesMax: "requestBytesMax",
  keyBytesMax: "keyBytesMax",
  operationsMax: "operationsMax",
  databaseBytesMax: "databaseBytesMax",
  leasesMax: "leasesMax",
  leaseTtlMsMin: "leaseTtlMillisMin",
  leaseTtlMsMax: "leaseTtlMillisMax",
  sessionsMax: "sessionsMax",
  sessionResultsMax: "sessionResultsMax",
  sessionBytesMax: "sessionBytesMax",
  sessionResultBytesMax: "sessionResultBytesMax",
  resultBytesMax: "resultBytesMax",
  scanKeysMax: "scanKeysMax",
};

function limitsOf(request: SetLimitsRequest): Partial<KvLimits> {
  const limits: { -readonly [name in keyof KvLimits]?: number } = {};
  for (const name of Object.keys(fieldOf) as (keyof KvLimits)[]) {
    const field = SetLimitsRequestSchema.field[fieldOf[name]].name;
    const value = toNumber(request[fieldOf[name]], field);
    if (value === 0) continue;
    if (value < limitsLeast[name]) {
      throw invalid(`${field} is ${value}: it must be at least ${limitsLeast[name]}`);
    }
    limits[name] = value;
  }
  if (Object.keys(limits).length === 0) throw invalid("no limit is named: give at least one");
  return limits;
}

/** Of what holds after the change. */
function assertOrdered({ leaseTtlMsMin, leaseTtlMsMax }: KvLimits): void {
  if (leaseTtlMsMin <= leaseTtlMsMax) return;
  throw invalid(
    `lease_ttl_millis_min would be ${leaseTtlMsMin} and lease_ttl_millis_max ${leaseTtlMsMax}: the ` +
      "least must not be above the most",
  );
}

function limitsInit(limits: KvLimits): Partial<Record<(typeof fieldOf)[keyof KvLimits], bigint>> {
  const names = Object.keys(fieldOf) as (keyof KvLimits)[];
  return Object.fromEntries(names.map((name) => [fieldOf[name], BigInt(limits[name])]));
}
