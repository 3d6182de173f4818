/** The commands of `covey kv lease`, their flags and their help. */
import { buildCommand, buildRouteMap, type RouteMap } from "npm:@stricli/core@1.3.0";
import type { CliContext } from "./context.ts";
import { integerIn, type NodeFlags, nodeFlags, option, toggle } from "./flags.ts";
import type { GrantFlags, KeepAliveFlags, TtlFlags } from "./kv/lease.ts";
import { asTtl } from "./kv/values.ts";

const asId = integerIn(1, Number.MAX_SAFE_INTEGER);
const id = {
  kind: "tuple",
  parameters: [{ parse: asId, placeholder: "ID", brief: "The lease" }],
} as const;

export function leaseRoutes(): RouteMap<CliContext> {
  const grant = buildCommand<GrantFlags, [number], CliContext>({
    loader: async () => (await import("./kv/lease.ts")).grant,
    parameters: {
      flags: { id: option("id", "choose its id yourself", asId), ...nodeFlags },
      positional: {
        kind: "tuple",
        parameters: [{ parse: asTtl, placeholder: "TTL", brief: "Seconds to live, or 5m" }],
      },
    },
    docs: { brief: "Make a lease and print its id", customUsage: ["TTL [flags]"] },
  });
  const revoke = buildCommand<NodeFlags, [number], CliContext>({
    loader: async () => (await import("./kv/lease.ts")).revoke,
    parameters: { flags: nodeFlags, positional: id },
    docs: { brief: "End a lease and delete its keys", customUsage: ["ID [flags]"] },
  });
  const keepAlive = buildCommand<KeepAliveFlags, [number], CliContext>({
    loader: async () => (await import("./kv/lease.ts")).keepAlive,
    parameters: {
      flags: { once: toggle("Renew it once and end"), ...nodeFlags },
      positional: id,
    },
    docs: { brief: "Keep a lease alive until Ctrl-C", customUsage: ["ID [flags]"] },
  });
  const ttl = buildCommand<TtlFlags, [number], CliContext>({
    loader: async () => (await import("./kv/lease.ts")).ttl,
    parameters: { flags: { keys: toggle("List its keys, too"), ...nodeFlags }, positional: id },
    docs: { brief: "Say what is left of a lease", customUsage: ["ID [flags]"] },
  });
  const list = buildCommand<NodeFlags, [], CliContext>({
    loader: async () => (await import("./kv/lease.ts")).list,
    parameters: { flags: nodeFlags },
    docs: { brief: "List all leases", customUsage: ["[flags]"] },
  });
  return buildRouteMap<string, CliContext>({
    routes: { grant, revoke, "keep-alive": keepAlive, ttl, list },
    // As etcdctl calls it.
    aliases: { timetolive: "ttl" },
    docs: { brief: "Give keys a time to live" },
  });
}
