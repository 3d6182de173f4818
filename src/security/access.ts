/**
 * Who may do what. Every method that covey itself serves has a row here (a test fails on one
 * without); methods of a user's own services fall under one common rule. Call sites only ever ask
 * {@link authorize}: later policies change this file and no other.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Identity } from "../base/identity.ts";
import type { ServerInterceptor } from "../ttrpc/service.ts";

/** What a call does, and to what. */
export interface AccessRule {
  readonly action: string;
  readonly resource: string;
}

/** By `service/method`. */
export const accessTable: Readonly<Record<string, AccessRule>> = {
  "api.v1.KeyValueService/Get": { action: "kv.read", resource: "kv" },
  "api.v1.KeyValueService/Set": { action: "kv.write", resource: "kv" },
  "api.v1.RaftService/Add": { action: "raft.change", resource: "raft" },
  "api.v1.RaftService/Remove": { action: "raft.change", resource: "raft" },
  "covey.cache.v1.Cache/Get": { action: "cache.read", resource: "cache" },
  "covey.cache.v1.Cache/Peek": { action: "cache.read", resource: "cache" },
  "covey.cache.v1.Cache/Remove": { action: "cache.maintain", resource: "cache" },
  "covey.cache.v1.Cache/Stats": { action: "cache.read", resource: "cache" },
  "covey.kv.v1.Election/Campaign": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.Election/Leader": { action: "kv.read", resource: "kv" },
  "covey.kv.v1.Election/Observe": { action: "kv.read", resource: "kv" },
  "covey.kv.v1.Election/Proclaim": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.Election/Resign": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.KV/CloseSession": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.KV/Compact": { action: "kv.maintain", resource: "kv" },
  "covey.kv.v1.KV/DeleteRange": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.KV/OpenSession": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.KV/Put": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.KV/Range": { action: "kv.read", resource: "kv" },
  "covey.kv.v1.KV/Txn": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.Lease/LeaseGrant": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.Lease/LeaseKeepAlive": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.Lease/LeaseLeases": { action: "kv.read", resource: "kv" },
  "covey.kv.v1.Lease/LeaseRevoke": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.Lease/LeaseTimeToLive": { action: "kv.read", resource: "kv" },
  "covey.kv.v1.Lock/Lock": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.Lock/Unlock": { action: "kv.write", resource: "kv" },
  "covey.kv.v1.Maintenance/Hash": { action: "kv.read", resource: "kv" },
  "covey.kv.v1.Maintenance/SetLimits": { action: "kv.maintain", resource: "kv" },
  "covey.kv.v1.Maintenance/Snapshot": { action: "kv.maintain", resource: "kv" },
  "covey.kv.v1.Maintenance/Status": { action: "kv.read", resource: "kv" },
  "covey.kv.v1.Watch/Watch": { action: "kv.read", resource: "kv" },
  "covey.membership.v1.Members/Kick": { action: "membership.change", resource: "membership" },
  "covey.membership.v1.Members/Leave": { action: "membership.change", resource: "membership" },
  "covey.membership.v1.Members/List": { action: "membership.read", resource: "membership" },
  "covey.membership.v1.Members/Watch": { action: "membership.read", resource: "membership" },
  "covey.membership.v1.Membership/Join": { action: "membership.join", resource: "membership" },
  "covey.membership.v1.Membership/Link": { action: "membership.join", resource: "membership" },
  "covey.membership.v1.Membership/Who": { action: "membership.join", resource: "membership" },
  "covey.node.v1.Node/Info": { action: "node.read", resource: "node" },
  "covey.node.v1.Node/Services": { action: "node.read", resource: "node" },
  "covey.raft.v1.Raft/Add": { action: "raft.change", resource: "raft" },
  "covey.raft.v1.Raft/CreateGroup": { action: "raft.change", resource: "raft" },
  "covey.raft.v1.Raft/Groups": { action: "raft.read", resource: "raft" },
  "covey.raft.v1.Raft/RemoveGroup": { action: "raft.change", resource: "raft" },
  "covey.raft.v1.Raft/Peers": { action: "raft.read", resource: "raft" },
  "covey.raft.v1.Raft/Promote": { action: "raft.change", resource: "raft" },
  "covey.raft.v1.Raft/Remove": { action: "raft.change", resource: "raft" },
  "covey.raft.v1.Raft/Snapshot": { action: "raft.maintain", resource: "raft" },
  "covey.raft.v1.Raft/Status": { action: "raft.read", resource: "raft" },
  "covey.raft.v1.Raft/Transfer": { action: "raft.maintain", resource: "raft" },
  "covey.raft.v1.Transport/Control": { action: "raft.replicate", resource: "raft" },
  "covey.raft.v1.Transport/Follow": { action: "raft.read", resource: "raft" },
  "covey.raft.v1.Transport/Identify": { action: "raft.replicate", resource: "raft" },
  "covey.raft.v1.Transport/Invite": { action: "raft.replicate", resource: "raft" },
  "covey.raft.v1.Transport/Log": { action: "raft.replicate", resource: "raft" },
  "covey.raft.v1.Transport/Propose": { action: "raft.replicate", resource: "raft" },
  "covey.raft.v1.Transport/SendSnapshot": { action: "raft.replicate", resource: "raft" },
  "grpc.health.v1.Health/Check": { action: "health.read", resource: "node" },
  "grpc.health.v1.Health/Watch": { action: "health.read", resource: "node" },
};

/** The rule of a method; the user's own services are called, whatever they do. */
export function accessRule(service: string, method: string): AccessRule {
  return accessTable[`${service}/${method}`] ??
    { action: "service.call", resource: `${service}/${method}` };
}

/** What the policy of a node depends on. */
export interface AccessPolicy {
  /** `--dev`, or `tls.mode = "off"` written out: whoever reaches a listener may do everything. */
  readonly anonymousMayAll: boolean;
}

/** The first policy: local processes and cluster certificates may do everything. */
export function authorize(
  policy: AccessPolicy,
  identity: Identity,
  _action: string,
  _resource: string,
): boolean {
  switch (identity.kind) {
    case "local":
    case "certificate":
      return true;
    case "token":
      // Nothing issues tokens yet, so whatever claims to be one is nobody.
      return false;
    case "anonymous":
      return policy.anonymousMayAll;
  }
}

/** Asks before every call of every kind. */
export function accessInterceptor(policy: AccessPolicy): ServerInterceptor {
  const rules = new Map<unknown, AccessRule>();
  return (call, next) => {
    const { method, identity } = call.context;
    let rule = rules.get(method);
    if (rule === undefined) {
      rule = accessRule(method.parent.typeName, method.name);
      rules.set(method, rule);
    }
    if (authorize(policy, identity, rule.action, rule.resource)) return next(call);
    throw denied(identity, rule);
  };
}

/** The answer to a caller who may not. */
export function denied(identity: Identity, rule: AccessRule): CoveyError {
  if (identity.kind === "anonymous") {
    return new CoveyError(
      Code.unauthenticated,
      `${rule.action} on ${rule.resource} needs an identity: use the unix socket in the data ` +
        `directory, or a certificate of the cluster`,
    );
  }
  return new CoveyError(
    Code.permissionDenied,
    `${identity.kind} ${identity.name} may not ${rule.action} on ${rule.resource}`,
  );
}
