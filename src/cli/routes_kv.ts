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
import type { WatchFlags } from "./kv/watch.ts";
import { asOrder, asSort, asSortTarget, asTtl } from "./kv/values.ts";
import { maintenanceCommands } from "./routes_maintenance.ts";
import { leaseRoutes } from "./routes_lease.ts";

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
const keyAndEnd = {
  kind: "tuple",
  parameters: [key, {
    parse: asText,
    optional: true,
    placeholder: "END",
    brief: "As --range-end",
  }],
} as const;

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
      ...maintenanceCommands(),
    },
    aliases: { compaction: "compact" },
    docs: { brief: "Read, write and watch the key-value store" },
  });
}

function getCommand() {
  return buildCommand<GetFlags, [string, string?], CliContext>({
    loader: async () => (await import("./kv/get.ts")).get,
    parameters: {
      flags: {
        ...selection,
        rev,
        limit,
        sort: option("field", "key, version, create, mod or value; with :desc, downwards", asSort),
        "sort-by": option(
          "field",
          "as etcdctl has it: create, key, modify, value, version",
          asSortTarget,
        ),
        order: option("order", "of --sort-by: ascend or descend", asOrder),
        "keys-only": toggle("Leave the values out"),
        "print-value-only": toggle("Leave the keys out"),
        "count-only": toggle("Print how many keys there are"),
        serializable,
        hex,
        ...nodeFlags,
      },
      positional: keyAndEnd,
    },
    docs: {
      brief: "Print keys with their values",
      customUsage: ["KEY [END] [flags]", "PREFIX --prefix [flags]"],
      fullDescription: "Prints each key and its value on a line of its own. A single key that is " +
        "not there is\nexit code 1.",
    },
  });
}

function putCommand() {
  return buildCommand<PutFlags, [string, string?], CliContext>({
    loader: async () => (await import("./kv/put.ts")).put,
    parameters: {
      flags: {
        lease: option("id", "the lease that the key hangs on", positive),
        "prev-kv": previous,
        "ignore-lease": toggle("Keep the lease that is there"),
        "ignore-value": toggle("Keep the value that is there"),
        ...nodeFlags,
      },
      positional: {
        kind: "tuple",
        parameters: [key, {
          parse: asText,
          optional: true,
          placeholder: "VALUE",
          brief: "The value; - reads it from standard input, every byte of it",
        }],
      },
    },
    docs: { brief: "Set a key", customUsage: ["KEY VALUE [flags]", "KEY - [flags]"] },
  });
}

function deleteCommand() {
  return buildCommand<DeleteFlags, [string, string?], CliContext>({
    loader: async () => (await import("./kv/del.ts")).del,
    parameters: {
      flags: { ...selection, "prev-kv": previous, ...nodeFlags },
      positional: keyAndEnd,
    },
    docs: {
      brief: "Delete keys and print how many",
      customUsage: ["KEY [END] [flags]", "PREFIX --prefix [flags]"],
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
  return buildCommand<WatchFlags, string[], CliContext>({
    loader: async () => (await import("./kv/watch.ts")).watch,
    parameters: {
      flags: {
        ...selection,
        rev: option("revision", "begin with this revision, in the past too", positive),
        "prev-kv": previous,
        hex,
        ...nodeFlags,
      },
      positional: {
        kind: "array",
        parameter: { parse: asText, placeholder: "KEY", brief: "The key; then the command" },
        minimum: 1,
      },
    },
    docs: {
      brief: "Print changes as they happen, until Ctrl-C",
      customUsage: [
        "KEY [flags]",
        "PREFIX --prefix [flags]",
        "KEY [flags] -- COMMAND [ARGUMENT]...",
      ],
      fullDescription:
        "Prints PUT or DELETE, the key and the value on a line each, as it happens. Goes on by\n" +
        "itself when the node is lost; Ctrl-C ends it with exit code 0. With COMMAND runs it for\n" +
        "each change, one after the other, with COVEY_WATCH_EVENT, COVEY_WATCH_KEY,\n" +
        "COVEY_WATCH_VALUE and COVEY_WATCH_REVISION in its environment.",
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
      aliases: { l: "listen" },
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
