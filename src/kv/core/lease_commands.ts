/** Granting leases, and removing them with their keys. */
import type { FailureReason, KvResult } from "./result.ts";
import type { LeaseGrantCommand } from "./command.ts";
import type { Leases } from "./leases.ts";
import { LongRevoke } from "./long_command.ts";
import type { Tables } from "./transaction.ts";

/** Grants the lease, or says why not; `index` is the entry's. */
export function grantLease(
  command: LeaseGrantCommand,
  index: number,
  { store, leases, limits }: Tables,
): KvResult | FailureReason {
  if (command.ttlMs === 0 || command.ttlMs > limits.leaseTtlMsMax) return "lease_ttl_invalid";
  if (leases.has(command.id)) return "lease_exists";
  if (leases.size >= limits.leasesMax) return "too_many_leases";
  if (store.bytes > limits.databaseBytesMax) return "no_space";
  let id = command.id;
  // An entry's index is nobody else's choice, unless a client named that very number before.
  if (id === 0) { for (id = index; leases.has(id);) id++; }
  const ttlMs = Math.max(command.ttlMs, limits.leaseTtlMsMin);
  leases.grant(id, ttlMs);
  return { kind: "leaseGrant", revision: store.revision, id, ttlMs };
}

/** Removes the leases that exist and their keys, in the keys' order and in one revision. */
export function revokeLeases(ids: readonly number[], tables: Tables): LongRevoke {
  const { store, leases } = tables;
  return new LongRevoke(store, addressesOf(ids, leases), () => {
    for (const id of ids) leases.remove(id);
  });
}

function* addressesOf(ids: readonly number[], leases: Leases): Generator<number> {
  for (const id of new Set(ids)) yield* leases.get(id)?.keys ?? [];
}
