/** What a hurried or hostile user writes, and the one line that each mistake gets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../../src/config/load.ts";
import { fakeRuntime } from "../support/fake_host.ts";
import { type BadConfig, problemLines } from "./bad_configs.ts";

const addresses = "allowed: a list of 1 to 16 addresses, each once";

const cases: readonly BadConfig[] = [
  {
    name: "toml: a section without its bracket",
    text: '[log\nlevel = "info"\n',
    lines: [
      'covey.toml:1:1: this is not valid TOML: the ] of this section is missing, near "[log"',
    ],
  },
  {
    name: "toml: a list of sections without its brackets",
    text: "\n[[demux.listener\nx = 1\n",
    lines: [
      'covey.toml:2:1: this is not valid TOML: the ]] of this section is missing, near "[[demux.listener"',
    ],
  },
  {
    name: "toml: YAML",
    text: "log:\n  level: info\n",
    lines: [
      'covey.toml:1:4: this is not valid TOML: a key and its value are written key = value, near "log:"',
    ],
  },
  {
    name: "toml: a path without quotes",
    text: "[node]\ndata = ./here # mine\n",
    lines: [
      'covey.toml:2:8: this is not valid TOML: text needs quotes, near "data = ./here # mine"',
    ],
  },
  {
    name: "toml: a key twice with CRLF",
    text: '[log]\r\nlevel = "info"\r\n\r\nlevel = "info"\r\n',
    lines: [
      'covey.toml:4:1: this is not valid TOML: the key "level" comes twice, first on line 2, near "level = \\"info\\""',
    ],
  },
  {
    name: "toml: the same key of another section is not the first one",
    text: '[log]\nlevel = "info"\n[node]\nlevel = "x" y\n',
    lines: [
      'covey.toml:4:13: this is not valid TOML: must be a newline, near "level = \\"x\\" y"',
    ],
  },
  {
    name: "list: port 0 may repeat, another port may not, however it is written",
    text:
      '[node]\nlisten = ["tcp://h:0", "tcp://h:0", "tcp://127.0.0.1:1", "tcp://127.0.0.1:01"]\n',
    lines: [
      'covey.toml:2:58: node.listen[3]: found "tcp://127.0.0.1:01" a second time; allowed: each once',
    ],
  },
  {
    name: "values: text where a number or a truth belongs",
    file: "c.json",
    text: '{"rpc": {"connections_max": "5"}, "admin": {"enabled": "yes"}}',
    lines: [
      'c.json:1:29: rpc.connections_max: found "5", which is text; allowed: a whole number from 1 to 1000000',
      'c.json:1:56: admin.enabled: found "yes", which is text; allowed: true or false',
    ],
  },
  {
    name: "values: sizes and durations that look right",
    text: '[rpc]\nmessage_bytes_max = "4 MiB"\nidle_timeout = "-1s"\n' +
      'drain_timeout = "99999999999999999999s"\n',
    lines: [
      'covey.toml:2:21: rpc.message_bytes_max: found "4 MiB", which has a space in it; allowed: a size with its unit from "1KiB" to "16777215B", such as "4MiB"',
      'covey.toml:3:16: rpc.idle_timeout: found "-1s", which is negative; allowed: a duration with its unit from "100ms" to "365d", or "0s" for never, such as "100ms"',
      'covey.toml:4:17: rpc.drain_timeout: found "99999999999999999999s", which is out of range; allowed: a duration with its unit from "1ms" to "1h", or "0s" for none, such as "10s"',
    ],
  },
  {
    name: "values: one text for a list of labels",
    text: '[node]\ntags = "edge"\n',
    lines: [
      'covey.toml:2:8: node.tags: found "edge"; allowed: a list of up to 32 labels, each once, such as ["edge"]',
    ],
  },
  {
    name: "rule: the admin endpoint where the mesh listens",
    text: '[node]\nlisten = ["tcp://0.0.0.0:7980"]\n[tls]\nmode = "off"\n',
    lines: [
      'default: admin.listen: found "tcp://127.0.0.1:7980", which node.listen takes with "tcp://0.0.0.0:7980"; allowed: another port',
    ],
  },
  {
    name: "rule: the mesh where the admin endpoint listens",
    text: '[admin]\nlisten = "tcp://127.0.0.1:7946"\n',
    lines: [
      'covey.toml:2:10: admin.listen: found "tcp://127.0.0.1:7946", which node.listen takes with "tcp://127.0.0.1:7946"; allowed: another port',
    ],
  },
  {
    name: "rule: what the runtime lacks hides what else is wrong with it, and nothing more",
    text: '[tls]\nkey_file = "k"\n[node]\nlisten = ["vsock://3:7946"]\n',
    lines: [
      "covey.toml:2:12: tls.key_file: found a file while tls.mode is not set; allowed: with " +
      'tls.mode = "on", or "off" to leave it unused',
      'covey.toml:4:11: node.listen[0]: found "vsock://3:7946", but sim 0 has no vsock sockets; allowed here: tcp://host:port, unix:/path',
    ],
  },
  {
    name: "rule: --dev never advises TLS",
    text: "",
    dev: true,
    flags: [{ key: "node.listen", value: ["tcp://0.0.0.0:0"], flag: "--listen" }],
    lines: [
      '--listen: node.listen[0]: found "tcp://0.0.0.0:0", which is beyond loopback, with --dev, which serves this machine alone; allowed: a loopback address such as "tcp://127.0.0.1:0", or a start without --dev',
    ],
  },
  {
    name: "flags: --set names its key once",
    text: "",
    flags: [{ key: "log.level", value: "x", flag: "--set log.level" }],
    lines: [
      '--set log.level: found "x"; allowed: "trace", "debug", "info", "warning", "error"',
    ],
  },
  {
    name: "flags: an empty --listen",
    text: "",
    flags: [{ key: "node.listen", value: [""], flag: "--listen" }],
    lines: [`--listen: node.listen: found an empty list; ${addresses}`],
  },
  {
    name: "file: below a file",
    host: { failing: { "covey.toml": "not-a-directory" } },
    lines: ["covey.toml: there is no such file: what its path names as a folder is none"],
  },
  {
    name: "file: no name",
    file: "",
    lines: ['"": the name of the file is empty'],
  },
  {
    name: "file: a name of two lines",
    file: "a\nb.toml",
    lines: [
      '"a\\nb.toml": there is no such file; "covey config init" writes a sample to start from',
    ],
  },
];

for (const bad of cases) {
  test(`hostile config: ${bad.name}`, async () => {
    assert.deepEqual(await problemLines(bad), bad.lines);
  });
}

test("a file that COVEY_CONFIG names is traced to it", async () => {
  const runtime = fakeRuntime({ environment: { COVEY_CONFIG: "gone.toml" } });
  await assert.rejects(loadConfig(runtime, { environment: true }), {
    message:
      /^\[invalid_argument\] gone\.toml: there is no such file; .* \(COVEY_CONFIG names it\)$/,
  });
});

test("port 0 is a free choice each time, and a flag takes commas as a variable does", async () => {
  const value = ["tcp://127.0.0.1:0,tcp://127.0.0.1:0", "unix:/a.sock"];
  const { config } = await loadConfig(fakeRuntime(), {
    flags: [{ key: "node.listen", value, flag: "--listen" }],
  });
  assert.deepEqual(config.node.listen, ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0", "unix:/a.sock"]);
});

test("the admin endpoint may share a port that it does not take", async () => {
  const listen = "tcp://127.0.0.1:7946";
  for (const admin of [{ enabled: false, listen }, { listen: "tcp://127.0.0.1:0" }]) {
    await loadConfig(fakeRuntime(), { options: { node: { listen: [listen] }, admin } });
  }
});
