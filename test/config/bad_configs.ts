/** Configurations that must not start a node, each with the exact lines that say why. */
import type { FlagSetting } from "../../src/config/layers.ts";
import { loadConfig } from "../../src/config/load.ts";
import { ConfigError, formatProblem } from "../../src/config/problem.ts";
import type { ConfigOptions } from "../../src/config/types.ts";
import { type FakeOptions, fakeRuntime } from "../support/fake_host.ts";

export interface BadConfig {
  readonly name: string;
  /** The content of `covey.toml`, or of `file`. */
  readonly text?: string | Uint8Array;
  readonly file?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly flags?: readonly FlagSetting[];
  readonly dev?: boolean;
  readonly options?: unknown;
  readonly host?: FakeOptions;
  readonly lines: readonly string[];
}

/** The lines that a case prints. */
export async function problemLines(bad: BadConfig): Promise<string[]> {
  const file = bad.file ?? "covey.toml";
  const runtime = fakeRuntime({
    ...(bad.text === undefined ? {} : { files: { [file]: bad.text } }),
    ...(bad.environment === undefined ? {} : { environment: bad.environment }),
    ...bad.host,
  });
  try {
    await loadConfig(runtime, {
      file,
      environment: bad.environment !== undefined,
      flags: bad.flags ?? [],
      dev: bad.dev ?? false,
      ...(bad.options === undefined ? {} : { options: bad.options as ConfigOptions }),
    });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(formatProblem);
    throw error;
  }
  return [];
}

const bytes = (...parts: (string | number)[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "number" ? [part] : [...new TextEncoder().encode(part)]
    ),
  );

