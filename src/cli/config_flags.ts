/** The flags by which every command that needs a configuration takes one. */
import type { FlagParametersForType } from "npm:@stricli/core@1.3.0";
import type { FlagSetting } from "../config/layers.ts";
import type { LoadRequest } from "../config/load.ts";
import type { CliContext } from "./context.ts";
import { UsageError } from "./exit.ts";

/** `key=value` of one `--set`. */
interface Assignment {
  readonly key: string;
  readonly value: string;
}

/** What the command line said about the configuration. */
export interface ConfigFlags {
  readonly config?: string;
  readonly dev?: boolean;
  readonly "node-name"?: string;
  readonly data?: string;
  readonly listen?: readonly string[];
  readonly "admin-listen"?: string;
  readonly "log-level"?: string;
  readonly set?: readonly Assignment[];
}

/** The keys that have a flag of their own. */
const shortcuts = [
  ["node-name", "node.name"],
  ["data", "node.data"],
  ["listen", "node.listen"],
  ["admin-listen", "admin.listen"],
  ["log-level", "log.level"],
] as const;

function parseAssignment(text: string): Assignment {
  const equals = text.indexOf("=");
  const key = text.slice(0, Math.max(equals, 0)).trim();
  if (key === "") throw new UsageError("write --set key=value, such as --set log.level=debug");
  return { key, value: text.slice(equals + 1) };
}

const asText = (text: string): string => text;

/** Stricli's description of {@link ConfigFlags}. */
export const configFlags: FlagParametersForType<ConfigFlags, CliContext> = {
  config: {
    kind: "parsed",
    parse: asText,
    optional: true,
    placeholder: "file",
    brief: "FILE: TOML, or JSON when it ends in .json [default: COVEY_CONFIG, else none]",
  },
  dev: {
    kind: "boolean",
    optional: true,
    withNegated: false,
    brief: "For trying out: memory only, loopback only, and whoever reaches it may do all",
  },
  "node-name": {
    kind: "parsed",
    parse: asText,
    optional: true,
    placeholder: "name",
    brief: "NAME: sets node.name",
  },
  data: {
    kind: "parsed",
    parse: asText,
    optional: true,
    placeholder: "folder",
    brief: "FOLDER: sets node.data",
  },
  listen: {
    kind: "parsed",
    parse: asText,
    optional: true,
    variadic: true,
    placeholder: "address",
    brief: "ADDRESS: sets node.listen; may be repeated",
  },
  "admin-listen": {
    kind: "parsed",
    parse: asText,
    optional: true,
    placeholder: "address",
    brief: "ADDRESS: sets admin.listen",
  },
  "log-level": {
    kind: "parsed",
    parse: asText,
    optional: true,
    placeholder: "level",
    brief: "LEVEL: sets log.level",
  },
  set: {
    kind: "parsed",
    parse: parseAssignment,
    optional: true,
    variadic: true,
    placeholder: "key=value",
    brief: "KEY=VALUE: sets any key, such as rpc.message_bytes_max=8MiB; may be repeated",
  },
};

/** What to load for these flags; a key that two flags set is a {@link UsageError}. */
export function loadRequest(flags: ConfigFlags): LoadRequest {
  if (flags.config === "") throw new UsageError("--config is empty; name a file, or leave it out");
  if (flags.dev === true && flags.data !== undefined) {
    throw new UsageError("--dev keeps everything in memory, so that --data has no use; give one");
  }
  const settings: FlagSetting[] = [];
  for (const [name, key] of shortcuts) {
    const value = flags[name];
    // A flag that may be repeated and was not given comes as an empty list.
    if (value === undefined || (typeof value === "object" && value.length === 0)) continue;
    settings.push({ key, value, flag: `--${name}` });
  }
  for (const { key, value } of flags.set ?? []) {
    settings.push({ key, value, flag: `--set ${key}` });
  }
  const setBy = new Map<string, string>();
  if (flags.dev === true) setBy.set("node.memory_only", "--dev");
  for (const { key, flag } of settings) {
    const before = setBy.get(key);
    if (before !== undefined) {
      const both = before === flag ? `${flag} twice` : `${before} and by ${flag}`;
      throw new UsageError(`${key} is set by ${both}; give it once`);
    }
    setBy.set(key, flag);
  }
  return {
    ...(flags.config === undefined ? {} : { file: flags.config }),
    environment: true,
    flags: settings,
    dev: flags.dev === true,
  };
}
