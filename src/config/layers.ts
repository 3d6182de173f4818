/**
 * The layers that are not files: environment variables and `--set`, which are text, and the options
 * of `mod.ts`, which are JavaScript values.
 */
import { nearest } from "./nearest.ts";
import { type Origin, type Problem, quote } from "./problem.ts";
import { sections, type Setting, settings, settingsByPath } from "./settings.ts";
import { emptyTable, put, type Source, type SourceScalar, type SourceTable } from "./tree.ts";

/** A setting given on the command line: `--set key=value` or a flag of its own. */
export interface FlagSetting {
  /** `rpc.message_bytes_max` */
  readonly key: string;
  /** One text, or several from a flag that may be repeated. */
  readonly value: string | readonly string[];
  /** What the user typed, for messages: `--node-name`, `--set rpc.message_bytes_max`. */
  readonly flag: string;
}

/** A layer and what is wrong with its keys. */
export interface Layer {
  readonly tree: SourceTable;
  readonly problems: readonly Problem[];
}

/**
 * Variables that begin with `COVEY_` and are no settings. The command line reads the first two;
 * Kubernetes sets the others in every pod beside a Service that is named "covey".
 */
export const otherVariables: readonly {
  readonly name: string;
  readonly pattern: RegExp;
  readonly doc: string;
}[] = [
  {
    name: "COVEY_CONFIG",
    pattern: /^COVEY_CONFIG$/,
    doc: "the file to read when `--config` is not given",
  },
  {
    name: "COVEY_NODE",
    pattern: /^COVEY_NODE$/,
    doc: "the address of the node that client commands talk to; several, separated by commas",
  },
  {
    name: "COVEY_LOCK_*",
    pattern: /^COVEY_LOCK_(KEY|LEASE)$/,
    doc: "what `covey kv lock` tells the command that it runs",
  },
  {
    name: "COVEY_SERVICE_*",
    pattern: /^COVEY_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$/,
    doc: "ignored: Kubernetes sets them beside a Service named covey",
  },
  {
    name: "COVEY_PORT*",
    pattern: /^COVEY_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/,
    doc: "the same",
  },
];

/** What all variables of covey begin with. */
export const variablePrefix = "COVEY_";

/** Reads `COVEY_SECTION__KEY` variables. */
export function environmentLayer(
  names: readonly string[],
  read: (name: string) => string | undefined,
): Layer {
  const tree = emptyTable({ layer: "environment", name: "COVEY_*" });
  const problems: Problem[] = [];
  const byVariable = new Map(settings.map((setting) => [setting.variable, setting]));
  for (const name of [...names].sort()) {
    const origin: Origin = { layer: "environment", name };
    const setting = byVariable.get(name);
    if (setting !== undefined) {
      const text = read(name);
      if (text !== undefined) {
        put(tree, [setting.section, setting.key], fromText(setting, text, origin));
      }
    } else if (!otherVariables.some(({ pattern }) => pattern.test(name))) {
      // The prefix that all share would make everything look near.
      const known = [...byVariable.keys(), "COVEY_CONFIG", "COVEY_NODE"];
      const near = nearest(
        name.slice(variablePrefix.length),
        known.map((each) => each.slice(variablePrefix.length)),
      );
      const help = near === undefined
        ? "allowed: COVEY_SECTION__KEY, such as COVEY_LOG__LEVEL"
        : `the nearest known one is ${variablePrefix}${near}`;
      problems.push({ origin, key: "", message: `unknown variable; ${help}` });
    }
  }
  return { tree, problems };
}

/** Reads what the command line set. */
export function flagLayer(flags: readonly FlagSetting[]): Layer {
  const tree = emptyTable({ layer: "flag", flag: "--set" });
  const problems: Problem[] = [];
  for (const { key, value, flag } of flags) {
    const origin: Origin = { layer: "flag", flag };
    const setting = settingsByPath.get(key);
    if (setting === undefined) {
      problems.push({ origin, key: "", message: `unknown key ${quote(key)}; ${keyHelp(key)}` });
    } else {
      // A flag that may be repeated takes commas too, as a variable does.
      const text = typeof value === "string" ? value : value.join(",");
      put(tree, [setting.section, setting.key], fromText(setting, text, origin));
    }
  }
  return { tree, problems };
}

