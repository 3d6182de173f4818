/** The commands of `covey config`, their flags and their help. */
import { buildCommand, buildRouteMap, type RouteMap } from "npm:@stricli/core@1.3.0";
import type { CheckFlags } from "./config_check.ts";
import { configFlags } from "./config_flags.ts";
import type { InitFlags } from "./config_init.ts";
import type { SchemaFlags } from "./config_schema.ts";
import type { ShowFlags } from "./config_show.ts";
import type { CliContext } from "./context.ts";
import { asText, json, toggle } from "./flags.ts";

export function configRoutes(): RouteMap<CliContext> {
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
      flags: { ...configFlags, origin: toggle("Say of each value where it came from"), json },
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
      flags: { "draft-04": toggle("The dialect that Taplo reads, instead of 2020-12"), json },
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
          parse: asText,
          default: "./covey.schema.json",
          placeholder: "where",
          brief: "PATH: path or URL for the line that tells editors the schema",
        },
        json,
      },
      positional: {
        kind: "tuple",
        parameters: [{
          parse: asText,
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
  return buildRouteMap({
    routes: { check, show, schema, init },
    docs: { brief: "Judge, show and describe the configuration" },
  });
}
