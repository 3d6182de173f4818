/** One version everywhere: of covey itself, and of each package that is named in more places. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { version } from "../src/version.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const readObject = (path: string) => JSON.parse(read(path));

const packageFile: {
  version: string;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
} = readObject("package.json");
const pins = { ...packageFile.dependencies, ...packageFile.devDependencies };
const paths: Record<string, string[]> = readObject("tsconfig.json").compilerOptions.paths;

/** `npm:@scope/name@1.2.3/sub` where it is imported or referenced, not where it is talked about. */
const inline =
  /(?:\bfrom\s*|\bimport\s*\(?\s*|types=)["'](npm:((?:@[\w.-]+\/)?[\w.-]+)@([^/"']+)(\/[^"']*)?)["']/g;

function sourceFiles(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory()) return sourceFiles(`${folder}${entry.name}/`);
    return /\.tsx?$/.test(entry.name) ? [`${folder}${entry.name}`] : [];
  });
}

function allSources(): string[] {
  const folders = ["src/", "test/", "scripts/", "bench/"].flatMap(sourceFiles);
  return existsSync(join(root, "mod.ts")) ? ["mod.ts", ...folders] : folders;
}

test("covey has one version", () => {
  assert.match(version, /^\d+\.\d+\.\d+$/);
  assert.equal(packageFile.version, version, "package.json");
  assert.equal(readObject("deno.json").version, version, "deno.json");
  const lock = readObject("package-lock.json");
  assert.equal(lock.version, version, "package-lock.json");
  assert.equal(lock.packages[""].version, version, "package-lock.json, the root package");
});

test("package.json pins exactly, and the lock agrees", () => {
  const { packages } = readObject("package-lock.json");
  for (const [name, pin] of Object.entries(pins)) {
    assert.match(pin, /^\d+\.\d+\.\d+$/, `${name} needs an exact version`);
    assert.equal(packages[`node_modules/${name}`].version, pin, `${name} in package-lock.json`);
  }
});

test("inline specifiers are those of package.json, and Bun can map them", () => {
  for (const file of allSources()) {
    for (const [, specifier, name, pin] of read(file).matchAll(inline)) {
      assert.equal(pin, pins[name], `${file} names ${specifier}`);
      // Types that Bun brings along are the one thing that is referenced and not imported.
      if (name === "bun-types") continue;
      assert.ok(paths[specifier] !== undefined, `${specifier} of ${file} is not in tsconfig.json`);
    }
  }
});

test("tsconfig.json maps pinned versions to files that exist", () => {
  for (const [specifier, targets] of Object.entries(paths)) {
    const match = new RegExp(inline.source).exec(`from "${specifier}"`);
    assert.ok(match !== null, `${specifier} is not an npm: specifier`);
    assert.equal(match[3], pins[match[2]], `${specifier} in tsconfig.json`);
    for (const target of targets) {
      assert.ok(existsSync(join(root, target)), `${target} of ${specifier} does not exist`);
    }
  }
});
