/** covey.kv.v1.Lease: granting and ending through the log, times from whoever leads. */
import type {
  Lease,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponseSchema,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponseSchema,
} from "../gen/covey/kv/v1/kv_pb.ts";
import { Lease as LeaseService } from "../gen/covey/kv/v1/kv_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import type { CallContext, Handlers } from "../ttrpc/service.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { Code, CoveyError } from "../base/error.ts";
import { createClient } from "../ttrpc/client.ts";
import { failed, type KvParts, within } from "./kv_parts.ts";
import { forwardedMetadata } from "./lease_forwarder.ts";
import type { RequestOptions } from "./group.ts";
import { forwardedKey } from "./metadata_keys.ts";
import { payloadBytesMax } from "./options.ts";
import { pipelined } from "./pipeline.ts";
import { refused, unavailable } from "./refusal.ts";
import { toNumber, toSession } from "./request.ts";

type KeepAliveInit = MessageInitShape<typeof LeaseKeepAliveResponseSchema>;
type TimeToLiveInit = MessageInitShape<typeof LeaseTimeToLiveResponseSchema>;

/** How long one renewal may take where the call has no deadline, as streams have. */
const renewMs = 5_000;
/** Renewals of one stream that are worked on at the same time. */
const renewalsMax = 1_024;
/** Keys of a lease that are read at once: a fraction of a millisecond. */
const keysPerStep = 256;
/** Leaders that are asked in turn, while they change. */
const leadersMax = 4;

