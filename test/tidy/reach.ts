/** Files that nothing reaches are dead; what only tests reach is named with its reason. */
import { type Offence, resolveFrom, type SourceFile } from "./source.ts";

export interface Roots {
  /** The product begins here. */
  readonly product: readonly string[];
  /** Folders that only tests and tools reach, ending in "/", or files; each with its reason. */
  readonly testOnly: Readonly<Record<string, string>>;
}

/** Paths that a file names: imports, and `new URL("./x", import.meta.url)`. */
function named(file: SourceFile): string[] {
  const paths = file.imports.filter((one) => one.specifier.startsWith("."))
    .map((one) => one.specifier);
  for (const match of file.text.matchAll(/new URL\(\s*"(\.[^"]+)",\s*import\.meta\.url/g)) {
    paths.push(match[1] as string);
  }
  return paths.map((path) => resolveFrom(file.path, path));
}

function reach(files: ReadonlyMap<string, SourceFile>, from: Iterable<string>): Set<string> {
  const seen = new Set<string>();
  const queue = [...from];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const file = files.get(path);
    if (file !== undefined) queue.push(...named(file));
  }
  return seen;
}

/**
 * `others` are paths that are not TypeScript but may be imported, pages and the like. Reached means
 * by import: a file that is only started by its path is a root.
 */
export function deadFiles(
  files: readonly SourceFile[],
  others: readonly string[],
  roots: Roots,
): Offence[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const tests = reach(
    byPath,
    files.map((file) => file.path).filter((path) =>
      path.endsWith(".test.ts") || path.startsWith("scripts/") || path.startsWith("bench/") ||
      /^test\/[^/]+\/preload\.ts$/.test(path)
    ),
  );
  const allowed = Object.keys(roots.testOnly);
  const covers = (one: string, path: string): boolean =>
    one.endsWith("/") ? path.startsWith(one) : path === one;
  const isAllowed = (path: string): boolean => allowed.some((one) => covers(one, path));
  const product = reach(byPath, roots.product);
  // What an allowed file needs is as good as that file.
  const excused = reach(byPath, [...byPath.keys()].filter((path) => isAllowed(path)));
  const offences: Offence[] = [];
  const say = (path: string, message: string): void => {
    offences.push({ path, line: 0, rule: "dead", message });
  };
  for (const path of [...byPath.keys(), ...others]) {
    if (path.startsWith("src/")) {
      if (product.has(path)) continue;
      if (!tests.has(path)) say(path, `nothing reaches it from ${roots.product.join(" or ")}`);
      else if (!excused.has(path)) {
        say(
          path,
          "only tests reach it: use it, move it to test/, or give the reason in exceptions.ts",
        );
      }
    } else if (path.startsWith("test/") && path.endsWith(".ts")) {
      if (!tests.has(path) && !excused.has(path)) say(path, "no test imports it");
    }
  }
  for (const one of allowed) {
    const needed = [...byPath.keys()].some((path) => covers(one, path) && !product.has(path));
    if (!needed) {
      say(
        one,
        "the allowance for tests alone is not needed any more: take it out of exceptions.ts",
      );
    }
  }
  return offences;
}
