/** The command line in this process, on a fake host: usage, help, output, lazy loading. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { generateHelpTextForAllCommands } from "npm:@stricli/core@1.3.0";
import { buildCli } from "../../src/cli/app.ts";
import { runCli } from "../../src/cli/run.ts";
import { NetError, type Runtime } from "../../src/runtime/port.ts";
import { version } from "../../src/version.ts";
import { type FakeOptions, fakeRuntime } from "../support/fake_host.ts";

async function covey(args: string[], options: FakeOptions = {}) {
  const runtime = fakeRuntime(options);
  const code = await runCli(runtime as unknown as Runtime, args);
  return {
    code,
    stdout: runtime.out.join(""),
    stderr: runtime.notes.join(""),
    written: runtime.written,
  };
}

test("usage errors exit 2, name the thing and the nearest, and say where to look", async () => {
  const cases: [string[], string, string][] = [
    [["confg"], 'covey: there is no command "confg"; did you mean config?', "covey"],
    [
      ["config", "chek"],
      'covey: there is no command "chek"; did you mean check?',
      "covey config",
    ],
    [
      ["agent", "--nod-name", "x"],
      "covey: there is no flag --nod-name; did you mean --node-name?",
      "covey agent",
    ],
    [
      ["agent", "extra"],
      'covey: "extra" is one argument too many',
      "covey agent",
    ],
    [["agent", "--config"], "covey: --config needs a value", "covey agent"],
    [
      ["config", "show", "--set", "log.level"],
      'covey: --set "log.level": write --set key=value, such as --set log.level=debug',
      "covey config show",
    ],
    [
      ["agent", "--data", "a", "--data", "b"],
      'covey: --data is given twice, as "a" and as "b"; give it once',
      "covey agent",
    ],
    [["agent", "--dev", "--dev"], "covey: --dev is given twice; give it once", "covey agent"],
    [["agent", "--foo"], "covey: there is no flag --foo", "covey agent"],
    [["agent", "-x"], "covey: there is no flag -x", "covey agent"],
    [["foo"], 'covey: there is no command "foo"', "covey"],
    [["call"], "covey: ADDRESS is missing", "covey call"],
    [
      ["config", "check", "covey.toml"],
      'covey: "covey.toml" is one argument too many; a configuration file is named with --config',
      "covey config check",
    ],
    [["kv", "gte", "a"], 'covey: there is no command "gte"; did you mean get?', "covey kv"],
    [
      ["kv", "lease", "grnt"],
      'covey: there is no command "grnt"; did you mean grant?',
      "covey kv lease",
    ],
    [["raft", "peer"], 'covey: there is no command "peer"; did you mean peers?', "covey raft"],
    [["stats"], 'covey: there is no command "stats"; did you mean status?', "covey"],
    [["kv", "compact"], "covey: REV is missing", "covey kv compact"],
    [["kv", "put", "a", "b", "c"], 'covey: "c" is one argument too many', "covey kv put"],
    [["kv", "get"], "covey: KEY is missing", "covey kv get"],
    [
      ["kv", "get", "a", "--limt", "1"],
      "covey: there is no flag --limt; did you mean --limit?",
      "covey kv get",
    ],
    [
      ["kv", "get", "a", "--rev", "-1"],
      'covey: --rev "-1": give a whole number, 1 or more',
      "covey kv get",
    ],
    [
      ["kv", "get", "a", "--limit", "99999999999999999"],
      'covey: --limit "99999999999999999": give a whole number, 1 or more',
      "covey kv get",
    ],
    [
      ["kv", "get", "a", "--sort", "size"],
      'covey: --sort "size": give one of key, version, create, mod, value, or one of them with :desc behind it',
      "covey kv get",
    ],
    [
      ["kv", "lease", "grant", "1.5"],
      'covey: TTL "1.5": give whole seconds, such as 60 or 5m',
      "covey kv lease grant",
    ],
    [
      ["kv", "lease", "revoke", "0x10"],
      'covey: ID "0x10": give a whole number, 1 or more',
      "covey kv lease revoke",
    ],
    [["kv", "lock"], "covey: NAME is missing", "covey kv lock"],
    [["raft", "add"], "covey: ADDRESS is missing", "covey raft add"],
    [
      ["agent", "--config", "--dev"],
      "covey: --config needs a value, and --dev follows",
      "covey agent",
    ],
  ];
  for (const [args, line, command] of cases) {
    const { code, stdout, stderr } = await covey(args);
    assert.equal(stderr, `${line}\ncovey: run "${command} --help" for what is allowed\n`);
    assert.equal(code, 2);
    assert.equal(stdout, "");
  }
});

test("a key that two flags set is a usage error", async () => {
  const twice = [
    ["--log-level", "info", "--set", "log.level=info"],
    ["--set", "log.level=info", "--set", "log.level=debug"],
    ["--dev", "--set", "node.memory_only=false"],
  ];
  for (const flags of twice) {
    const { code, stderr } = await covey(["config", "check", ...flags]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /^covey: \S+ is set by .*; give it once\n$/);
  }
});

test("help goes to standard output with exit code 0, for everything", async () => {
  const cli = buildCli() as unknown as Parameters<typeof generateHelpTextForAllCommands>[0];
  const commands = generateHelpTextForAllCommands(cli).map(([route]) => route.trim().split(" "));
  assert.ok(commands.length > 30);
  const groups = [[], ["config"], ["kv"], ["kv", "lease"], ["kv", "snapshot"], ["raft"]];
  for (const args of [...groups, ...commands.map(([, ...words]) => words)]) {
    const asked = groups.includes(args) ? args : [...args, "--help"];
    const { code, stdout, stderr } = await covey(asked);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.ok(
      stdout.startsWith(`USAGE\n  covey${args.map((word) => ` ${word}`).join("")}`),
      stdout,
    );
    assert.doesNotMatch(stdout, /while-input-lasts/, "what is not for people is not shown");
    // deno-lint-ignore no-control-regex
    assert.doesNotMatch(stdout, /\u001b/, "no color");
  }
});

test("version", async () => {
  assert.equal((await covey(["--version"])).stdout, `${version}\n`);
  assert.equal((await covey(["version"])).stdout, `covey ${version} (sim 0, x64)\n`);
  assert.deepEqual(JSON.parse((await covey(["version", "--json"])).stdout), {
    version,
    runtime: "sim",
    runtime_version: "0",
    architecture: "x64",
  });
});

const bad = { files: { "covey.toml": "[log]\nlevle = 1\nformat = 2\n" } };

test("config check: good, bad, and bad as JSON", async () => {
  const good = await covey(["config", "check", "--config", "c.toml"], { files: { "c.toml": "" } });
  assert.deepEqual([good.code, good.stdout, good.stderr], [0, "c.toml: ok\n", ""]);
  const text = await covey(["config", "check", "--config", "covey.toml"], bad);
  assert.equal(text.code, 3);
  assert.equal(text.stdout, "");
  assert.equal(
    text.stderr,
    'covey.toml:2:1: log.levle: unknown key "levle" in [log]; the nearest known one is log.level\n' +
      'covey.toml:3:10: log.format: found 2; allowed: "auto", "json", "text"\n',
  );
  const json = await covey(["config", "check", "--config", "covey.toml", "--json"], bad);
  assert.equal(json.code, 3);
  assert.equal(json.stderr, "");
  assert.deepEqual(json.stdout.trim().split("\n").map((line) => JSON.parse(line))[1], {
    ok: false,
    layer: "file",
    file: "covey.toml",
    line: 3,
    column: 10,
    key: "log.format",
    message: 'found 2; allowed: "auto", "json", "text"',
  });
  const agent = await covey(["agent", "--config", "covey.toml"], bad);
  assert.equal(agent.code, 3);
});

test("config show: flags of their own, --set, and origins as JSON lines", async () => {
  const flags = ["--node-name", "a", "--listen", "unix:/a", "--listen", "unix:/b", "--data", "/d"];
  const { stdout, code } = await covey([
    ...["config", "show", ...flags, "--admin-listen", "tcp://127.0.0.1:1", "--log-level", "debug"],
    ...["--set", "node.tags=x,y", "--set", "rpc.idle_timeout=90s", "--json"],
  ]);
  assert.equal(code, 0);
  const shown = JSON.parse(stdout);
  assert.deepEqual(shown.node, {
    name: "a",
    data: "/d",
    memory_only: false,
    listen: ["unix:/a", "unix:/b"],
    tags: ["x", "y"],
  });
  assert.equal(shown.rpc.idle_timeout, "1m30s");
  assert.equal(shown.admin.listen, "tcp://127.0.0.1:1");
  assert.equal(shown.log.level, "debug");

  const origins = await covey(["config", "show", "--origin", "--json"], {
    environment: { COVEY_LOG__LEVEL: "error" },
  });
  const lines = origins.stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.find(({ key }) => key === "log.level"), {
    key: "log.level",
    value: "error",
    origin: { layer: "environment", name: "COVEY_LOG__LEVEL" },
  });
});

test("config schema and config init print what they promise", async () => {
  const schema = JSON.parse((await covey(["config", "schema"])).stdout);
  assert.equal(schema.$schema, "https://json-schema.org/draft/2020-12/schema");
  const older = (await covey(["config", "schema", "--draft-04", "--json"])).stdout;
  assert.equal(JSON.parse(older).$schema, "http://json-schema.org/draft-04/schema#");
  assert.equal(older.split("\n").length, 2);

  const sample = (await covey(["config", "init", "--schema", "https://example/s.json"])).stdout;
  assert.ok(sample.startsWith("#:schema https://example/s.json\n"));
  const file = await covey(["config", "init", "new.toml"]);
  assert.equal(file.code, 0);
  assert.equal(file.stdout, "");
  assert.match(file.stderr, /^covey: wrote new\.toml; /);
  assert.ok(file.written.get("new.toml")?.startsWith("#:schema ./covey.schema.json\n"));
  const again = await covey(["config", "init", "there.toml"], { files: { "there.toml": "" } });
  assert.equal(again.code, 2);
  assert.match(again.stderr, /^covey: there\.toml exists already; /);
});

test("a reader that goes away is no news", async () => {
  const runtime = fakeRuntime();
  Object.assign(runtime.host, {
    stdout: () => Promise.reject(new NetError("reset", "broken pipe")),
  });
  for (const args of [["version"], ["--help"], ["config", "show"]]) {
    assert.equal(await runCli(runtime as unknown as Runtime, args), 1);
  }
  assert.deepEqual(runtime.notes, []);
});

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Follows static imports; types and `await import` cost nothing at start. */
function staticImports(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const path = join(root, file);
  if (!existsSync(path)) return seen;
  const text = readFileSync(path, "utf8");
  for (const [, clause, target] of text.matchAll(/^import ([^;]*?)from "([^"]+)";/gm)) {
    if (clause.startsWith("type ") || /^\{(\s*type [^,}]+,?)*\s*\}\s*$/.test(clause)) continue;
    if (!target.startsWith(".")) seen.add(target);
    else staticImports(join(dirname(file), target), seen);
  }
  return seen;
}

test("covey version loads no schema, no parser and no node", () => {
  const loaded = [...staticImports("src/main.ts"), ...staticImports("src/cli/version.ts")];
  const packages = new Set(loaded.filter((each) => each.startsWith("npm:")));
  assert.deepEqual([...packages], ["npm:@stricli/core@1.3.0"]);
  assert.ok(!loaded.includes("src/node.ts"));
  assert.ok(!loaded.includes("src/config/schema.ts"));
});
