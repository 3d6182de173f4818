/** The commands of `covey kv`, their flags and their help. */
import { buildCommand, buildRouteMap, type RouteMap } from "npm:@stricli/core@1.3.0";
import type { CliContext } from "./context.ts";
import { asText, integerIn, nodeFlags, option, toggle } from "./flags.ts";
import type { DeleteFlags } from "./kv/del.ts";
import type { ElectFlags } from "./kv/elect.ts";
import type { GetFlags } from "./kv/get.ts";
import type { LockFlags } from "./kv/lock.ts";
import type { ListFlags } from "./kv/ls.ts";
import type { PutFlags } from "./kv/put.ts";
import type { RestoreFlags } from "./kv/snapshot_restore.ts";
import type { WatchFlags } from "./kv/watch.ts";
import type { NodeFlags } from "./flags.ts";
import { asSort, asTtl } from "./kv/values.ts";
import { leaseRoutes } from "./routes_lease.ts";

const whole = integerIn(0, Number.MAX_SAFE_INTEGER);
const positive = integerIn(1, Number.MAX_SAFE_INTEGER);

const selection = {
  prefix: toggle("Every key that begins with KEY"),
  "range-end": option("key", "every key from KEY up to, but without, this one"),
  "from-key": toggle("Every key from KEY on"),
};
const hex = toggle("Show keys and values in hexadecimal");
const rev = option("revision", "as of this revision, which is not compacted yet", positive);
const limit = option("number", "at most so many keys", positive);
const serializable = toggle("Take the asked node's own state, which may be old");
const previous = toggle("Show what was there before, too");
const ttl = option("seconds", "of the lease that holds it [default: 60]", asTtl);

const key = { parse: asText, placeholder: "KEY", brief: "The key" } as const;
const name = { parse: asText, placeholder: "NAME", brief: "Its name" } as const;
const oneKey = { kind: "tuple", parameters: [key] } as const;

export function kvRoutes(): RouteMap<CliContext> {
  return buildRouteMap<string, CliContext>({
    routes: {
      get: getCommand(),
      put: putCommand(),
      del: deleteCommand(),
      ls: listCommand(),
      watch: watchCommand(),
      lease: leaseRoutes(),
      elect: electCommand(),
      lock: lockCommand(),
      ...plainCommands(),
    },
    docs: { brief: "Read, write and watch the key-value store" },
  });
}

function getCommand() {
  return buildCommand<GetFlags, [string], CliContext>({
    loader: async () => (await import("./kv/get.ts")).get,
    parameters: {
      flags: {
        ...selection,
        rev,
        limit,
        sort: option("field", "key, version, create, mod or value; with :desc, downwards", asSort),
        "keys-only": toggle("Leave the values out"),
        "print-value-only": toggle("Leave the keys out"),
        "count-only": toggle("Print how many keys there are"),
        serializable,
        hex,
        ...nodeFlags,
      },
      positional: oneKey,
    },
    docs: {
      brief: "Print keys with their values",
      customUsage: ["KEY [flags]", "PREFIX --prefix [flags]"],
      fullDescription: "Prints each key and its value on a line of its own. A single key that is " +
        "not there is\nexit code 1.",
    },
  });
}

function putCommand() {
  return buildCommand<PutFlags, [string, string], CliContext>({
    loader: async () => (await import("./kv/put.ts")).put,
    parameters: {
      flags: {
        lease: option("id", "the lease that the key hangs on", positive),
        "prev-kv": previous,
        "ignore-lease": toggle("Keep the lease that is there"),
        ...nodeFlags,
      },
      positional: {
        kind: "tuple",
        parameters: [key, {
          parse: asText,
          placeholder: "VALUE",
          brief: "The value; - reads it from standard input, every byte of it",
        }],
      },
    },
    docs: { brief: "Set a key", customUsage: ["KEY VALUE [flags]", "KEY - [flags]"] },
  });
}

function deleteCommand() {
  return buildCommand<DeleteFlags, [string], CliContext>({
    loader: async () => (await import("./kv/del.ts")).del,
    parameters: {
      flags: { ...selection, "prev-kv": previous, ...nodeFlags },
      positional: oneKey,
    },
    docs: {
      brief: "Delete keys and print how many",
      customUsage: ["KEY [flags]", "PREFIX --prefix [flags]"],
    },
  });
}

