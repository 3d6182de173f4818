/** The commands of `covey raft`, their flags and their help. */
import { buildCommand, buildRouteMap, type RouteMap } from "npm:@stricli/core@1.3.0";
import type { CliContext } from "./context.ts";
import { asText, integerIn, json, nodeFlags, option, toggle } from "./flags.ts";
import type { AddFlags } from "./raft/add.ts";
import type { RaftFlags } from "./raft/group.ts";
import type { RepairFlags } from "./raft/repair.ts";
import type { RemoveFlags } from "./raft/remove.ts";

const groupMax = 0xffffffff;
const flags = {
  group: option("number", "the Raft group [default: 0, the store's]", integerIn(0, groupMax)),
  ...nodeFlags,
};

const replica = {
  parse: asText,
  placeholder: "REPLICA",
  brief: "Its number, or the name of its node",
} as const;
const one = { kind: "tuple", parameters: [replica] } as const;

export function raftRoutes(): RouteMap<CliContext> {
  const peers = buildCommand<RaftFlags, [], CliContext>({
    loader: async () => (await import("./raft/peers.ts")).peers,
    parameters: { flags },
    docs: { brief: "List the replicas and how they fare", customUsage: ["[flags]"] },
  });
  const add = buildCommand<AddFlags, [string], CliContext>({
    loader: async () => (await import("./raft/add.ts")).add,
    parameters: {
      flags: {
        learner: toggle("Keep it a learner, instead of a voter once it has caught up"),
        "node-id": option("id", "refuse any other node than this one at ADDRESS"),
        ...flags,
      },
      positional: {
        kind: "tuple",
        parameters: [{
          parse: asText,
          placeholder: "ADDRESS",
          brief: "Mesh address of a node that waits, tcp://host:port",
        }],
      },
    },
    docs: {
      brief: "Make a waiting node a replica",
      customUsage: ["ADDRESS [--learner] [flags]"],
      fullDescription:
        "Makes the node at ADDRESS a replica and prints the replica's number. The node must\n" +
        "run, be in no cluster, and name a member of this one in its cluster.join.",
    },
  });
  const promote = buildCommand<RaftFlags, [string], CliContext>({
    loader: async () => (await import("./raft/promote.ts")).promote,
    parameters: { flags, positional: one },
    docs: { brief: "Make a learner a voter", customUsage: ["REPLICA [flags]"] },
  });
  const remove = buildCommand<RemoveFlags, [string], CliContext>({
    loader: async () => (await import("./raft/remove.ts")).remove,
    parameters: {
      flags: { yes: toggle("Do not ask; needed without a terminal"), ...flags },
      positional: one,
    },
    docs: {
      brief: "Take a replica out for ever",
      customUsage: ["REPLICA [flags]"],
      fullDescription:
        "Takes a replica out for ever: its number is never used again, and its data is worth\n" +
        "nothing afterwards. The name of its node must be typed first.",
    },
  });
  const transfer = buildCommand<RaftFlags, [string?], CliContext>({
    loader: async () => (await import("./raft/transfer.ts")).transfer,
    parameters: {
      flags,
      positional: { kind: "tuple", parameters: [{ ...replica, optional: true }] },
    },
    docs: {
      brief: "Hand leadership to another voter",
      customUsage: ["[REPLICA] [flags]"],
      fullDescription:
        "Hands leadership to a voter and prints who leads now. Without REPLICA the " +
        "leader\nchooses the one that has most of the log.",
    },
  });
  const snapshot = buildCommand<RaftFlags, [], CliContext>({
    loader: async () => (await import("./raft/snapshot.ts")).snapshot,
    parameters: { flags },
    docs: { brief: "Make the asked node take a snapshot now", customUsage: ["[flags]"] },
  });
  const status = buildCommand<RaftFlags, [], CliContext>({
    loader: async () => (await import("./raft/status.ts")).status,
    parameters: { flags },
    docs: { brief: "Say how the asked node's replicas and log fare", customUsage: ["[flags]"] },
  });
  const repair = buildCommand<RepairFlags, [], CliContext>({
    loader: async () => (await import("./raft/repair.ts")).repair,
    parameters: {
      flags: {
        config: nodeFlags.config,
        data: nodeFlags.data,
        yes: toggle("Do not ask; needed without a terminal"),
        force: toggle("Also where the replica was a learner, or removed"),
        json,
      },
    },
    docs: {
      brief: "Go on alone when most voters are lost for ever",
      customUsage: ["[--data FOLDER] [flags]"],
      fullDescription:
        "Makes the replicas in a data folder, whose node must not run, the only voters of their\n" +
        "groups. For when most voters are lost for ever and there is no other way: what only\n" +
        "they had is gone, and none of them may ever be started again. The cluster gets a new id,\n" +
        "under which they are refused.",
    },
  });
  return buildRouteMap({
    routes: { peers, add, promote, remove, transfer, snapshot, status, repair },
    docs: { brief: "Look at the replicas and change them" },
  });
}
