/** Who may import whom: the table of the design brief, one row a place. */
import { type Import, type Offence, resolveFrom, type SourceFile } from "./source.ts";

interface Place {
  readonly name: string;
  /** Which files are in it. The first place that matches wins. */
  readonly files: RegExp;
  /** Names of the places whose files it may import; its own are always allowed. */
  readonly may: readonly string[];
  /** Packages, without version. */
  readonly npm?: readonly string[];
  /** `node:` and `bun:` modules; "any" for the two files of the seam that stand on the platform. */
  readonly platform?: "any" | readonly string[];
  /** What to do instead, for people. */
  readonly instead: string;
}

const protobuf = "@bufbuild/protobuf";
/** Synchronous and without effects: what a core may use beside its own. */
const pureLibraries = [protobuf, "msgpackr/pack", "msgpackr/unpack"];
/** The modules that `node.ts` composes. */
const modules = [
  "ttrpc",
  "raft",
  "kv",
  "membership",
  "discovery",
  "dns",
  "routing",
  "cache",
  "autopilot",
  "bus",
  "demux",
  "security",
] as const;
/** What a module may use of other people's code, beside protobuf. */
const moduleLibraries: Readonly<Partial<Record<(typeof modules)[number], readonly string[]>>> = {
  ttrpc: ["@connectrpc/connect"],
  security: ["@peculiar/x509", "reflect-metadata"],
};
const allModules = modules.flatMap((name) => [name, `${name}/core`]);
/** Leaves at the root of src that stand beside node.ts and are handed down by it. */
const rootParts = ["log", "version"];

const handed = "what it needs from elsewhere is handed to it by node.ts";

