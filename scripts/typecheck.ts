/**
 * Checks every file with TypeScript's own compiler, next to Deno's built-in older one. tsc knows
 * neither inline `npm:` specifiers nor the globals of Bun and Deno, so this writes a configuration
 * that tells it, below node_modules/.cache: for each specifier of tsconfig.json the declarations
 * that the package's own `exports` name, Bun's types under the name by which the sources refer to
 * them, and Deno's as `deno types` prints them.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

function readJson(path: string): { [key: string]: Json } {
  return JSON.parse(readFileSync(path, "utf8"));
}

const isDeclaration = (path: string): boolean => /\.d\.[cm]?ts$/.test(path);

/** The declarations that an importing module gets for one entry of `exports`. */
function declarationOf(entry: Json | undefined): string | undefined {
  if (typeof entry === "string") return isDeclaration(entry) ? entry : undefined;
  if (entry === null || typeof entry !== "object") return undefined;
  if (Array.isArray(entry)) {
    for (const one of entry) {
      const found = declarationOf(one);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  for (const [condition, value] of Object.entries(entry)) {
    if (!["types", "import", "module", "node", "default", "require"].includes(condition)) continue;
    const found = declarationOf(value);
    if (found !== undefined) return found;
  }
  return undefined;
}

const specifierPattern = /^npm:(@[^/]+\/[^@/]+|[^@/]+)@([^/]+)(\/.+)?$/;

/** Where the types of an `npm:name@version/subpath` are; `entry` is the file that Bun loads. */
function typesOf(specifier: string, entry: string): string {
  const match = specifierPattern.exec(specifier);
  if (match === null) throw new Error(`tsconfig.json: ${specifier} is not npm:name@version`);
  const [, name, , subpath = ""] = match;
  const folder = `node_modules/${name}`;
  const manifest = readJson(`${folder}/package.json`);
  const exports = manifest["exports"];
  let found: string | undefined;
  if (exports !== undefined && exports !== null && typeof exports === "object") {
    const whole = subpath === "" && !Object.keys(exports).some((key) => key.startsWith("."));
    found = declarationOf(whole ? exports : (exports as { [key: string]: Json })[`.${subpath}`]);
  }
  if (found === undefined && subpath === "") {
    const types = manifest["types"] ?? manifest["typings"];
    if (typeof types === "string") found = types;
  }
  if (found !== undefined) return join(folder, found);
  const beside = entry.replace(/\.([cm]?)js$/, ".d.$1ts");
  for (const candidate of [beside, entry.replace(/\.[cm]?js$/, ".d.ts")]) {
    if (existsSync(candidate)) return candidate;
  }
  throw new Error(
    `${specifier}: no type declarations beside ${entry} or in ${folder}/package.json`,
  );
}

/**
 * Writes the configuration and returns its path. `denoTypes` is what `deno types` printed;
 * `standIns` are the bare specifiers of deno.json with the files that stand in for them.
 */
export function writeCheckConfiguration(
  denoTypes: string,
  standIns: Readonly<Record<string, string>>,
): string {
  const folder = "node_modules/.cache/covey/typecheck";
  const up = relative(folder, ".");
  const base = readJson("tsconfig.json")["compilerOptions"] as { paths: Record<string, string[]> };
  const paths: Record<string, string[]> = {};
  for (const [specifier, entries] of Object.entries(base.paths)) {
    const entry = entries[0];
    if (entry === undefined) throw new Error(`tsconfig.json: ${specifier} has no path`);
    paths[specifier] = [join(up, typesOf(specifier, entry))];
  }
  for (const [specifier, file] of Object.entries(standIns)) paths[specifier] = [join(up, file)];
  const bunTypes = `npm:bun-types@${readJson("node_modules/bun-types/package.json")["version"]}`;
  mkdirSync(`${folder}/types/${bunTypes}`, { recursive: true });
  writeFileSync(
    `${folder}/types/${bunTypes}/index.d.ts`,
    `/// <reference path="${
      relative(`${folder}/types/${bunTypes}`, "node_modules/bun-types")
    }/index.d.ts" />\n`,
  );
  writeFileSync(`${folder}/deno.d.ts`, denoTypes);
  const path = `${folder}/tsconfig.json`;
  writeFileSync(
    path,
    JSON.stringify(
      {
        extends: `${up}/scripts/tsconfig.check.json`,
        compilerOptions: { paths, typeRoots: ["./types"], types: [bunTypes] },
        files: ["./deno.d.ts"],
      },
      undefined,
      2,
    ),
  );
  return path;
}
