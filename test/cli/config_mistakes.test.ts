/** What the commands around the configuration say to people who make mistakes. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { runCli } from "../../src/cli/run.ts";
import { DiskError, type DiskErrorKind, type Runtime } from "../../src/runtime/port.ts";
import { runCli as runProcess } from "../support/cli.ts";
import { type FakeOptions, fakeRuntime } from "../support/fake_host.ts";
import { inFolder } from "./agent_support.ts";

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function covey(args: readonly string[], options: FakeOptions = {}): Promise<Run> {
  const runtime = fakeRuntime(options);
  const code = await runCli(runtime as unknown as Runtime, args);
  return { code, stdout: runtime.out.join(""), stderr: runtime.notes.join("") };
}

test("flags that make no sense are usage errors", async () => {
  const cases: [string[], string][] = [
    [["--config", ""], "covey: --config is empty; name a file, or leave it out\n"],
    [
      ["--dev", "--data", "/d"],
      "covey: --dev keeps everything in memory, so that --data has no use; give one\n",
    ],
  ];
  for (const [flags, line] of cases) {
    for (const command of [["agent"], ["config", "check"], ["config", "show"]]) {
      assert.deepEqual(await covey([...command, ...flags]), { code: 2, stdout: "", stderr: line });
    }
  }
  // What a file says about the data is no contradiction: --dev is stronger.
  const files = { "c.toml": "[node]\ndata = '/d'\n" };
  const dev = await covey(["config", "check", "--config", "c.toml", "--dev"], { files });
  assert.equal(dev.code, 0, dev.stderr);
});

test("--listen takes commas, as its variable does", async () => {
  const listen = "tcp://127.0.0.1:0,tcp://127.0.0.1:0";
  const { code, stdout } = await covey(["config", "show", "--json", "--listen", listen]);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout).node.listen, listen.split(","));
});

const toml = '[tls]\nmode = "on"\ncertificate_file = "c"\nkey_file = "k"\nauthorities_file = "a"\n';
const pem = "-----BEGIN X-----\n";

test("config check and agent refuse files of [tls] that are not there; config show does not", async () => {
  const files = { "covey.toml": toml, c: pem, a: pem };
  const line =
    'covey.toml:4:12: tls.key_file: found "k", where there is no file; allowed: the path ' +
    "of a PEM file that this process may read";
  for (const command of [["config", "check"], ["agent"]]) {
    const run = await covey([...command, "--config", "covey.toml"], { files });
    assert.deepEqual(run, { code: 3, stdout: "", stderr: `${line}\n` });
  }
  const json = await covey(["config", "check", "--config", "covey.toml", "--json"], { files });
  assert.equal(json.code, 3);
  assert.equal(JSON.parse(json.stdout).key, "tls.key_file");
  assert.equal((await covey(["config", "show", "--config", "covey.toml"], { files })).code, 0);
  const good = await covey(["config", "check", "--config", "covey.toml"], {
    files: { ...files, k: pem },
  });
  assert.equal(good.code, 0, good.stderr);
});

test("config check and agent refuse material and sockets that no node can use", async () => {
  const files = { "covey.toml": toml, c: pem, k: pem, a: pem };
  const tls = {
    problems: [{ part: "key", message: "which holds the key of another certificate" }],
  };
  const long = `/${"x".repeat(110)}`;
  for (const command of [["config", "check"], ["agent"]]) {
    const args = [...command, "--config", "covey.toml"];
    const key = await covey(args, { files, tls: tls as FakeOptions["tls"] });
    assert.deepEqual([key.code, key.stdout], [3, ""]);
    assert.match(
      key.stderr,
      /^covey.toml:4:12: tls.key_file: found "k", which holds the key of ano/,
    );
    const path = await covey([...command, "--data", long]);
    assert.deepEqual([path.code, path.stdout], [3, ""]);
    assert.match(path.stderr, /^--data: node.data: found .* 122 bytes long; allowed: up to 107, /);
  }
});

test("config check says that a certificate has expired, and that it is good all the same", async () => {
  const files = { "covey.toml": toml, c: pem, k: pem, a: pem };
  const options = { files, tls: { problems: [], validity: { notBeforeMs: 0, notAfterMs: 5 } } };
  const args = ["config", "check", "--config", "covey.toml"];
  const run = await covey(args, { ...options, wallMs: 60_000 });
  assert.deepEqual([run.code, run.stdout], [0, "covey.toml: ok\n"]);
  assert.match(
    run.stderr,
    /^covey: .*\(tls.certificate_file\) expired at 1970-01-01 00:00 UTC, and /,
  );
});

test("config init says why a file cannot be made", () =>
  inFolder(async (folder) => {
    writeFileSync(`${folder}/file`, "");
    mkdirSync(`${folder}/folder`);
    const cases: [path: string, code: number, line: RegExp][] = [
      ["", 2, /^covey: FILE is empty; name a file, or leave it out\n$/],
      [`${folder}/none/a.toml`, 2, /\/a\.toml cannot be made: its folder does not exist\n$/],
      [`${folder}/file/a.toml`, 2, /\/a\.toml cannot be made: its folder does not exist\n$/],
      [`${folder}/file`, 2, /\/file exists already; name another file, or move that one away\n$/],
      [`${folder}/folder`, 2, /\/folder exists already; /],
    ];
    for (const [path, code, line] of cases) {
      const run = await runProcess(["config", "init", path]);
      assert.match(run.stderr, line);
      assert.equal(run.code, code);
      assert.equal(run.stdout, "");
    }
  }));

test("config init: a refusal by the system is exit code 5, a full disk 1", async () => {
  const refused = async (kind: DiskErrorKind): Promise<number> => {
    const runtime = fakeRuntime();
    const disk = {
      open: (path: string) => Promise.reject(new DiskError(kind, path, "made to fail")),
    };
    const code = await runCli({ ...runtime, disk } as unknown as Runtime, ["config", "init", "a"]);
    assert.equal(runtime.notes.join(""), "covey: a: made to fail\n");
    return code;
  };
  assert.equal(await refused("denied"), 5);
  assert.equal(await refused("full"), 1);
});
