/** What code may not name: effects outside the seam, and in a core everything that is not a value. */
import { lineAt, matches, type Offence, type SourceFile } from "./source.ts";

interface Ban {
  /** The global's name, or a dotted one. */
  readonly name: string;
  readonly instead: string;
}

/** Effects that only the runtimes behind the port may have. */
const effects: readonly Ban[] = [
  { name: "Date", instead: "Clock.wallMs() or Clock.monotonicMs()" },
  { name: "performance", instead: "Clock.monotonicMs()" },
  { name: "setTimeout", instead: "Clock.timer()" },
  { name: "setInterval", instead: "Clock.timer()" },
  { name: "setImmediate", instead: "Clock.timer()" },
  { name: "clearTimeout", instead: "Timer.cancel()" },
  { name: "clearInterval", instead: "Timer.cancel()" },
  { name: "AbortSignal.timeout", instead: "an AbortController and Clock.timer()" },
  { name: "Math.random", instead: "Random.fill(), or a seeded prng of src/base/prng.ts" },
  { name: "crypto", instead: "Random.fill(); hashes and keys belong to src/security" },
  { name: "console", instead: "Host.stdout(), or the logger that node.ts hands down" },
  { name: "fetch", instead: "Http.fetch()" },
  { name: "WebSocket", instead: "Http.webSocket()" },
  { name: "EventSource", instead: "Http.fetch()" },
  { name: "process", instead: "Host" },
  { name: "Bun", instead: "the port, src/runtime/port.ts" },
  { name: "Deno", instead: "the port, src/runtime/port.ts" },
  { name: "localStorage", instead: "Disk" },
  { name: "Worker", instead: "Host.spawn(), or sliced work" },
];

const sleeps = /\b(?:Bun\.sleep(?:Sync)?|Atomics\.wait)\b/g;

/** The same on both engines, bit by bit; `log`, `exp`, `sin` and `hypot` are not (tried). */
const mathAllowed = new Set(
  [
    "abs",
    "floor",
    "ceil",
    "trunc",
    "round",
    "min",
    "max",
    "sign",
    "imul",
    "clz32",
    "fround",
    "sqrt",
  ],
);

const locale = /\.(?:toLocale\w+|localeCompare)\b|(?<![\w$.])Intl\b|\.(?:normalize)\s*\(\s*\)/g;

function isCore(path: string): boolean {
  return path.startsWith("src/base/") || /^src\/[^/]+\/core\//.test(path);
}

/** Whether the file gives the name a meaning of its own: a variable, parameter, field or import. */
function bindsName(code: string, name: string): boolean {
  return new RegExp(
    `(?:\\b(?:const|let|var|function|class|interface|type)\\s+${name}\\b)` +
      `|(?:\\bimport\\b[^;"']*[{,\\s]${name}\\b)` +
      `|(?:[({,]\\s*(?:readonly\\s+|\\.\\.\\.)?${name}\\s*(?:\\??:|[,)}]|=>|=))`,
  ).test(code);
}

/** Whether `name(…)` at this offset declares a method rather than calling the global. */
function declaresMethod(code: string, offset: number, length: number): boolean {
  if (!/^\s*\(/.test(code.slice(offset + length))) return false;
  if (
    !/(?:^|[{};,*)\]]|\b(?:async|static|readonly|get|set|override))\s*$/.test(code.slice(0, offset))
  ) {
    return false;
  }
  let at = code.indexOf("(", offset);
  for (let depth = 0; at < code.length; at++) {
    if (code[at] === "(") depth++;
    else if (code[at] === ")" && --depth === 0) break;
  }
  return /^\s*[:{]/.test(code.slice(at + 1));
}

/** Lines that mention a global by name, not as a property, a key or something of the file's own. */
function mentions({ code }: SourceFile, name: string): number[] {
  const [first = name] = name.split(".");
  const pattern = new RegExp(
    `(?<![\\w$.#])${name.replace(".", "\\s*\\.\\s*")}\\b(?!\\s*\\??:\\s)`,
    "g",
  );
  const found = [...code.matchAll(pattern)].filter((match) =>
    !declaresMethod(code, match.index, match[0].length)
  );
  if (found.length === 0 || bindsName(code, first)) return [];
  return found.map((match) => lineAt(code, match.index));
}

/** Files that are the seam itself: there the platform is the point. */
const behindTheSeam = /^src\/runtime\/(?!port\.ts$|sim\/)/;

/** Effects named anywhere in the product but behind the seam. */
export function effectsOutsideTheSeam(files: readonly SourceFile[]): Offence[] {
  const offences: Offence[] = [];
  for (const file of files) {
    if (!file.path.startsWith("src/") && file.path !== "mod.ts") continue;
    if (behindTheSeam.test(file.path) || file.path.startsWith("src/gen/")) continue;
    const say = (line: number, message: string): void => {
      offences.push({ path: file.path, line, rule: "effects", message });
    };
    for (const { name, instead } of effects) {
      for (const line of mentions(file, name)) say(line, `${name} is banned: use ${instead}`);
    }
    for (const [text, line] of matches(file, sleeps)) say(line, `${text} is banned: Clock.timer()`);
    for (const one of file.imports) {
      if (/^(?:node:)?timers(?:\/|$)/.test(one.specifier)) {
        say(one.line, `${one.specifier} is banned: use Clock.timer()`);
      }
    }
  }
  return offences;
}

/** What base and every core must not name on top: they are values in, values out. */
export function corePurity(files: readonly SourceFile[]): Offence[] {
  const offences: Offence[] = [];
  for (const file of files) {
    const core = isCore(file.path);
    const deterministic = core || file.path.startsWith("src/runtime/sim/");
    if (!deterministic) continue;
    const say = (line: number, message: string): void => {
      offences.push({ path: file.path, line, rule: "purity", message });
    };
    for (const [text, line] of matches(file, /(?<![\w$.])Math\s*\.\s*\w+/g)) {
      const name = text.replace(/^Math\s*\.\s*/, "");
      if (name === "random" || mathAllowed.has(name)) continue;
      say(line, `Math.${name} differs between engines: use ${[...mathAllowed].join(", ")}`);
    }
    for (const [text, line] of matches(file, locale)) {
      say(line, `${text} depends on the locale: compare and format by code units`);
    }
    if (!core) continue;
    for (const [text, line] of matches(file, /(?<![\w$.#])(?:async|await)\b(?!\s*[:?])/g)) {
      say(line, `${text} is banned: a step runs to completion and returns what to do`);
    }
    for (const one of file.imports) {
      if (/^(?:node|bun):/.test(one.specifier)) {
        say(one.line, `${one.specifier} is banned: effects go through a driver and the port`);
      }
    }
  }
  return offences;
}