export function leaseHandlers(parts: KvParts): Handlers<typeof Lease> {
  const { commands, counters, headers, machine } = parts;

  const renewHere = async (id: number, options: RequestOptions): Promise<KeepAliveInit> => {
    const ttlMs = await parts.leases.renew(id, options).catch(failed);
    return { header: headers.of(machine.revision), id: BigInt(id), ttl: seconds(ttlMs ?? 0) };
  };

  /** At the leader, wherever it is; a call that was forwarded once stays where it is. */
  const renew = async (id: number, forwarded: boolean): Promise<KeepAliveInit> => {
    const untilMs = parts.clock.monotonicMs() + renewMs;
    for (let left = leadersMax;; left--) {
      const options = { timeoutMs: Math.max(1, untilMs - parts.clock.monotonicMs()) };
      if (parts.leases.leading) return await renewHere(id, options);
      if (forwarded) throw notLeading();
      try {
        const channel = await parts.group.leaderChannel(options).catch(failed);
        if (channel === "self") return await renewHere(id, options);
        counters.renewalsForwarded++;
        return await parts.forwarder.renew(channel, id);
      } catch (error) {
        const { code } = CoveyError.from(error);
        if (code !== Code.unavailable || left === 1) throw error;
        if (parts.clock.monotonicMs() >= untilMs) throw error;
      }
    }
  };

  const keepAlive = (
    requests: AsyncIterable<LeaseKeepAliveRequest>,
    context: CallContext,
  ): AsyncIterable<KeepAliveInit> => {
    const forwarded = isForwarded(context);
    const notThere = (id: bigint): KeepAliveInit => {
      parts.assertRunning();
      return { header: headers.of(machine.revision), id, ttl: 0n };
    };
    // Each waits for the leader to be sure of itself: together they wait once.
    return pipelined(
      requests,
      { most: renewalsMax, signal: parts.stopping },
      // The other leases on the stream are none of its business.
      async ({ id }) => isLeaseId(id) ? await renew(Number(id), forwarded) : notThere(id),
    );
  };

  const confirmed = (context: CallContext): Promise<void> =>
    parts.group.barrier(within(context)).catch(failed);

  const timeToLive = async (
    request: LeaseTimeToLiveRequest,
    context: CallContext,
  ): Promise<TimeToLiveInit> => {
    const id = toNumber(request.id, "id");
    if (!parts.leases.leading) {
      if (isForwarded(context)) throw notLeading();
      const channel = await parts.group.leaderChannel(within(context)).catch(failed);
      if (channel !== "self") return await forwardTimeToLive(channel, request, context);
    }
    // The tables show an entry that is half applied; a barrier that begins meanwhile ends behind it.
    do await confirmed(context); while (machine.applying);
    const header = headers.of(machine.revision);
    const lease = machine.lease(id);
    if (lease === undefined) return { header, id: BigInt(id), ttl: -1n };
    const remainingMs = parts.leases.remainingMs(id);
    const keys = request.keys ? await keysOf(id) : [];
    if (!parts.leases.leading) throw notLeading();
    return {
      header,
      id: BigInt(id),
      ttl: seconds(remainingMs),
      grantedTtl: seconds(lease.ttlMs),
      keys,
    };
  };

  const keysOf = async (id: number): Promise<Uint8Array[]> => {
    const bytesMax = payloadBytesMax(parts.settings);
    const scan = machine.leaseKeys(id, bytesMax);
    try {
      return await parts.slices.run(() => {
        const keys = scan.step(keysPerStep);
        if (keys === "too_large") throw keysTooLarge(bytesMax);
        return keys;
      });
    } finally {
      scan.close();
    }
  };

  return {
    leaseGrant: (request, context) => {
      // Above the limit whatever that is, and perhaps above what can be written.
      const ttlMs = Number(request.ttl) * 1000;
      if (ttlMs > Number.MAX_SAFE_INTEGER) {
        throw refused(commands.failure("lease_ttl_invalid"), machine.limits);
      }
      toNumber(request.ttl, "ttl");
      const id = toNumber(request.id, "id");
      const session = toSession(request.session);
      return commands.propose({ kind: "leaseGrant", id, ttlMs }, session, within(context))
        .then((result) => {
          const granted = commands.expect(result, "leaseGrant");
          counters.leasesGranted++;
          return {
            header: headers.of(granted.revision),
            id: BigInt(granted.id),
            ttl: seconds(granted.ttlMs),
          };
        }, failed);
    },
    leaseRevoke: (request, context) => {
      const id = toNumber(request.id, "id");
      const session = toSession(request.session);
      return commands.propose({ kind: "leaseRevoke", id }, session, within(context))
        .then((result) => {
          counters.leasesRevoked++;
          return { header: headers.of(commands.expect(result, "leaseRevoke").revision) };
        }, failed);
    },
    leaseKeepAlive: keepAlive,
    leaseTimeToLive: timeToLive,
    leaseLeases: async (_request, context) => {
      do await confirmed(context); while (machine.applying);
      parts.reads.assertReadable();
      const leases = machine.leases().map(({ id }) => ({ id: BigInt(id) }));
      return { header: headers.of(machine.revision), leases };
    },
  };
}

async function forwardTimeToLive(
  channel: Channel,
  request: LeaseTimeToLiveRequest,
  context: CallContext,
): Promise<TimeToLiveInit> {
  const client = createClient(LeaseService, channel);
  return await client.leaseTimeToLive(request, {
    timeoutMs: context.timeoutMs ?? renewMs,
    metadata: forwardedMetadata,
  });
}

/** Whether a lease can have it. */
function isLeaseId(id: bigint): boolean {
  return id >= 0n && id <= BigInt(Number.MAX_SAFE_INTEGER);
}

function isForwarded(context: CallContext): boolean {
  return context.metadata.get(forwardedKey) !== undefined;
}

function notLeading(): CoveyError {
  return unavailable("this node does not lead any more: ask again, and it asks the leader");
}

function keysTooLarge(bytesMax: number): CoveyError {
  return new CoveyError(
    Code.resourceExhausted,
    `the keys of the lease are more than a message may hold (${bytesMax} bytes): ask without keys`,
  );
}

/** Whole seconds, never more than there are; a lease that lives has at least one. */
function seconds(ms: number): bigint {
  if (ms <= 0) return 0n;
  return BigInt(Math.max(1, Math.floor(ms / 1000)));
}