function listCommand() {
  return buildCommand<ListFlags, [string?], CliContext>({
    loader: async () => (await import("./kv/ls.ts")).ls,
    parameters: {
      flags: { rev, limit, serializable, hex, ...nodeFlags },
      positional: {
        kind: "tuple",
        parameters: [{
          parse: asText,
          optional: true,
          placeholder: "PREFIX",
          brief: "Only keys that begin with it",
        }],
      },
    },
    docs: { brief: "List keys", customUsage: ["[PREFIX] [flags]"] },
  });
}

function watchCommand() {
  return buildCommand<WatchFlags, [string], CliContext>({
    loader: async () => (await import("./kv/watch.ts")).watch,
    parameters: {
      flags: {
        ...selection,
        rev: option("revision", "begin with this revision, in the past too", positive),
        "prev-kv": previous,
        hex,
        ...nodeFlags,
      },
      positional: oneKey,
    },
    docs: {
      brief: "Print changes as they happen, until Ctrl-C",
      customUsage: ["KEY [flags]", "PREFIX --prefix [flags]"],
      fullDescription:
        "Prints PUT or DELETE, the key and the value on a line each, as it happens. Goes on by\n" +
        "itself when the node is lost; Ctrl-C ends it with exit code 0.",
    },
  });
}

function electCommand() {
  return buildCommand<ElectFlags, [string, string?], CliContext>({
    loader: async () => (await import("./kv/elect.ts")).elect,
    parameters: {
      flags: {
        listen: toggle("Look on: print who is elected, and each who follows"),
        ttl,
        ...nodeFlags,
      },
      positional: {
        kind: "tuple",
        parameters: [name, {
          parse: asText,
          optional: true,
          placeholder: "VALUE",
          brief: "What the elected one is known by",
        }],
      },
    },
    docs: {
      brief: "Stand for election, and stay elected until Ctrl-C",
      customUsage: ["NAME VALUE [flags]", "NAME --listen [flags]"],
      fullDescription:
        "Waits until it is elected, prints the candidacy's key and VALUE, and resigns at " +
        "Ctrl-C.\nExit code 1 when the election is lost before that.",
    },
  });
}

function lockCommand() {
  return buildCommand<LockFlags, string[], CliContext>({
    loader: async () => (await import("./kv/lock.ts")).lock,
    parameters: {
      flags: { ttl, ...nodeFlags },
      positional: {
        kind: "array",
        parameter: { parse: asText, placeholder: "NAME", brief: "Its name; then the command" },
        minimum: 1,
      },
    },
    docs: {
      brief: "Hold a lock until Ctrl-C, or while a command runs",
      customUsage: ["NAME [flags]", "NAME [flags] -- COMMAND [ARGUMENT]..."],
      fullDescription:
        "Waits for the lock. Without COMMAND prints its key and holds it until Ctrl-C. With\n" +
        "COMMAND runs it, with COVEY_LOCK_KEY and COVEY_LOCK_LEASE in its environment, gives\n" +
        "the lock back and exits with the command's exit code.",
    },
  });
}

/** Those that take no flags but those of every command. */
function plainCommands() {
  const txn = buildCommand<NodeFlags, [], CliContext>({
    loader: async () => (await import("./kv/txn.ts")).txn,
    parameters: { flags: nodeFlags },
    docs: {
      brief: "Do a transaction, given as JSON on standard input",
      customUsage: ["[flags] < FILE"],
      fullDescription:
        "If every comparison holds, does the operations of success, else those of failure, in\n" +
        "one revision:\n" +
        '  {"compare": [{"keys": "a", "is": "=", "version": 0}],\n' +
        '   "success": [{"put": "a", "value": "1"}],\n' +
        '   "failure": [{"range": {"prefix": "a"}}]}',
    },
  });
  const compact = buildCommand<NodeFlags, [number], CliContext>({
    loader: async () => (await import("./kv/compact.ts")).compact,
    parameters: {
      flags: nodeFlags,
      positional: {
        kind: "tuple",
        parameters: [{ parse: whole, placeholder: "REV", brief: "The newest revision to forget" }],
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
  const snapshot = buildRouteMap<string, CliContext>({
    routes: { save, restore },
    docs: { brief: "Save the whole store, and restore it" },
  });
  return { txn, compact, snapshot, status };
}
