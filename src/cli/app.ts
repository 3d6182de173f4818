/**
 * The commands, their flags and their help. What a command does is in its own file and is loaded
 * when it runs, so that `covey version` does not load a node.
 */
import {
  type Application,
  buildApplication,
  buildCommand,
  buildRouteMap,
  help,
  version as versionFlag,
} from "npm:@stricli/core@1.3.0";
import { version } from "../version.ts";
import type { AgentFlags } from "./agent.ts";
import type { CallFlags } from "./call.ts";
import { configFlags } from "./config_flags.ts";
import type { CliContext } from "./context.ts";
import type { DemoFlags } from "./demo/demo.ts";
import { exitCodeOf } from "./exit.ts";
import {
  asDuration,
  asText,
  integerIn,
  json,
  type NodeFlags,
  nodeFlags,
  option,
  toggle,
} from "./flags.ts";
import { configRoutes } from "./routes_config.ts";
import { kvRoutes } from "./routes_kv.ts";
import { kickCommand, leaveCommand, membersCommand } from "./routes_membership.ts";
import { raftRoutes } from "./routes_raft.ts";
import { text } from "./text.ts";
import type { VersionFlags } from "./version.ts";

/** Builds the command line. */
export function buildCli(): Application<CliContext> {
  const root = buildRouteMap<string, CliContext>({
    routes: {
      agent: agentCommand(),
      demo: demoCommand(),
      status: statusCommand(),
      kv: kvRoutes(),
      raft: raftRoutes(),
      members: membersCommand(),
      leave: leaveCommand(),
      kick: kickCommand(),
      call: callCommand(),
      config: configRoutes(),
      version: versionCommand(),
    },
    docs: {
      brief: "A handful of devices that act as one",
      fullDescription:
        "Data goes to standard output, notes go to standard error; --json makes the data\n" +
        "JSON, one object a line. Exit codes: 0 ok, 1 failed, 2 usage, 3 bad configuration,\n" +
        "4 unreachable or no leader, 5 denied.",
    },
  });
  return buildApplication(root, {
    name: "covey",
    scanner: {
      caseStyle: "original",
      allowArgumentEscapeSequence: true,
      // Stricli's own threshold of 7 finds "call" in "foo".
      distanceOptions: {
        threshold: 3,
        weights: { insertion: 1, deletion: 3, substitution: 2, transposition: 0 },
      },
    },
    // No color anywhere is the simplest way to honour NO_COLOR.
    documentation: { disableAnsiColor: true },
    localization: { text },
    determineExitCode: exitCodeOf,
  }, {
    help: help({
      brief: "Print help",
      defaultForRouteMap: true,
      formatting: {
        caseStyle: "original",
        useAliasInUsageLine: false,
        onlyRequiredInUsageLine: true,
      },
    }),
    version: versionFlag({ brief: "Print the version", info: { currentVersion: version } }),
  });
}

function agentCommand() {
  return buildCommand<AgentFlags, [], CliContext>({
    loader: async () => (await import("./agent.ts")).agent,
    parameters: {
      flags: {
        ...configFlags,
        json,
        "while-input-lasts": { ...toggle("End when standard input ends"), hidden: true },
      },
    },
    docs: {
      brief: "Run a node in the foreground",
      customUsage: ["--dev", "[--config FILE] [flags]"],
      fullDescription:
        "Runs a node until SIGTERM, SIGINT or SIGHUP, then drains it and exits 0; a\n" +
        "second signal ends it at once. It says on standard output when and where it serves: for\n" +
        'people, or with --json as one line with "event":"ready" and every bound address.',
    },
  });
}

function demoCommand() {
  return buildCommand<DemoFlags, [], CliContext>({
    loader: async () => (await import("./demo/demo.ts")).demo,
    parameters: {
      flags: { nodes: option("number", "how many, 1 to 9 [default: 3]", integerIn(1, 9)), json },
    },
    docs: {
      brief: "Run a cluster on this machine, to try it out and to kill its nodes",
      customUsage: ["[--nodes 3] [--json]"],
      fullDescription:
        "Starts a cluster of child processes with temporary data, prints where they are, and\n" +
        "follows who leads. A node that is killed is started again after some seconds. Ctrl-C\n" +
        "ends all of them and removes the data.",
    },
  });
}

function statusCommand() {
  return buildCommand<NodeFlags, [], CliContext>({
    loader: async () => (await import("./status.ts")).status,
    parameters: { flags: nodeFlags },
    docs: {
      brief: "Say how a node, its cluster and its store fare",
      customUsage: ["[flags]"],
      fullDescription: "Exit code 4 when nobody answers, or when the cluster has no leader.",
    },
  });
}

function callCommand() {
  return buildCommand<CallFlags, [string, string?, string?], CliContext>({
    loader: async () => (await import("./call.ts")).call,
    parameters: {
      flags: {
        list: toggle("List services and methods instead of calling one"),
        metadata: {
          kind: "parsed",
          parse: asText,
          variadic: true,
          optional: true,
          placeholder: "key=value",
          brief: "KEY=VALUE: request metadata; may be repeated",
        },
        timeout: option(
          "duration",
          "deadline of the call, such as 500ms or 5s; the server is told",
          asDuration,
        ),
        proto: option(
          "file",
          "descriptor set, as buf build -o or protoc --include_imports -o writes it",
        ),
        "certificate-file": option("file", "certificate for TLS, PEM"),
        "key-file": option("file", "its key, PEM"),
        "authorities-file": option(
          "file",
          "authorities that the server's certificate must chain to, PEM",
        ),
        json,
      },
      positional: {
        kind: "tuple",
        parameters: [
          { parse: asText, placeholder: "ADDRESS", brief: "tcp://host:port or unix:/path" },
          {
            parse: asText,
            optional: true,
            placeholder: "METHOD",
            brief: "package.Service/Method",
          },
          {
            parse: asText,
            optional: true,
            placeholder: "JSON",
            brief:
              "The request, {} when left out; - reads standard input, as streams do without it",
          },
        ],
      },
    },
    docs: {
      brief: "Call a method of any ttrpc server",
      customUsage: ["ADDRESS SERVICE/METHOD [JSON] [flags]", "ADDRESS --list [flags]"],
      fullDescription:
        "Calls a method of any ttrpc server, covey's or containerd's, over TCP or a " +
        "unix\nsocket. JSON in and out: one object for unary calls, one a line for streams. A " +
        "covey\nnode says itself what it serves; for other servers name a descriptor set.",
    },
  });
}

function versionCommand() {
  return buildCommand<VersionFlags, [], CliContext>({
    loader: async () => (await import("./version.ts")).versionCommand,
    parameters: {
      flags: {
        "self-test": toggle("Use every built-in part once; exit code 1 when one fails here"),
        json,
      },
    },
    docs: {
      brief: "Print version, runtime and architecture",
      customUsage: ["[--self-test]"],
    },
  });
}
