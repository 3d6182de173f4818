/** Which layer wins, what each value's origin is, and how text from outside a file is read. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "npm:fast-check@4.10.2";
import { loadConfig, type LoadRequest } from "../../src/config/load.ts";
import { ConfigError, formatOrigin } from "../../src/config/problem.ts";
import { settings } from "../../src/config/settings.ts";
import { showSettings, showToml } from "../../src/config/show.ts";
import { type FakeOptions, fakeRuntime } from "../support/fake_host.ts";

function load(host: FakeOptions, request: LoadRequest = {}) {
  return loadConfig(fakeRuntime(host), request);
}

function originOf(loaded: Awaited<ReturnType<typeof load>>, key: string): string {
  const origin = loaded.origins.get(key);
  return origin === undefined ? "not set" : formatOrigin(origin);
}

const file = { "covey.toml": "[log]\nlevel = 'debug'\nformat = 'json'\n" };

test("nothing at all gives a single durable node on loopback", async () => {
  const { config, origins, warnings } = await load({ hostname: "gw-7" });
  assert.equal(config.node.name, "gw-7");
  assert.equal(config.node.data, "./covey-data");
  assert.equal(config.node.memory_only, false);
  assert.deepEqual(config.node.listen, ["tcp://127.0.0.1:7946"]);
  assert.equal(config.tls.mode, undefined);
  assert.equal(config.rpc.message_bytes_max, 4 * 1024 * 1024);
  assert.equal(config.rpc.keepalive_interval, 10_000);
  assert.equal(config.rpc.idle_timeout, 0);
  assert.equal(config.admin.listen, "tcp://127.0.0.1:7980");
  assert.deepEqual(warnings, []);
  assert.deepEqual(origins.get("node.name"), { layer: "default", note: "host name" });
});

test("flag over environment over file over default, key by key", async () => {
  const host = {
    files: file,
    environment: { COVEY_LOG__FORMAT: "text", COVEY_ADMIN__ENABLED: "false" },
  };
  const loaded = await load(host, {
    file: "covey.toml",
    environment: true,
    flags: [{ key: "admin.enabled", value: "true", flag: "--set admin.enabled" }],
  });
  assert.equal(loaded.file, "covey.toml");
  assert.deepEqual(loaded.config.log, { level: "debug", format: "text" });
  assert.equal(loaded.config.admin.enabled, true);
  assert.equal(originOf(loaded, "log.level"), "covey.toml:2:9");
  assert.equal(originOf(loaded, "log.format"), "COVEY_LOG__FORMAT");
  assert.equal(originOf(loaded, "admin.enabled"), "--set admin.enabled");
  assert.equal(originOf(loaded, "admin.listen"), "default");
  assert.equal(originOf(loaded, "tls.mode"), "not set");
});

test("options win over the file, and a number there counts bytes or milliseconds", async () => {
  const loaded = await load({ files: file }, {
    file: "covey.toml",
    options: {
      log: { level: "error", format: undefined },
      rpc: { message_bytes_max: 262_144, handshake_timeout: 250, idle_timeout: "1h30m" },
    },
  });
  assert.deepEqual(loaded.config.log, { level: "error", format: "json" });
  assert.equal(loaded.config.rpc.message_bytes_max, 262_144);
  assert.equal(loaded.config.rpc.handshake_timeout, 250);
  assert.equal(loaded.config.rpc.idle_timeout, 5_400_000);
  assert.equal(originOf(loaded, "rpc.idle_timeout"), "options");
});

test("a program's environment is not read unless it asks", async () => {
  const loaded = await load({ environment: { COVEY_LOG__LEVEL: "error", COVEY_NONSENSE: "1" } });
  assert.equal(loaded.config.log.level, "info");
});

test("COVEY_CONFIG names the file, --config wins, an empty one is none", async () => {
  const files = { ...file, "other.toml": "" };
  const environment = { COVEY_CONFIG: "covey.toml", COVEY_NODE: "tcp://127.0.0.1:1" };
  const request = { environment: true };
  assert.equal((await load({ files, environment }, request)).config.log.level, "debug");
  const other = await load({ files, environment }, { ...request, file: "other.toml" });
  assert.equal(other.config.log.level, "info");
  const none = await load({ environment: { COVEY_CONFIG: "" } }, request);
  assert.equal(none.file, undefined);
});

test("variables that others set, Kubernetes beside a Service named covey, are let be", async () => {
  const environment = {
    COVEY_SERVICE_HOST: "10.0.0.1",
    COVEY_SERVICE_PORT: "7946",
    COVEY_SERVICE_PORT_MESH: "7946",
    COVEY_PORT: "tcp://10.0.0.1:7946",
    COVEY_PORT_7946_TCP: "tcp://10.0.0.1:7946",
    COVEY_PORT_7946_TCP_ADDR: "10.0.0.1",
    // And those of `covey kv lock -- COMMAND`.
    COVEY_LOCK_KEY: "n/1",
    COVEY_LOCK_LEASE: "1",
  };
  await load({ environment }, { environment: true });
});

test("text is read by the kind of its key", async () => {
  const { config } = await load({
    environment: {
      COVEY_NODE__LISTEN: "tcp://127.0.0.1:1, unix:/run/covey.sock",
      COVEY_NODE__TAGS: "",
      COVEY_RPC__MESSAGE_BYTES_MAX: "8MiB",
      COVEY_RPC__CONNECTIONS_MAX: "10",
      COVEY_RPC__IDLE_TIMEOUT: "0",
      COVEY_ADMIN__ENABLED: "false",
    },
  }, { environment: true });
  assert.deepEqual(config.node.listen, ["tcp://127.0.0.1:1", "unix:/run/covey.sock"]);
  assert.deepEqual(config.node.tags, []);
  assert.equal(config.rpc.message_bytes_max, 8 * 1024 * 1024);
  assert.equal(config.rpc.connections_max, 10);
  assert.equal(config.rpc.idle_timeout, 0);
  assert.equal(config.admin.enabled, false);
});

test("a list is replaced as a whole", async () => {
  const { config } = await load({
    files: { "c.toml": "[node]\ntags = ['a', 'b']\n" },
    environment: { COVEY_NODE__TAGS: "c" },
  }, { file: "c.toml", environment: true });
  assert.deepEqual(config.node.tags, ["c"]);
});

test("TOML's ways to write a key, a byte order mark and CRLF mean the same", async () => {
  const texts = [
    'rpc.message_bytes_max = "2MiB"',
    '"rpc"."message_bytes_max" = \'2MiB\'',
    'rpc = { message_bytes_max = "2MiB" }',
    '\ufeff[rpc]\r\nmessage_bytes_max = """2MiB"""\r\n',
  ];
  for (const text of texts) {
    const { config } = await load({ files: { "c.toml": text } }, { file: "c.toml" });
    assert.equal(config.rpc.message_bytes_max, 2 * 1024 * 1024, text);
  }
  const json = '\ufeff{"$schema": "x", "rpc": {"message_bytes_max": "2\\u004diB"}}';
  const { config } = await load({ files: { "c.JSON": json } }, { file: "c.JSON" });
  assert.equal(config.rpc.message_bytes_max, 2 * 1024 * 1024);
});

test("--dev keeps nothing on disk", async () => {
  const loaded = await load({}, { dev: true });
  assert.equal(loaded.config.node.memory_only, true);
  assert.equal(originOf(loaded, "node.memory_only"), "--dev");
});

test("plaintext beyond loopback is a warning for each address once it is written out", async () => {
  const text = "[node]\nlisten = ['tcp://0.0.0.0:1', 'tcp://[::]:2', 'tcp://127.0.0.1:3']\n" +
    "[tls]\nmode = 'off'\n";
  const { warnings } = await load({ files: { "c.toml": text } }, { file: "c.toml" });
  assert.equal(warnings.length, 2);
  assert.match(warnings[1], /^tls\.mode is "off": everything on tcp:\/\/\[::\]:2 is plaintext/);
});

test("defaults shrink to the limit of open descriptors, and say so", async () => {
  const loaded = await load({ descriptorsMax: 1024 });
  assert.equal(loaded.config.rpc.connections_max, 960);
  assert.equal(loaded.config.rpc.connections_per_listener_max, 960);
  assert.match(
    showToml(loaded, true),
    /connections_max = 960 .*# default \(lowered to fit the limit of 1024 open descriptors\)/,
  );
});

test("a command's default limit shrinks to the messages that carry it, and says so", async () => {
  const shrunk = await load({ environment: { COVEY_RPC__MESSAGE_BYTES_MAX: "256KiB" } }, {
    environment: true,
  });
  assert.equal(shrunk.config.kv.request_bytes_max, 252 * 1024);
  assert.match(originOf(shrunk, "kv.request_bytes_max"), /^default \(lowered to fit rpc\.message/);
  const off = { raft: { enabled: false }, kv: { enabled: false } };
  const least = await load({}, { options: { rpc: { message_bytes_max: 1024 }, ...off } });
  assert.equal(least.config.kv.request_bytes_max, 1024);
  const whole = await load({});
  assert.equal(originOf(whole, "kv.request_bytes_max"), "default");
});

test("a cluster: founders, seeds beyond loopback, consensus without the store", async () => {
  const text = '[cluster]\njoin = ["tcp://10.0.0.1:7946"]\nexpect = 3\n[tls]\nmode = "off"\n' +
    '[node]\nlisten = ["tcp://0.0.0.0:7946"]\nadvertise = "tcp://10.0.0.2:7946"\n' +
    '[raft]\nlow_water_bytes = "0B"\n[kv]\nenabled = false\n';
  const { config } = await load({ files: { "c.toml": text } }, { file: "c.toml" });
  assert.deepEqual(config.cluster, { join: ["tcp://10.0.0.1:7946"], expect: 3 });
  assert.equal(config.raft.low_water_bytes, 0);
  const alone = await load({}, { options: { cluster: { expect: 1 } }, dev: true });
  assert.equal(alone.config.cluster.expect, 1);
  const neither = { raft: { enabled: false }, kv: { enabled: false } };
  assert.equal((await load({}, { options: neither })).config.raft.enabled, false);
});

test("a founder that keeps nothing on disk is warned", async () => {
  const options = { cluster: { join: ["unix:/a"] }, node: { memory_only: true } };
  assert.match((await load({}, { options })).warnings.join(), /^node\.memory_only is true in a /);
});

test("what a runtime can do is allowed there", async () => {
  const text =
    "[rpc]\npeer_credentials = true\n[node]\nlisten = ['vsock://3:1']\n[tls]\nmode='off'\n";
  const features = { peerCredentials: true, vsock: true };
  const { config } = await load({ files: { "c.toml": text }, features }, { file: "c.toml" });
  assert.equal(config.rpc.peer_credentials, true);
});

test("show lists every key that has a value, with its unit", async () => {
  const shown = showSettings(await load({}));
  const isShown = new Set(shown.map(({ key }) => key));
  assert.deepEqual(
    settings.map(({ section, key }) => `${section}.${key}`).filter((key) => !isShown.has(key)),
    [
      "node.advertise",
      "tls.mode",
      "tls.certificate_file",
      "tls.key_file",
      "tls.authorities_file",
      "dns.listen",
    ],
  );
  assert.deepEqual(shown.find(({ key }) => key === "rpc.message_bytes_max"), {
    key: "rpc.message_bytes_max",
    value: "4MiB",
    origin: { layer: "default" },
  });
});

test("any file gives a configuration or problems, never another error", async () => {
  const token = fc.constantFrom(
    ...["[", "]", "{", "}", "=", ",", ".", "\n", "\r\n", '"', "'", "\\", "#", " ", "\u0000", ":"],
    ...["rpc", "log", "level", "__proto__", "1", "1e999", "nan", "true", '"info"', "'4MiB'"],
    ...["2026-01-01", "\ufeff", "\ud800", "é", "0x1", "[[log]]", "[log]\n"],
  );
  const text = fc.array(token, { maxLength: 12 }).map((tokens) => tokens.join(""));
  await fc.assert(
    fc.asyncProperty(fc.oneof(text, fc.string()), fc.constantFrom("c.toml", "c.json"), async (
      content,
      name,
    ) => {
      try {
        await load({ files: { [name]: content } }, { file: name });
      } catch (error) {
        assert.ok(error instanceof ConfigError, String(error));
        for (const problem of error.problems) {
          assert.equal(problem.origin.layer, "file");
          assert.ok(problem.message.length > 0);
        }
      }
    }),
    { numRuns: 1500 },
  );
});
