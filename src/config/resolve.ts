/**
 * From layers to a configuration: each layer is judged by itself, so that a mistake does not hide
 * behind a stronger layer; then they are merged, and the whole is judged by the rules between keys.
 * This is the module that loads Zod.
 */
import type { Runtime } from "../runtime/port.ts";
import {
  environmentLayer,
  flagLayer,
  type FlagSetting,
  keyHelp,
  optionsLayer,
  variablePrefix,
} from "./layers.ts";
import { ConfigError, formatPath, type Origin, type Path, type Problem, quote } from "./problem.ts";
import { requestBytesThatFit } from "./cluster_rules.ts";
import {
  checkRules,
  checkRuntime,
  connectionsThatFit,
  type RuleProblem,
  warningsFor,
} from "./rules.ts";
import { keysSchema } from "./schema.ts";
import { sections, settings, settingsByPath } from "./settings.ts";
import { describe, emptyTable, lookUp, merge, originAt, put, toPlain } from "./tree.ts";
import type { Source, SourceTable } from "./tree.ts";
import type { Config } from "./types.ts";

/** Everything that a configuration is made of. */
export interface Layers {
  readonly file?: SourceTable;
  readonly options?: unknown;
  /** Whether to read `COVEY_` variables. */
  readonly environment: boolean;
  readonly flags: readonly FlagSetting[];
  readonly dev: boolean;
}

/** A good configuration, and where each of its values came from. */
export interface Resolved {
  readonly config: Config;
  /** By key, `rpc.message_bytes_max`; every key that has a value is there. */
  readonly origins: ReadonlyMap<string, Origin>;
  /** For people, at every start. */
  readonly warnings: readonly string[];
}

/** More than this many problems help nobody. */
const problemsMax = 50;

/** Merges and checks; throws a {@link ConfigError} with all problems of the layers. */
export function resolve(
  runtime: Pick<Runtime, "name" | "version" | "features" | "host">,
  layers: Layers,
): Resolved {
  const trees: SourceTable[] = [];
  const problems: Problem[] = [];
  const add = (tree: SourceTable, found: readonly Problem[]): void => {
    trees.push(tree);
    problems.push(...found, ...judge(tree));
  };
  if (layers.file !== undefined) add(layers.file, []);
  if (layers.environment) {
    const { host } = runtime;
    const layer = environmentLayer(
      host.environmentNames(variablePrefix),
      (name) => host.environment(name),
    );
    add(layer.tree, layer.problems);
  }
  if (layers.flags.length > 0) {
    const layer = flagLayer(layers.flags);
    add(layer.tree, layer.problems);
  }
  if (layers.options !== undefined) add(optionsLayer(layers.options), []);
  if (layers.dev) add(devLayer(), []);
  if (problems.length > 0) throw new ConfigError(shortened(problems));

  const merged = trees.reduce(merge, emptyTable({ layer: "default" }));
  const result = keysSchema.safeParse(toPlain(merged), { jitless: true });
  if (!result.success) throw new ConfigError(shortened(problemsOf(result.error.issues, merged)));
  return finish(runtime, result.data, merged, layers.dev);
}

function devLayer(): SourceTable {
  const origin: Origin = { layer: "flag", flag: "--dev" };
  const tree = emptyTable(origin);
  put(tree, ["node", "memory_only"], { type: "scalar", origin, value: true, found: "true" });
  return tree;
}

/** The problems of one layer's keys and values, in the order of its lines. */
function judge(tree: SourceTable): Problem[] {
  // Without compiled checks: a schema that is used twice is not worth generating code for.
  const result = keysSchema.safeParse(toPlain(tree), { jitless: true });
  return result.success ? [] : problemsOf(result.error.issues, tree);
}

interface Issue {
  readonly code?: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
  readonly params?: { readonly whole?: boolean };
}

function problemsOf(issues: readonly unknown[], tree: SourceTable): Problem[] {
  const problems: Problem[] = [];
  const seen = new Set<string>();
  for (const issue of issues as readonly Issue[]) {
    const path = issue.path as Path;
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys ?? []) problems.push(unknownKey(tree, path, key));
      continue;
    }
    // One value, one problem: what else Zod finds in it follows from the first.
    const place = JSON.stringify(path);
    if (seen.has(place)) continue;
    seen.add(place);
    problems.push(badValue(tree, path, issue));
  }
  return problems.sort((a, b) => line(a.origin) - line(b.origin));
}

function line(origin: Origin): number {
  return origin.layer === "file" ? (origin.line ?? 0) * 100_000 + (origin.column ?? 0) : 0;
}

function unknownKey(tree: SourceTable, path: Path, key: string): Problem {
  const table = lookUp(tree, path);
  const entry = table?.type === "table" ? table.entries.get(key) : undefined;
  const dotted = formatPath([...path, key]);
  const inside = path.length === 0 ? "" : ` in [${formatPath(path)}]`;
  const what = path.length === 0 && entry?.value.type === "table" ? "section" : "key";
  return {
    origin: entry?.keyOrigin ?? originAt(tree, path),
    key: dotted,
    message: `unknown ${what} ${quote(key)}${inside}; ${keyHelp([...path, key].join("."))}`,
  };
}

