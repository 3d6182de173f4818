/** The command line as a process: the entry, the exit codes, the streams. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { version } from "../../src/version.ts";
import { runCli, spawnCli } from "../support/cli.ts";

test("version", async () => {
  const { code, stdout, stderr } = await runCli(["version", "--json"]);
  assert.equal(stderr, "");
  assert.equal(code, 0);
  const shown = JSON.parse(stdout);
  assert.equal(shown.version, version);
  assert.equal(shown.runtime, "Deno" in globalThis ? "deno" : "bun");
});

test("a mistake on the command line exits 2", async () => {
  const { code, stdout, stderr } = await runCli(["agnet"]);
  assert.match(stderr, /^covey: there is no command "agnet"; did you mean agent\?\n/);
  assert.equal(stdout, "");
  assert.equal(code, 2);
});

test("config: init writes a file that check accepts; a broken one exits 3", async () => {
  const directory = mkdtempSync(join(tmpdir(), "covey-cli-"));
  try {
    const written = await runCli(["config", "init", "covey.toml"], { directory });
    assert.equal(written.code, 0, written.stderr);
    const check = ["config", "check", "--config", "covey.toml"];
    assert.equal((await runCli(check, { directory })).stdout, "covey.toml: ok\n");
    const again = await runCli(["config", "init", "covey.toml"], { directory });
    assert.equal(again.code, 2);

    const file = join(directory, "covey.toml");
    writeFileSync(file, readFileSync(file, "utf8").replace(/^\[log\]$/m, '[log]\nlevle = "info"'));
    const broken = await runCli(check, { directory, environment: { COVEY_LOG__FORMAT: "loud" } });
    assert.equal(broken.code, 3);
    assert.equal(broken.stdout, "");
    const lines = broken.stderr.trimEnd().split("\n");
    assert.match(lines[0], /^covey\.toml:\d+:1: log\.levle: unknown key "levle" in \[log\]; /);
    assert.match(lines[1], /^COVEY_LOG__FORMAT: log\.format: found "loud"; allowed: /);
    assert.equal(lines.length, 2);
    const agent = await runCli(["agent", "--config", "covey.toml"], { directory });
    assert.equal(agent.code, 3);

    const folder = await runCli(["config", "check", "--config", "."], { directory });
    assert.deepEqual([folder.code, folder.stderr], [
      3,
      ".: this is a folder; name the file in it\n",
    ]);
    const missing = await runCli(["config", "check", "--config", "no.toml"], { directory });
    assert.match(missing.stderr, /^no\.toml: there is no such file; /);
    writeFileSync(file, "#".repeat(1024 * 1024 + 1));
    const large = await runCli(check, { directory });
    assert.match(large.stderr, /^covey\.toml: the file is larger than 1MiB/);
    assert.equal(large.code, 3);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a reader that goes away ends the command without a word", async () => {
  const child = spawnCli(["config", "schema"]);
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => stderr += text);
  child.stdout?.destroy();
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  assert.equal(stderr, "");
  // Some pipes take all of it before anybody notices.
  assert.ok(code === 0 || code === 1, `exit code ${code}`);
});
