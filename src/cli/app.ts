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
import type { CheckFlags } from "./config_check.ts";
import type { InitFlags } from "./config_init.ts";
import type { SchemaFlags } from "./config_schema.ts";
import type { ShowFlags } from "./config_show.ts";
import type { CliContext } from "./context.ts";
import { exitCodeOf } from "./exit.ts";
import { text } from "./text.ts";
import type { VersionFlags } from "./version.ts";

const json = {
  kind: "boolean",
  optional: true,
  withNegated: false,
  brief: "Print JSON, one object per line",
} as const;

/** Builds the command line. */
export function buildCli(): Application<CliContext> {
  const agent = buildCommand<AgentFlags, [], CliContext>({
    loader: async () => (await import("./agent.ts")).agent,
    parameters: { flags: { ...configFlags, json } },
    docs: {
      brief: "Run a node in the foreground",
      customUsage: ["--dev", "[--config FILE] [flags]"],
      fullDescription:
        "Runs a node until SIGTERM or SIGINT, then drains it and exits 0; a second\n" +
        "signal ends it at once. It says on standard output when and where it serves: for\n" +
        'people, or with --json as one line with "event":"ready" and every bound address.',
    },
  });
  const path = (value: string): string => value;
  const call = buildCommand<CallFlags, [string, string?, string?], CliContext>({
    loader: async () => (await import("./call.ts")).call,
    parameters: {
      flags: {
        list: {
          kind: "boolean",
          optional: true,
          withNegated: false,
          brief: "List services and methods instead of calling one",
        },
        metadata: {
          kind: "parsed",
          parse: path,
          variadic: true,
          optional: true,
          placeholder: "key=value",
          brief: "KEY=VALUE: request metadata; may be repeated",
        },
        timeout: {
          kind: "parsed",
          parse: path,
          optional: true,
          placeholder: "duration",
          brief: "DURATION: deadline of the call, such as 500ms or 5s; the server is told",
        },
        proto: {
          kind: "parsed",
          parse: path,
          optional: true,
          placeholder: "file",
          brief: "FILE: descriptor set, as buf build -o or protoc --include_imports -o writes it",
        },
        "certificate-file": {
          kind: "parsed",
          parse: path,
          optional: true,
          brief: "FILE: certificate for TLS, PEM",
        },
        "key-file": { kind: "parsed", parse: path, optional: true, brief: "FILE: its key, PEM" },
        "authorities-file": {
          kind: "parsed",
          parse: path,
          optional: true,
          brief: "FILE: authorities that the server's certificate must chain to, PEM",
        },
        json,
      },
      positional: {
        kind: "tuple",
        parameters: [
          { parse: path, placeholder: "ADDRESS", brief: "tcp://host:port or unix:/path" },
          {
            parse: path,
            optional: true,
            placeholder: "METHOD",
            brief: "package.Service/Method",
          },
          {
            parse: path,
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
  const check = buildCommand<CheckFlags, [], CliContext>({
    loader: async () => (await import("./config_check.ts")).configCheck,
    parameters: { flags: { ...configFlags, json } },
    docs: {
      brief: "Judge the file, the COVEY_ variables and the flags; exit code 3 when bad",
      customUsage: ["[--config FILE] [flags]"],
    },
  });
  const show = buildCommand<ShowFlags, [], CliContext>({
    loader: async () => (await import("./config_show.ts")).configShow,
    parameters: {
      flags: {
        ...configFlags,
        origin: {
          kind: "boolean",
          optional: true,
          withNegated: false,
          brief: "Say of each value where it came from",
        },
        json,
      },
    },
    docs: {
      brief: "Print the configuration in force",
      customUsage: ["[--config FILE] [--origin] [flags]"],
      fullDescription:
        "Prints every value that is in force, flag over environment over file over default,\n" +
        "as a file that can be used again: TOML, or with --json a JSON object. With --origin\n" +
        "and --json each key is a line of its own.",
    },
  });
  const schema = buildCommand<SchemaFlags, [], CliContext>({
    loader: async () => (await import("./config_schema.ts")).configSchemaCommand,
    parameters: {
      flags: {
        "draft-04": {
          kind: "boolean",
          optional: true,
          withNegated: false,
          brief: "The dialect that Taplo reads, instead of 2020-12",
        },
        json,
      },
    },
    docs: {
      brief: "Print the JSON Schema of the file, for editors",
      customUsage: ["[--draft-04]"],
    },
  });
  const init = buildCommand<InitFlags, [string?], CliContext>({
    loader: async () => (await import("./config_init.ts")).configInit,
    parameters: {
      flags: {
        schema: {
          kind: "parsed",
          parse: (value: string) => value,
          default: "./covey.schema.json",
          placeholder: "where",
          brief: "PATH: path or URL for the line that tells editors the schema",
        },
        json,
      },
      positional: {
        kind: "tuple",
        parameters: [{
          parse: (value: string) => value,
          optional: true,
          placeholder: "FILE",
          brief: "Write this file, which must not exist yet, instead of standard output",
        }],
      },
    },
    docs: {
      brief: "Write an annotated sample file",
      customUsage: ["[FILE] [flags]"],
      fullDescription: "Writes a sample with every key at its default, annotated: TOML, or JSON " +
        "when FILE ends\nin .json. Without FILE it goes to standard output.",
    },
  });
  const versionCommand = buildCommand<VersionFlags, [], CliContext>({
    loader: async () => (await import("./version.ts")).versionCommand,
    parameters: {
      flags: {
        "self-test": {
          kind: "boolean",
          optional: true,
          withNegated: false,
          brief: "Use every built-in part once; exit code 1 when one fails here",
        },
        json,
      },
    },
    docs: {
      brief: "Print version, runtime and architecture",
      customUsage: ["[--self-test]"],
    },
  });
  const root = buildRouteMap<string, CliContext>({
    routes: {
      agent,
      call,
      config: buildRouteMap<string, CliContext>({
        routes: { check, show, schema, init },
        docs: { brief: "Judge, show and describe the configuration" },
      }),
      version: versionCommand,
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