/** In order: a file belongs to the first place whose pattern it matches. */
export const places: readonly Place[] = [
  { name: "base", files: /^src\/base\//, may: [], instead: "base imports nothing" },
  {
    name: "gen",
    files: /^src\/gen\//,
    may: [],
    npm: [protobuf],
    instead: "generated, never edited",
  },
  ...modules.flatMap((name): Place[] => [
    {
      name: `${name}/core`,
      files: new RegExp(`^src/${name}/core/`),
      may: ["base", "gen"],
      npm: pureLibraries,
      instead: "a core knows base, gen and itself; a driver outside of it does the rest",
    },
    {
      name,
      files: new RegExp(`^src/${name}/`),
      may: ["base", "gen", "port", "ttrpc", `${name}/core`],
      npm: [protobuf, ...(moduleLibraries[name] ?? [])],
      instead: `a module knows its own core, base, gen, the port and ttrpc; ${handed}`,
    },
  ]),
  {
    name: "port",
    files: /^src\/runtime\/port\.ts$/,
    may: ["base"],
    instead: "the port knows base alone",
  },
  ...(["bun", "deno", "sim"] as const).map((name): Place => ({
    name: `runtime/${name}`,
    files: new RegExp(`^src/runtime/${name}(\\.ts$|/)`),
    may: name === "sim" ? ["port", "base"] : ["port", "base", "runtime/parts"],
    ...(name === "sim" ? {} : { platform: "any" as const }),
    ...(name === "bun" ? { npm: ["bun-types"] } : {}),
    instead: "a runtime knows the port, base and its platform",
  })),
  {
    name: "runtime/parts",
    files: /^src\/runtime\/\w+\.ts$/,
    may: ["port", "base"],
    platform: "any",
    instead: "what both runtimes share knows the port, base and the platform",
  },
  {
    name: "config",
    files: /^src\/config\//,
    may: ["base", "port"],
    npm: ["zod", "toml-eslint-parser"],
    instead: "config knows base and the port",
  },
  {
    name: "report",
    files: /^src\/report\//,
    may: ["base", "gen"],
    instead: "a report is an answer of a service as JSON: it knows base and gen",
  },
  {
    name: "admin",
    files: /^src\/admin\//,
    may: ["base", "gen", "config", "port", "report"],
    npm: ["hono", "zod", "@connectrpc/connect", protobuf],
    instead: `admin knows base, gen, config, Hono, Zod and Connect; ${handed}`,
  },
  {
    name: "cli",
    files: /^src\/cli\//,
    may: ["base", "gen", "config", "port", "start", "version", "ttrpc", "kv", "report"],
    npm: ["@stricli/core", protobuf],
    instead: "a command knows config, start.ts and the clients",
  },
  {
    name: "version",
    files: /^src\/version\.ts$/,
    may: [],
    instead: "a constant imports nothing",
  },
  {
    name: "log",
    files: /^src\/log(_text)?\.ts$/,
    may: ["base", "port"],
    npm: ["@logtape/logtape"],
    instead: "the log knows base and the port",
  },
  {
    name: "node",
    files: /^src\/node(\.ts$|\/)/,
    may: ["base", "gen", "port", "config", "admin", ...rootParts, ...allModules],
    npm: [protobuf],
    instead: "node.ts composes the modules and gets its runtime from start.ts",
  },
  {
    name: "start",
    files: /^src\/(start|standalone)\.ts$/,
    may: ["base", "port", "config", "node", "start", "ttrpc", ...rootParts],
    instead: "start.ts reaches bun.ts or deno.ts only by `await import()` after the runtime check",
  },
  {
    name: "main",
    files: /^(mod|src\/main)\.ts$/,
    may: ["any"],
    platform: ["node:process"],
    instead: "",
  },
];

/** Runtimes that start.ts may load, and only dynamically: a static `bun:` import ends Deno. */
const loadable = new Set(["src/runtime/bun.ts", "src/runtime/deno.ts"]);

function placeOf(path: string): Place | undefined {
  return places.find((place) => place.files.test(path));
}

/** "npm:@a/b@1.2.3/c" → "@a/b" and "@a/b/c". */
export function packageOf(specifier: string): { name: string; full: string } | undefined {
  const match = /^npm:(@[^/]+\/[^@/]+|[^@/]+)(?:@[^/]*)?(\/.*)?$/.exec(specifier);
  if (match === null) return undefined;
  const name = match[1] as string;
  return { name, full: `${name}${match[2] ?? ""}` };
}

/** Why this import is not allowed; undefined when it is. */
function judge(file: SourceFile, place: Place, one: Import): string | undefined {
  const { specifier } = one;
  if (place.may.includes("any") && specifier.startsWith(".")) return undefined;
  if (specifier.startsWith(".")) {
    const path = resolveFrom(file.path, specifier);
    const target = placeOf(path);
    if (target === undefined) return `${path} is in no place of the brief's table`;
    if (target.name === place.name || place.may.includes(target.name)) return undefined;
    if (place.name === "start" && loadable.has(path)) {
      return one.dynamic ? undefined : `${path} must be loaded by await import()`;
    }
    return `${place.name} may not import ${target.name} (${path})`;
  }
  if (specifier.startsWith("npm:")) {
    const found = packageOf(specifier);
    const allowed = place.npm ?? [];
    if (found !== undefined && (allowed.includes(found.name) || allowed.includes(found.full))) {
      return undefined;
    }
    return `${place.name} may not use ${specifier}` +
      (allowed.length > 0 ? `, only ${allowed.join(", ")}` : "");
  }
  if (place.platform === "any") return undefined;
  if ((place.platform ?? []).includes(specifier)) return undefined;
  return `${place.name} may not name ${specifier}: platforms are behind src/runtime/port.ts`;
}

/** Every file below src, and mod.ts, against the table. */
export function layout(files: readonly SourceFile[]): Offence[] {
  const offences: Offence[] = [];
  const say = (file: SourceFile, line: number, message: string): void => {
    offences.push({ path: file.path, line, rule: "layout", message });
  };
  for (const file of files) {
    if (!file.path.startsWith("src/") && file.path !== "mod.ts") continue;
    const place = placeOf(file.path);
    if (place === undefined) {
      say(file, 1, "this path is in no place of the brief's table: move it, or add the place");
      continue;
    }
    for (const one of file.imports) {
      const why = judge(file, place, one);
      if (why !== undefined) say(file, one.line, `${why}; ${place.instead}`);
    }
    if (file.path === "mod.ts") {
      const rest = file.code.replace(/\bexport\s+(?:type\s+)?\{[^}]*\}\s*from\s*"\s*"\s*;/g, "");
      const at = rest.search(/\S/);
      if (at >= 0) {
        say(
          file,
          1,
          `mod.ts holds named re-exports and nothing else, found: ${rest.slice(at).split("\n")[0]}`,
        );
      }
    }
  }
  return offences;
}

/** Bytes go through the seam: these modules of Node's are for the files named as exceptions. */
const streamModules =
  /^(?:node:)?(?:net|tls|http|https|http2|dgram|stream|_stream_\w+|_tls_\w+|_http_\w+)(?:\/.*)?$/;

/**
 * Node's sockets, TLS, HTTP and streams in the product and its scripts. Tests and benchmarks may
 * use them: there they are the peer that is not ours.
 */
export function nodeSockets(files: readonly SourceFile[]): Offence[] {
  return files.filter((file) => !/^(?:test|bench)\//.test(file.path)).flatMap((file) =>
    file.imports.filter((one) => streamModules.test(one.specifier)).map((one) => ({
      path: file.path,
      line: one.line,
      rule: "sockets",
      message: `${one.specifier} is banned: use Net and Http of src/runtime/port.ts, or name ` +
        "this file and its reason in test/tidy/exceptions.ts",
    }))
  );
}
