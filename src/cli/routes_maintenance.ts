/** The commands of `covey kv` for transactions and for operators, their flags and their help. */
import { buildCommand, buildRouteMap, type Command, type RouteMap } from "npm:@stricli/core@1.3.0";
import type { CliContext } from "./context.ts";
import { asText, integerIn, type NodeFlags, nodeFlags } from "./flags.ts";
import { limitFlags, type LimitsFlags } from "./kv/limit_flags.ts";
import type { RestoreFlags } from "./kv/snapshot_restore.ts";

const positive = integerIn(1, Number.MAX_SAFE_INTEGER);

/** Transactions, and what operators do. */
export function maintenanceCommands(): Record<string, Command<CliContext> | RouteMap<CliContext>> {
  const txn = buildCommand<NodeFlags, [], CliContext>({
    loader: async () => (await import("./kv/txn.ts")).txn,
    parameters: { flags: nodeFlags },
    docs: {
      brief: "Do a transaction, given on standard input",
      customUsage: ["[flags] < FILE"],
      fullDescription:
        "If every comparison holds, does the operations of success, else those of failure, in\n" +
        "one revision. As JSON, or as etcdctl takes it: comparisons, an empty line, what is done\n" +
        "if they hold, an empty line, what is done else:\n" +
        '  {"compare": [{"keys": "a", "is": "=", "version": 0}],\n' +
        '   "success": [{"put": "a", "value": "1"}],\n' +
        '   "failure": [{"range": {"prefix": "a"}}]}\n' +
        '  version("a") = "0"\n\n  put a 1\n\n  get a --prefix',
    },
  });
  const compact = buildCommand<NodeFlags, [number], CliContext>({
    loader: async () => (await import("./kv/compact.ts")).compact,
    parameters: {
      flags: nodeFlags,
      positional: {
        kind: "tuple",
        parameters: [{
          parse: positive,
          placeholder: "REV",
          brief: "The newest revision to forget",
        }],
      },
    },
    docs: {
      brief: "Forget what was superseded up to a revision",
      customUsage: ["REV [flags]"],
    },
  });
  const save = buildCommand<NodeFlags, [string], CliContext>({
    loader: async () => (await import("./kv/snapshot.ts")).save,
    parameters: {
      flags: nodeFlags,
      positional: {
        kind: "tuple",
        parameters: [{ parse: asText, placeholder: "FILE", brief: "Made, or replaced when whole" }],
      },
    },
    docs: { brief: "Save the whole store in a file", customUsage: ["FILE [flags]"] },
  });
  const status = buildCommand<NodeFlags, [], CliContext>({
    loader: async () => (await import("./kv/status.ts")).status,
    parameters: { flags: nodeFlags },
    docs: { brief: "Say how the store of the asked node fares", customUsage: ["[flags]"] },
  });
  const restore = buildCommand<RestoreFlags, [string], CliContext>({
    loader: async () => (await import("./kv/snapshot_restore.ts")).restore,
    parameters: {
      flags: { config: nodeFlags.config, data: nodeFlags.data, json: nodeFlags.json },
      positional: {
        kind: "tuple",
        parameters: [{ parse: asText, placeholder: "FILE", brief: "What save has written" }],
      },
    },
    docs: {
      brief: "Begin a new cluster with a saved store",
      customUsage: ["FILE [--data FOLDER] [flags]"],
      fullDescription:
        "Fills the data folder of a node that is in no cluster yet, and does not run, with a saved\n" +
        "store. The node is then a cluster of its own; add others with covey raft add.",
    },
  });
  const fileStatus = buildCommand<{ readonly json?: boolean }, [string], CliContext>({
    loader: async () => (await import("./kv/snapshot_status.ts")).fileStatus,
    parameters: {
      flags: { json: nodeFlags.json },
      positional: {
        kind: "tuple",
        parameters: [{ parse: asText, placeholder: "FILE", brief: "What save has written" }],
      },
    },
    docs: { brief: "Check a saved store and say what it holds", customUsage: ["FILE [--json]"] },
  });
  const snapshot = buildRouteMap<string, CliContext>({
    routes: { save, restore, status: fileStatus },
    docs: { brief: "Save the whole store, and restore it" },
  });
  const limits = buildCommand<LimitsFlags, [], CliContext>({
    loader: async () => (await import("./kv/limits.ts")).limits,
    parameters: { flags: { ...limitFlags(), ...nodeFlags } },
    docs: {
      brief: "Show the store's limits, or change those that are named",
      customUsage: ["[flags]", "--database-bytes-max 1GiB [flags]"],
      fullDescription:
        "The limits belong to the replicated state: all nodes have the same. What the leader's\n" +
        "configuration names (kv.quota_bytes, kv.request_bytes_max) is set again when it leads\n" +
        "anew.",
    },
  });
  const hash = buildCommand<NodeFlags, [], CliContext>({
    loader: async () => (await import("./kv/hash.ts")).hash,
    parameters: { flags: nodeFlags },
    docs: {
      brief: "Print the hash of the asked node's store",
      customUsage: ["[flags]"],
      fullDescription:
        "The same on every node at the same applied index: one that differs has come apart from\n" +
        "the others.",
    },
  });
  return { txn, compact, snapshot, status, limits, hash };
}