/** What to say about a dotted key that does not exist. */
export function keyHelp(key: string): string {
  const section = sections.find(({ name }) => name === key);
  if (section !== undefined) {
    return `${key} is a section; its keys are ${
      section.settings.map((setting) => setting.key).join(", ")
    }`;
  }
  const [table, last] = key.split(".").length === 2 ? key.split(".") : ["", key];
  // The right key in the wrong section is a likelier slip than a wrong key in the right one.
  const elsewhere = settings.filter((setting) => setting.key === last);
  const near = elsewhere.length > 0
    ? elsewhere.map((setting) => setting.path).join(" or ")
    : nearest(key, settings.map((setting) => setting.path));
  if (near !== undefined) return `the nearest known one is ${near}`;
  const nearSection = table === "" ? nearest(key, sections.map(({ name }) => name)) : undefined;
  if (nearSection !== undefined) return `the nearest known one is [${nearSection}]`;
  const siblings = sections.find(({ name }) => name === table);
  return siblings === undefined
    ? `the sections are ${sections.map(({ name }) => name).join(", ")}`
    : `the keys of ${table} are ${siblings.settings.map((setting) => setting.key).join(", ")}`;
}

function textScalar(text: string, origin: Origin): SourceScalar {
  return { type: "scalar", origin, value: text, found: quote(text) };
}

/** Text from outside a file: the key's kind says how it is to be read. */
function fromText(setting: Setting, text: string, origin: Origin): Source {
  switch (setting.kind) {
    case "text list":
    case "address list": {
      const parts = text.trim() === "" ? [] : text.split(",").map((part) => part.trim());
      return { type: "list", origin, items: parts.map((part) => textScalar(part, origin)) };
    }
    case "integer": {
      const value = /^-?\d{1,16}$/.test(text) ? Number(text) : text;
      return { type: "scalar", origin, value, found: quote(text) };
    }
    case "boolean": {
      const value = text === "true" ? true : text === "false" ? false : text;
      return { type: "scalar", origin, value, found: quote(text) };
    }
    default:
      return textScalar(text, origin);
  }
}

/** Reads the options of `mod.ts`: plain objects in the shape of the file. */
export function optionsLayer(options: unknown): SourceTable {
  const source = fromValue(options, [], { layer: "options" });
  return source.type === "table" ? source : emptyTable(source.origin);
}

/** The schema is three levels deep; the bound ends cycles. */
const optionsDepthMax = 8;

function fromValue(value: unknown, path: readonly string[], origin: Origin): Source {
  if (path.length < optionsDepthMax && Array.isArray(value)) {
    return {
      type: "list",
      origin,
      items: value.map((item) => fromValue(item, [...path, ""], origin)),
    };
  }
  if (path.length < optionsDepthMax && isPlainObject(value)) {
    const table = emptyTable(origin);
    for (const [key, item] of Object.entries(value)) {
      // As everywhere in JavaScript, an undefined property is one that is not given.
      if (item === undefined) continue;
      table.entries.set(key, { keyOrigin: origin, value: fromValue(item, [...path, key], origin) });
    }
    return table;
  }
  const kind = settingsByPath.get(path.join("."))?.kind;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
    // Only here may a number stand for milliseconds or bytes: the types say the unit.
    const unit = kind === "duration" ? "ms" : kind === "size" ? "B" : "";
    if (unit !== "") {
      return { type: "scalar", origin, value: `${value}${unit}`, found: String(value) };
    }
  }
  return { type: "scalar", origin, value, found: describeValue(value) };
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function describeValue(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (typeof value === "object" && value !== null) return "an object of another kind";
  return typeof value === "function" ? "a function" : String(value);
}