/** The first problem of each value, in the order of a file's lines. */
function ruleProblems(broken: readonly RuleProblem[], tree: SourceTable): Problem[] {
  const problems = new Map<string, Problem>();
  for (const rule of broken) {
    const written = rule.unlessWritten === undefined || lookUp(tree, rule.path) !== undefined;
    const { path, message } = written ? rule : rule.unlessWritten;
    const key = formatPath(path);
    if (!problems.has(key)) problems.set(key, { origin: originAt(tree, path), key, message });
  }
  return [...problems.values()].sort((a, b) => line(a.origin) - line(b.origin));
}

function badValue(tree: SourceTable, path: Path, issue: Issue): Problem {
  const origin = originAt(tree, path);
  const key = formatPath(path);
  if (issue.params?.whole === true) return { origin, key, message: issue.message };
  const source = lookUp(tree, path);
  const found = source === undefined ? "nothing" : describe(source);
  const reason = issue.code === "custom" ? issue.message : quoted(source, path);
  const why = reason === undefined ? "" : `, ${reason}`;
  return { origin, key, message: `found ${found}${why}; allowed: ${allowedAt(path, source)}` };
}

/** `"true"` and `"5"` look right to whoever wrote them. */
function quoted(source: Source | undefined, path: Path): string | undefined {
  const kind = settingsByPath.get(path.join("."))?.kind;
  const isText = source?.type === "scalar" && typeof source.value === "string" &&
    (source.origin.layer === "file" || source.origin.layer === "options");
  return isText && (kind === "integer" || kind === "boolean") ? "which is text" : undefined;
}

function allowedAt(path: Path, source: Source | undefined): string {
  const setting = settingsByPath.get(path.slice(0, 2).join("."));
  if (setting !== undefined) {
    if (path.length > 2) return setting.itemAllowed ?? setting.allowed;
    let example = "";
    if (setting.kind === "size" || setting.kind === "duration") {
      example = `, such as ${JSON.stringify(setting.example)}`;
    } else if (setting.itemAllowed !== undefined && source?.type === "scalar") {
      // One text where a list of texts belongs.
      if (typeof source.value === "string") example = `, such as [${source.found}]`;
    }
    return `${setting.allowed}${example}`;
  }
  const section = sections.find(({ name }) => name === path[0]);
  return section === undefined
    ? `a table with the sections ${sections.map(({ name }) => name).join(", ")}`
    : `a table with the keys ${section.settings.map((setting) => setting.key).join(", ")}`;
}

function shortened(problems: readonly Problem[]): readonly Problem[] {
  if (problems.length <= problemsMax) return problems;
  const rest: Problem = {
    origin: problems[problemsMax].origin,
    key: "",
    message: `${problems.length - problemsMax} more problems follow; mend these first`,
  };
  return [...problems.slice(0, problemsMax), rest];
}

/** Fills in what only this machine knows, and refuses what it cannot honour. */
function finish(
  runtime: Pick<Runtime, "name" | "version" | "features" | "host">,
  parsed: Config,
  tree: SourceTable,
  dev: boolean,
): Resolved {
  const origins = new Map<string, Origin>();
  for (const setting of settings) {
    const source = lookUp(tree, [setting.section, setting.key]);
    if (source !== undefined) origins.set(setting.path, source.origin);
    else if (setting.default !== undefined) origins.set(setting.path, { layer: "default" });
  }
  const kv = { ...parsed.kv };
  const requestBytesMax = requestBytesThatFit(parsed);
  if (
    kv.request_bytes_max > requestBytesMax &&
    origins.get("kv.request_bytes_max")?.layer === "default"
  ) {
    kv.request_bytes_max = requestBytesMax;
    const note = "lowered to fit rpc.message_bytes_max and raft.uncommitted_bytes_max";
    origins.set("kv.request_bytes_max", { layer: "default", note });
  }
  // What cannot be here comes first: of what else is wrong with such a value nothing follows.
  const broken: RuleProblem[] = [
    ...checkRuntime(parsed, runtime),
    ...checkRules({ ...parsed, kv }, dev),
  ];
  const fit = connectionsThatFit(runtime.host);
  const rpc = { ...parsed.rpc };
  for (const key of ["connections_max", "connections_per_listener_max"] as const) {
    const value = parsed.rpc[key];
    if (value <= fit) continue;
    const path = `rpc.${key}`;
    const limit = `the limit of ${runtime.host.descriptorsMax} open descriptors`;
    if (origins.get(path)?.layer === "default") {
      rpc[key] = fit;
      origins.set(path, { layer: "default", note: `lowered to fit ${limit}` });
    } else {
      const message = `found ${value}, which does not fit ${limit} (ulimit -n); allowed here: ` +
        `1 to ${fit}`;
      broken.push({ path: ["rpc", key], message });
    }
  }

  let name = parsed.node.name;
  if (name === "") {
    name = runtime.host.hostname;
    origins.set("node.name", { layer: "default", note: "host name" });
    if (!keysSchema.safeParse({ node: { name } }, { jitless: true }).success || name === "") {
      const allowed = settingsByPath.get("node.name")?.allowed;
      const message = `found the host name ${quote(name)}, which cannot serve as a node's name; ` +
        `set node.name; allowed: ${allowed}`;
      broken.push({ path: ["node", "name"], message });
    }
  }
  if (broken.length > 0) throw new ConfigError(shortened(ruleProblems(broken, tree)));
  const config: Config = { ...parsed, node: { ...parsed.node, name }, rpc, kv };
  return { config, origins, warnings: warningsFor(config) };
}
