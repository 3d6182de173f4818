/** What comes with the package: licence, changelog, the documented commands, tools' files. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const manifest = JSON.parse(read("package.json"));

test("LICENSE is the Apache License 2.0, word by word", () => {
  // What apache.org publishes, without regard to blanks and line ends.
  const words = read("LICENSE").split(/\s+/).filter((word) => word !== "").join(" ");
  assert.match(words, /^Apache License Version 2\.0, January 2004 http:\/\/www\.apache\.org/);
  assert.equal(
    createHash("sha256").update(words).digest("hex"),
    "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645",
  );
  assert.equal(manifest.license, "Apache-2.0");
  assert.equal(JSON.parse(read("deno.json")).license, "Apache-2.0");
});

test("CHANGELOG names this version first, and each version opens with Safety", () => {
  const versions = read("CHANGELOG.md").split(/^## /m).slice(1);
  assert.ok(versions.length > 0);
  assert.ok(versions[0]?.startsWith(`${manifest.version}`), versions[0]?.split("\n")[0]);
  for (const version of versions) {
    const sections = [...version.matchAll(/^### (.+)$/gm)].map((match) => match[1]);
    assert.deepEqual(sections, ["Safety", "Features", "Internals"]);
  }
});

test("each line of bunfig.toml and .npmrc stands below its reason", () => {
  for (const path of ["bunfig.toml", ".npmrc"]) {
    let reason = false;
    for (const line of read(path).split("\n")) {
      if (line.startsWith("#")) reason = true;
      else if (line !== "" && !line.startsWith("[")) {
        assert.ok(reason, `${path}: ${line}`);
        reason = false;
      }
    }
  }
});

test("npm test runs the test command, and the scripts can be started", () => {
  assert.equal(manifest.scripts.test, "sh scripts/test.sh");
  const scripts = readdirSync(join(root, "scripts")).filter((name) => name.endsWith(".sh"))
    .map((name) => `scripts/${name}`);
  for (const path of [...scripts, "compile.sh"]) {
    const syntax = spawnSync("sh", ["-n", join(root, path)], { encoding: "utf8" });
    assert.equal(syntax.status, 0, `${path}: ${syntax.stderr}`);
  }
  for (const path of ["compile.sh", "scripts/test.sh", "scripts/smoke.sh", "scripts/generate.sh"]) {
    assert.ok((statSync(join(root, path)).mode & 0o111) !== 0, `${path} is executable`);
    assert.match(read(path), /^#!\/bin\/sh\n/, `${path} needs no more than a plain shell`);
  }
});

test("compile.sh refuses what it does not know with exit code 2 and one line", () => {
  const cases: [string[], RegExp][] = [
    [["--fast"], /--fast is not an option/],
    [["--target"], /--target needs a name/],
    [["--target", "linux-arm"], /linux-arm is not a target: linux-x64 linux-arm64/],
    [["--target", "windows-x64"], /not a target/],
    [["--all", "x"], /nothing after it/],
    [["--target=linux-x64", "x"], /left over: x/],
  ];
  for (const [args, message] of cases) {
    const end = spawnSync("sh", [join(root, "compile.sh"), ...args], { encoding: "utf8" });
    assert.equal(end.status, 2, `${args}: ${end.stderr}`);
    assert.match(end.stderr, message);
    assert.equal(end.stderr.trimEnd().split("\n").length, 1);
  }
  const help = execFileSync("sh", [join(root, "compile.sh"), "--help"], { encoding: "utf8" });
  assert.match(help, /--all/);
});

test("npm test refuses what it does not know with exit code 2", () => {
  for (const args of [["test/nowhere"], ["src"], ["--runtime", "node"], ["test/gen/x.ts"]]) {
    const end = spawnSync("sh", [join(root, "scripts/test.sh"), ...args], { encoding: "utf8" });
    assert.equal(end.status, 2, `${args}: ${end.stdout}${end.stderr}`);
    assert.match(end.stdout, /^npm test: /);
  }
});

test("README shows the two commands as they are, and what they need", () => {
  const blocks = [...read("README.md").matchAll(/^```(?:sh|bash|shell|console)\n([^]*?)^```/gm)]
    .map((match) => match[1]).join("\n").replace(/^\$ /gm, "");
  assert.match(blocks, /^\.\/compile\.sh && \.\/dist\/covey demo$/m);
  assert.match(blocks, /^npm ci && npm test\b/m);
  for (const [, path] of blocks.matchAll(/(?:^|\s)(\.\/[\w./-]+\.sh|scripts\/[\w./-]+)/gm)) {
    if (path !== undefined) assert.ok(statSync(join(root, path)).isFile(), path);
  }
  // What a device must have for each target is written out.
  for (const word of ["glibc", "musl", "libstdc++", "32-bit ARM"]) {
    assert.ok(read("README.md").includes(word), `README says something about ${word}`);
  }
});

test("tsconfig.json is for Bun alone: Deno must not apply its paths, and they name ES modules", () => {
  const tsconfig = JSON.parse(read("tsconfig.json"));
  assert.deepEqual(tsconfig.include, ["none"]);
  for (const [specifier, paths] of Object.entries<string[]>(tsconfig.compilerOptions.paths)) {
    assert.equal(paths.length, 1, specifier);
    const path = paths[0] ?? "";
    assert.ok(statSync(join(root, path)).isFile(), `${specifier}: ${path} is no file`);
  }
});
