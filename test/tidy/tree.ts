/** Reads the checkout for the tidy rules: what is committed, and what would be. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CommittedFile } from "./committed.ts";
import { readSource, type SourceFile } from "./source.ts";

export const root: string = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** What .gitignore leaves out, for a copy without a .git. */
const ignored = new Set([".git", "node_modules", "dist", "coverage"]);

function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (ignored.has(entry.name) || entry.name.endsWith(".tmp")) return [];
    return entry.isDirectory() ? walk(path) : [path];
  });
}

/** Paths of committed files and of new ones that are not ignored, sorted. */
export function listFiles(): string[] {
  let paths: string[];
  try {
    const listed = execFileSync(
      "git",
      ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
      { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
    );
    paths = listed.split("\0").filter((path) => path !== "");
  } catch {
    // No git, or no repository: a copy of the tree has the same files.
    paths = walk("");
  }
  return paths.filter((path) => existsSync(join(root, path))).sort();
}

/** One file as the committed rules see it. */
export function readCommitted(path: string): CommittedFile {
  const bytes = readFileSync(join(root, path));
  const binary = bytes.includes(0);
  return {
    path,
    sizeBytes: statSync(join(root, path)).size,
    text: binary ? undefined : bytes.toString("utf8"),
  };
}

/** All TypeScript of the checkout. */
export function readSources(paths: readonly string[]): SourceFile[] {
  return paths.filter((path) => /\.tsx?$/.test(path))
    .map((path) => readSource(path, readFileSync(join(root, path), "utf8")));
}