export const badConfigs: readonly BadConfig[] = [
  // Syntax.
  {
    name: "toml: no value",
    text: "[log]\nlevel =\n",
    lines: ['covey.toml:2:7: this is not valid TOML: the value is missing, near "level ="'],
  },
  {
    name: "toml: bare word",
    text: "[log]\nlevel = debug\n",
    lines: ['covey.toml:2:9: this is not valid TOML: text needs quotes, near "level = debug"'],
  },
  {
    name: "toml: unfinished string",
    text: '[node]\nname = "gw\n',
    lines: [
      'covey.toml:2:11: this is not valid TOML: unterminated string constant, near "name = \\"gw"',
    ],
  },
  {
    name: "toml: key twice",
    text: '[log]\nlevel = "info"\nlevel = "debug"\n',
    lines: [
      'covey.toml:3:1: this is not valid TOML: the key "level" comes twice, first on line 2, near "level = \\"debug\\""',
    ],
  },
  {
    name: "toml: section twice",
    text: "[log]\n[rpc]\n[log]\n",
    lines: [
      'covey.toml:3:2: this is not valid TOML: the section [log] comes twice, first on line 1, near "[log]"',
    ],
  },
  {
    name: "toml: bad escape",
    text: '[node]\nname = "\\q"\n',
    lines: [
      'covey.toml:2:10: this is not valid TOML: invalid character in escape sequence, near "name = \\"\\\\q\\""',
    ],
  },
  {
    name: "toml: old Mac line ends",
    text: '[log]\rlevel = "info"\r',
    lines: [
      'covey.toml:1:6: this is not valid TOML: lines end with LF or CRLF, and here is a CR alone, near "[log]\\rlevel = \\"info\\""',
    ],
  },
  {
    name: "toml: deep lists",
    text: `a = ${"[".repeat(5000)}${"]".repeat(5000)}`,
    lines: ["covey.toml:1:37: tables and lists nest deeper than 32; no setting does"],
  },
  {
    name: "toml: deep keys",
    text: `${"a.".repeat(5000)}b = 1`,
    lines: ["covey.toml:1:1: tables and lists nest deeper than 32; no setting does"],
  },
  {
    name: "toml: deep section",
    text: `[${"a.".repeat(5000)}b]`,
    lines: ["covey.toml:1:1: tables and lists nest deeper than 32; no setting does"],
  },
  {
    name: "toml: value too long",
    text: `a = '${"x".repeat(900_000)}'`,
    lines: ["covey.toml: this TOML cannot be read: one of its values is far too long"],
  },
  {
    name: "json: empty file",
    file: "c.json",
    text: "",
    lines: ["c.json:1:1: this is not valid JSON: found the end of the file where a value belongs"],
  },
  {
    name: "json: trailing comma",
    file: "c.json",
    text: '{\n  "log": {},\n}',
    lines: ['c.json:3:1: this is not valid JSON: found "}" where a quoted key belongs'],
  },
  {
    name: "json: comment",
    file: "c.json",
    text: "{ // no\n}",
    lines: ['c.json:1:3: this is not valid JSON: found "/" where a quoted key belongs'],
  },
  {
    name: "json: root is a list",
    file: "c.json",
    text: "[]",
    lines: ["c.json:1:1: found an empty list; allowed: one object around all sections"],
  },
  {
    name: "json: key twice",
    file: "c.json",
    text: '{"log": {},\n "log": {}}',
    lines: ['c.json:2:2: this is not valid JSON: the key "log" comes twice'],
  },
  {
    name: "json: unfinished",
    file: "c.json",
    text: '{"log": {"level": "inf',
    lines: ["c.json:1:19: this is not valid JSON: this string does not end on its line"],
  },
  {
    name: "json: bad escape",
    file: "c.json",
    text: '{"node": {"name": "\\x"}}',
    lines: ["c.json:1:19: this is not valid JSON: this string holds a bad escape"],
  },
  {
    name: "json: leading zero",
    file: "c.json",
    text: '{"rpc": 012}',
    lines: ['c.json:1:9: this is not valid JSON: found "012" where a value belongs'],
  },
  {
    name: "json: text behind",
    file: "c.json",
    text: "{} {}",
    lines: ['c.json:1:4: this is not valid JSON: found "{" where the end of the file belongs'],
  },
  {
    name: "json: deep",
    file: "c.json",
    text: '{"a":'.repeat(9000),
    lines: ["c.json:1:166: objects and lists nest deeper than 32; no setting does"],
  },
  // The file itself.
  {
    name: "file: missing",
    lines: ['covey.toml: there is no such file; "covey config init" writes a sample to start from'],
  },
  {
    name: "file: denied",
    host: { failing: { "covey.toml": "denied" } },
    lines: ["covey.toml: this process may not read the file: made to fail"],
  },
  {
    name: "file: folder",
    host: { failing: { "covey.toml": "is-a-directory" } },
    lines: ["covey.toml: this is a folder; name the file in it"],
  },
  {
    name: "file: broken disk",
    host: { failing: { "covey.toml": "io" } },
    lines: ["covey.toml: the file cannot be read: made to fail"],
  },
  {
    name: "file: over 1MiB",
    text: "#".repeat(1_048_577),
    lines: ["covey.toml: the file is larger than 1MiB, so it is no configuration"],
  },
  {
    name: "file: not UTF-8",
    text: bytes("[node]\nname = '", 0xe9, "'\n"),
    lines: ["covey.toml:2:9: the file is not UTF-8 from here on; save it as UTF-8"],
  },
  {
    name: "file: UTF-16",
    text: bytes(0xff, 0xfe, 0x5b, 0x00),
    lines: ["covey.toml: the file is UTF-16; save it as UTF-8"],
  },
  // Keys.
  {
    name: "key: typo",
    text: '[rpc]\nmesage_bytes_max = "4MiB"\n',
    lines: [
      'covey.toml:2:1: rpc.mesage_bytes_max: unknown key "mesage_bytes_max" in [rpc]; the nearest known one is rpc.message_bytes_max',
    ],
  },
  {
    name: "key: wrong section",
    text: '[node]\nlevel = "info"\n',
    lines: [
      'covey.toml:2:1: node.level: unknown key "level" in [node]; the nearest known one is log.level',
    ],
  },
  {
    name: "key: two sections have it",
    text: "enabled = true\nlisten = []\n",
    lines: [
      'covey.toml:1:1: enabled: unknown key "enabled"; the nearest known one is raft.enabled or kv.enabled or membership.enabled or cache.enabled or admin.enabled',
      'covey.toml:2:1: listen: unknown key "listen"; the nearest known one is node.listen or dns.listen or admin.listen',
    ],
  },
  {
    name: "key: section typo",
    text: "[rcp]\n",
    lines: ['covey.toml:1:2: rcp: unknown section "rcp"; the nearest known one is [rpc]'],
  },
  {
    name: "key: section of later times",
    text: "[bus]\nstreams_max = 1\n",
    lines: [
      'covey.toml:1:2: bus: unknown section "bus"; the sections are node, cluster, tls, rpc, raft, kv, membership, discovery, cache, autopilot, dns, admin, log',
    ],
  },
  {
    name: "key: unlike any",
    text: "[log]\nzzzzzzzzzz = 1\n",
    lines: [
      'covey.toml:2:1: log.zzzzzzzzzz: unknown key "zzzzzzzzzz" in [log]; the keys of log are level, format',
    ],
  },
  {
    name: "key: __proto__",
    text: "__proto__ = 1\n[log]\n__proto__.level = 1\n",
    lines: [
      'covey.toml:1:1: __proto__: unknown key "__proto__"; the sections are node, cluster, tls, rpc, raft, kv, membership, discovery, cache, autopilot, dns, admin, log',
      'covey.toml:3:1: log.__proto__: unknown key "__proto__" in [log]; the keys of log are level, format',
    ],
  },
  {
    name: "key: constructor",
    text: "[constructor]\nname = 1\n",
    lines: [
      'covey.toml:1:2: constructor: unknown section "constructor"; the sections are node, cluster, tls, rpc, raft, kv, membership, discovery, cache, autopilot, dns, admin, log',
    ],
  },
  {
    name: "key: __proto__ in json",
    file: "c.json",
    text: '{"__proto__":{"a":1}}',
    lines: [
      'c.json:1:2: __proto__: unknown section "__proto__"; the sections are node, cluster, tls, rpc, raft, kv, membership, discovery, cache, autopilot, dns, admin, log',
    ],
  },
  {
    name: "key: control characters",
    text: '"\\u001b[31m\\u202e" = 1\n',
    lines: [
      'covey.toml:1:1: "\\u001b[31m\\u202e": unknown key "\\u001b[31m\\u202e"; the sections are node, cluster, tls, rpc, raft, kv, membership, discovery, cache, autopilot, dns, admin, log',
    ],
  },
  {
    name: "key: crlf counts as one line",
    text: "[log]\r\n\r\nlevle = 1\r\n",
    lines: [
      'covey.toml:3:1: log.levle: unknown key "levle" in [log]; the nearest known one is log.level',
    ],
  },
  {
    name: "key: after a byte order mark",
    text: "\ufefflevel = 1\n",
    lines: ['covey.toml:1:1: level: unknown key "level"; the nearest known one is log.level'],
  },
  // Values.
  {
    name: "value: section is a number",
    text: "log = 5\n",
    lines: ["covey.toml:1:7: log: found 5; allowed: a table with the keys level, format"],
  },
  {
    name: "value: section is a list of tables",
    text: "[[log]]\nlevel = 'info'\n",
    lines: ["covey.toml:1:3: log: found a list; allowed: a table with the keys level, format"],
  },
  {
    name: "value: table for a key",
    text: "[log.level]\nx = 1\n",
    lines: [
      'covey.toml:1:6: log.level: found a table; allowed: "trace", "debug", "info", "warning", "error"',
    ],
  },
  {
    name: "value: size without unit",
    text: "[rpc]\nmessage_bytes_max = 4194304\n",
    lines: [
      'covey.toml:2:21: rpc.message_bytes_max: found 4194304; allowed: a size with its unit from "1KiB" to "16777215B", such as "4MiB"',
    ],
  },
  {
    name: "value: size unit",
    text: '[rpc]\nmessage_bytes_max = "4mib"\n',
    lines: [
      'covey.toml:2:21: rpc.message_bytes_max: found "4mib", whose unit "mib" is none of B, KiB, MiB, GiB, KB, MB, GB; allowed: a size with its unit from "1KiB" to "16777215B", such as "4MiB"',
    ],
  },
  {
    name: "value: size below",
    text: '[rpc]\nmessage_bytes_max = "1023B"\n',
    lines: [
      'covey.toml:2:21: rpc.message_bytes_max: found "1023B", which is out of range; allowed: a size with its unit from "1KiB" to "16777215B", such as "4MiB"',
    ],
  },
  {
    name: "value: size above",
    text: '[rpc]\nmessage_bytes_max = "16MiB"\n',
    lines: [
      'covey.toml:2:21: rpc.message_bytes_max: found "16MiB", which is out of range; allowed: a size with its unit from "1KiB" to "16777215B", such as "4MiB"',
    ],
  },
  {
    name: "value: duration order",
    text: '[rpc]\nidle_timeout = "1s1h"\n',
    lines: [
      'covey.toml:2:16: rpc.idle_timeout: found "1s1h", whose units do not go from large to small; allowed: a duration with its unit from "100ms" to "365d", or "0s" for never, such as "100ms"',
    ],
  },
  {
    name: "value: duration range",
    text: '[rpc]\nhandshake_timeout = "0s"\n',
    lines: [
      'covey.toml:2:21: rpc.handshake_timeout: found "0s", which is out of range; allowed: a duration with its unit from "10ms" to "10m", such as "5s"',
    ],
  },
  {
    name: "value: integer below",
    text: "[rpc]\nconnections_max = 0\n",
    lines: [
      "covey.toml:2:19: rpc.connections_max: found 0; allowed: a whole number from 1 to 1000000",
    ],
  },
  {
    name: "value: integer beyond 2^53",
    text: "[rpc]\nconnections_max = 9007199254740993\n",
    lines: [
      "covey.toml:2:19: rpc.connections_max: found 9007199254740993, an integer beyond 2^53; allowed: a whole number from 1 to 1000000",
    ],
  },
  {
    name: "value: integer beyond 2^53 in json",
    file: "c.json",
    text: '{"rpc": {"connections_max": 9007199254740993}}',
    lines: [
      "c.json:1:29: rpc.connections_max: found 9007199254740993, an integer beyond 2^53; allowed: a whole number from 1 to 1000000",
    ],
  },
  {
    name: "value: fraction",
    text: "[rpc]\nconnections_max = 5.0\n",
    lines: [
      "covey.toml:2:19: rpc.connections_max: found the number 5.0; allowed: a whole number from 1 to 1000000",
    ],
  },
  {
    name: "value: inf and nan",
    text: "[admin]\nevent_clients_max = inf\n[log]\nlevel = nan\n",
    lines: [
      "covey.toml:2:21: admin.event_clients_max: found the number inf; allowed: a whole number from 1 to 10000",
      'covey.toml:4:9: log.level: found the number nan; allowed: "trace", "debug", "info", "warning", "error"',
    ],
  },
  {
    name: "value: date",
    text: "[node]\nname = 2026-01-01\n",
    lines: [
      "covey.toml:2:8: node.name: found the date or time 2026-01-01 (quote it); allowed: 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit at both ends",
    ],
  },
  {
    name: "value: boolean as text",
    text: '[admin]\nenabled = "true"\n',
    lines: ['covey.toml:2:11: admin.enabled: found "true", which is text; allowed: true or false'],
  },
  {
    name: "value: choice",
    text: '[log]\nlevel = "INFO"\n',
    lines: [
      'covey.toml:2:9: log.level: found "INFO"; allowed: "trace", "debug", "info", "warning", "error"',
    ],
  },
  {
    name: "value: null",
    file: "c.json",
    text: '{"log": {"level": null}}',
    lines: [
      'c.json:1:19: log.level: found null; allowed: "trace", "debug", "info", "warning", "error"',
    ],
  },
  {
    name: "value: list item",
    text: '[node]\ntags = ["ok", 5, "no spaces"]\n',
    lines: [
      "covey.toml:2:15: node.tags[1]: found 5; allowed: 1 to 64 letters, digits and . _ : / = -, a letter or digit first",
      'covey.toml:2:18: node.tags[2]: found "no spaces"; allowed: 1 to 64 letters, digits and . _ : / = -, a letter or digit first',
    ],
  },
  {
    name: "value: list twice",
    text: '[node]\ntags = ["a", "b", "a"]\n',
    lines: ['covey.toml:2:19: node.tags[2]: found "a" a second time; allowed: each once'],
  },
  {
    name: "value: text for a list",
    text: '[node]\nlisten = "tcp://127.0.0.1:1"\n',
    lines: [
      'covey.toml:2:10: node.listen: found "tcp://127.0.0.1:1"; allowed: a list of 1 to 16 addresses, each once, such as ["tcp://127.0.0.1:1"]',
    ],
  },
  {
    name: "value: empty list",
    text: "[node]\nlisten = []\n",
    lines: [
      "covey.toml:2:10: node.listen: found an empty list; allowed: a list of 1 to 16 addresses, each once",
    ],
  },
  {
    name: "value: addresses",
    text: '[node]\nlisten = ["localhost:7946", "tcp://a:99999"]\n',
    lines: [
      'covey.toml:2:11: node.listen[0]: address "localhost:7946": unknown or missing scheme; allowed: tcp://host:port, unix:/path, unix://@abstract, vsock://cid:port',
      'covey.toml:2:29: node.listen[1]: address "tcp://a:99999": port 99999 is above 65535; allowed: tcp://host:port, unix:/path, unix://@abstract, vsock://cid:port',
    ],
  },
  {
    name: "value: advertised port 0",
    text: '[node]\nadvertise = "tcp://10.0.0.1:0"\n',
    lines: [
      "covey.toml:2:13: node.advertise: found port 0, which nobody can dial; allowed: the real port",
    ],
  },
  {
    name: "value: admin on a socket",
    text: '[admin]\nlisten = "unix:/run/a"\n',
    lines: [
      "covey.toml:2:10: admin.listen: found a unix address; allowed: tcp://host:port on loopback",
    ],
  },
  {
    name: "value: zero byte in a path",
    text: '[node]\ndata = "a\\u0000b"\n',
    lines: ['covey.toml:2:8: node.data: found "a\\u0000b"; allowed: the path of a folder'],
  },
  // Rules between keys.
  {
    name: "rule: beyond loopback",
    text: '[node]\nlisten = ["tcp://127.0.0.1:1", "tcp://0.0.0.0:1"]\n',
    lines: [
      'covey.toml:2:32: node.listen[1]: found "tcp://0.0.0.0:1", which is beyond loopback, without TLS; allowed: a loopback address such as "tcp://127.0.0.1:1", tls.mode = "on" with its three files, or tls.mode = "off" written out for plaintext',
    ],
  },
  {
    name: "rule: tls without files",
    text: '[tls]\nmode = "on"\nkey_file = "k"\n',
    lines: [
      'covey.toml:2:8: tls.mode: found "on" without tls.certificate_file, tls.authorities_file; allowed: "on" with all three files',
    ],
  },
  {
    name: "rule: files without mode",
    text: '[tls]\nkey_file = "k"\n',
    lines: [
      'covey.toml:2:12: tls.key_file: found a file while tls.mode is not set; allowed: with tls.mode = "on", or "off" to leave it unused',
    ],
  },
  {
    name: "rule: admin beyond loopback",
    text: '[admin]\nlisten = "tcp://0.0.0.0:7980"\n',
    lines: [
      'covey.toml:2:10: admin.listen: found "tcp://0.0.0.0:7980", which is beyond loopback; allowed: a loopback address such as "tcp://127.0.0.1:7980" (reach it through ssh -L)',
    ],
  },
  {
    name: "rule: --dev beyond loopback",
    dev: true,
    text: '[node]\nlisten = ["tcp://0.0.0.0:1"]\n[tls]\nmode = "off"\n',
    lines: [
      'covey.toml:2:11: node.listen[0]: found "tcp://0.0.0.0:1", which is beyond loopback, with --dev, which serves this machine alone; allowed: a loopback address such as "tcp://127.0.0.1:1", or a start without --dev',
    ],
  },
  {
    name: "rule: credentials",
    text: "[rpc]\npeer_credentials = true\n",
    lines: [
      "covey.toml:2:20: rpc.peer_credentials: found true, but sim 0 cannot read them; allowed here: false",
    ],
  },
  {
    name: "rule: vsock",
    text: '[node]\nlisten = ["vsock://3:1"]\n[tls]\nmode = "off"\n',
    lines: [
      'covey.toml:2:11: node.listen[0]: found "vsock://3:1", but sim 0 has no vsock sockets; allowed here: tcp://host:port, unix:/path',
    ],
  },
  {
    name: "rule: descriptors",
    text: "[rpc]\nconnections_max = 5000\n",
    host: { descriptorsMax: 1024 },
    lines: [
      "covey.toml:2:19: rpc.connections_max: found 5000, which does not fit the limit of 1024 open descriptors (ulimit -n); allowed here: 1 to 960",
    ],
  },
  {
    name: "rule: host name",
    host: { hostname: "my box", files: { "covey.toml": "" } },
    lines: [
      'default: node.name: found the host name "my box", which cannot serve as a node\'s name; set node.name; allowed: 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit at both ends',
    ],
  },
  // Other layers.
  {
    name: "environment",
    text: "",
    environment: {
      COVEY_LOG__LEVL: "info",
      COVEY_RPC__MESSAGE_BYTES_MAX: "3",
      COVEY_ADMIN__ENABLED: "yes",
      COVEY_RPC__CONNECTIONS_MAX: "1e3",
      COVEY_NODE__LISTEN: "tcp://127.0.0.1:1,nonsense",
      COVEY_UNLIKE_ANYTHING_ELSE_HERE: "1",
      covey_log__level: "not ours",
    },
    lines: [
      "COVEY_LOG__LEVL: unknown variable; the nearest known one is COVEY_LOG__LEVEL",
      "COVEY_UNLIKE_ANYTHING_ELSE_HERE: unknown variable; allowed: COVEY_SECTION__KEY, such as COVEY_LOG__LEVEL",
      'COVEY_NODE__LISTEN: node.listen[1]: address "nonsense": unknown or missing scheme; allowed: tcp://host:port, unix:/path, unix://@abstract, vsock://cid:port',
      'COVEY_RPC__MESSAGE_BYTES_MAX: rpc.message_bytes_max: found "3", which has no unit (B, KiB, MiB, GiB, KB, MB, GB); allowed: a size with its unit from "1KiB" to "16777215B", such as "4MiB"',
      'COVEY_RPC__CONNECTIONS_MAX: rpc.connections_max: found "1e3"; allowed: a whole number from 1 to 1000000',
      'COVEY_ADMIN__ENABLED: admin.enabled: found "yes"; allowed: true or false',
    ],
  },
  {
    name: "flags",
    text: "",
    flags: [
      { key: "log.levle", value: "info", flag: "--set log.levle" },
      { key: "log", value: "info", flag: "--set log" },
      { key: "log.level", value: "loud", flag: "--log-level" },
      { key: "node.listen", value: ["tcp://127.0.0.1"], flag: "--listen" },
      { key: "", value: "x", flag: "--set " },
    ],
    lines: [
      '--set log.levle: unknown key "log.levle"; the nearest known one is log.level',
      '--set log: unknown key "log"; log is a section; its keys are level, format',
      '--set : unknown key ""; the sections are node, cluster, tls, rpc, raft, kv, membership, discovery, cache, autopilot, dns, admin, log',
      '--listen: node.listen[0]: address "tcp://127.0.0.1": the port is missing; allowed: tcp://host:port, unix:/path, unix://@abstract, vsock://cid:port',
      '--log-level: log.level: found "loud"; allowed: "trace", "debug", "info", "warning", "error"',
    ],
  },
  {
    name: "options",
    text: "",
    options: {
      log: { level: 5, format: undefined },
      rpc: { message_bytes_max: 100, handshake_timeout: -1, connections_max: 1.5, unknown: 1 },
      node: { name: new Date(0), tags: [1n], listen: () => [] },
    },
    lines: [
      "options: node.name: found an object of another kind; allowed: 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit at both ends",
      "options: node.listen: found a function; allowed: a list of 1 to 16 addresses, each once",
      "options: node.tags[0]: found 1; allowed: 1 to 64 letters, digits and . _ : / = -, a letter or digit first",
      'options: rpc.message_bytes_max: found 100, which is out of range; allowed: a size with its unit from "1KiB" to "16777215B", such as "4MiB"',
      "options: rpc.connections_max: found 1.5; allowed: a whole number from 1 to 1000000",
      'options: rpc.handshake_timeout: found -1; allowed: a duration with its unit from "10ms" to "10m", such as "5s"',
      'options: rpc.unknown: unknown key "unknown" in [rpc]; the keys of rpc are message_bytes_max, calls_per_connection_max, streams_per_connection_max, stream_queue_bytes_max, stream_queue_messages_max, connection_queue_bytes_max, connection_queue_messages_max, connections_per_listener_max, connections_max, handshake_timeout, idle_timeout, keepalive_interval, keepalive_timeout, drain_timeout, io_stall_timeout, stream_stall_timeout, peer_credentials',
      'options: log.level: found 5; allowed: "trace", "debug", "info", "warning", "error"',
    ],
  },
  {
    name: "a weak layer's mistake does not hide behind a stronger one",
    text: '[log]\nlevel = "loud"\n',
    environment: { COVEY_LOG__LEVEL: "info" },
    lines: [
      'covey.toml:2:9: log.level: found "loud"; allowed: "trace", "debug", "info", "warning", "error"',
    ],
  },
  {
    name: "all problems of a file, in the order of its lines",
    text:
      '[log]\nlevel = 1\nfromat = "text"\n[rpc]\nidle_timeout = 3\n[nod]\n[admin]\nenabled = 1\n',
    lines: [
      'covey.toml:2:9: log.level: found 1; allowed: "trace", "debug", "info", "warning", "error"',
      'covey.toml:3:1: log.fromat: unknown key "fromat" in [log]; the nearest known one is log.format',
      'covey.toml:5:16: rpc.idle_timeout: found 3; allowed: a duration with its unit from "100ms" to "365d", or "0s" for never, such as "100ms"',
      'covey.toml:6:2: nod: unknown section "nod"; the nearest known one is [node]',
      "covey.toml:8:11: admin.enabled: found 1; allowed: true or false",
    ],
  },
  {
    name: "at most 50 problems",
    text: Array.from({ length: 60 }, (_, index) => `wrong${index} = 1\n`).join(""),
    lines: [
      ...Array.from(
        { length: 50 },
        (_, index) =>
          `covey.toml:${index + 1}:1: wrong${index}: unknown key "wrong${index}"; ` +
          "the sections are node, cluster, tls, rpc, raft, kv, membership, discovery, cache, autopilot, dns, admin, log",
      ),
      "covey.toml:51:1: 10 more problems follow; mend these first",
    ],
  },
];
