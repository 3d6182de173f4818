/** The files of `[tls]`, judged before a node starts with them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkFiles, checkMaterial } from "../../src/config/files.ts";
import { checkSocketPaths } from "../../src/config/socket_paths.ts";
import { loadConfig } from "../../src/config/load.ts";
import { ConfigError, formatProblem } from "../../src/config/problem.ts";
import { selectRuntime } from "../../src/start.ts";
import { makeCertificates, type Pair } from "../support/certificates.ts";
import { type FakeOptions, fakeRuntime } from "../support/fake_host.ts";

const pem = "-----BEGIN CERTIFICATE-----\n";
const toml = (mode: string): string =>
  `[tls]\nmode = "${mode}"\ncertificate_file = "c"\nkey_file = "k"\nauthorities_file = "a"\n`;

async function problems(mode: string, options: FakeOptions): Promise<string[]> {
  const files = { "covey.toml": toml(mode), ...options.files };
  const runtime = fakeRuntime({ ...options, files });
  const loaded = await loadConfig(runtime, { file: "covey.toml" });
  try {
    await checkFiles(runtime.disk, loaded);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.problems.map(formatProblem);
  }
  return [];
}

const allowed = "; allowed: the path of a PEM file that this process may read";

test("each file that a node could not use is named with its line", async () => {
  assert.deepEqual(await problems("on", { files: { c: pem, k: pem, a: pem } }), []);
  assert.deepEqual(await problems("on", { files: { c: "no", k: new Uint8Array([0xff]) } }), [
    `covey.toml:3:20: tls.certificate_file: found "c", which is no PEM file${allowed}`,
    `covey.toml:4:12: tls.key_file: found "k", which is no PEM file${allowed}`,
    `covey.toml:5:20: tls.authorities_file: found "a", where there is no file${allowed}`,
  ]);
  const large = "x".repeat((1 << 20) + 1);
  const failing = { k: "is-a-directory", a: "denied" } as const;
  assert.deepEqual(await problems("on", { files: { c: large }, failing }), [
    `covey.toml:3:20: tls.certificate_file: found "c", which is larger than any PEM file${allowed}`,
    `covey.toml:4:12: tls.key_file: found "k", which is a folder${allowed}`,
    'covey.toml:5:20: tls.authorities_file: found "a", which cannot be read (a: made to fail)' +
    allowed,
  ]);
});

test("files that are not used are not read", async () => {
  assert.deepEqual(await problems("off", {}), []);
});

test("material that no node can use is named with its line, whatever the runtime would say", async () => {
  const { good, rogue, expired, renewed, authorities, otherAuthorities } = await makeCertificates();
  const { net } = await selectRuntime();
  const judge = async (pair: Pair, over: Record<string, string> = {}): Promise<string[]> => {
    const files = { "covey.toml": toml("on"), c: pair.certificate, k: pair.key, a: authorities };
    const runtime = { ...fakeRuntime({ files: { ...files, ...over } }), net };
    const loaded = await loadConfig(runtime, { file: "covey.toml" });
    try {
      const validity = await checkMaterial(runtime, loaded);
      assert.equal(validity?.notAfterMs, pair.notAfterMs);
      assert.ok(validity.notBeforeMs < validity.notAfterMs);
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
      return error.problems.map(formatProblem);
    }
    return [];
  };
  for (const pair of [good, renewed, expired]) assert.deepEqual(await judge(pair), []);
  assert.deepEqual(await judge(good, { a: otherAuthorities + authorities }), []);
  const half = good.certificate.slice(0, 300);
  const cases: [over: Record<string, string>, start: RegExp][] = [
    [
      { k: rogue.key },
      /^covey.toml:4:12: tls.key_file: found "k", which holds the key of another c/,
    ],
    [{ k: good.key.slice(0, 60) }, /^covey.toml:4:12: .*, which holds no key that can be read /],
    [{ c: half }, /^covey.toml:3:20: tls.certificate_file: found "c", which ends within a certif/],
    [{ c: `${half}\n-----END CERTIFICATE-----\n` }, /:3:20: .* a certificate that cannot be read/],
    [{ c: good.key }, /:3:20: .*, which holds no certificate; allowed: the node's own certificate/],
    [{ c: good.certificate + half }, /:3:20: .*, which ends within a certificate; /],
    [
      { a: authorities + half },
      /:5:20: tls.authorities_file: .*, which ends within a certificate; /,
    ],
    [{ a: otherAuthorities }, /:3:20: .* that none of the authorities has issued; /],
  ];
  for (const [over, start] of cases) {
    const found = await judge(good, over);
    assert.equal(found.length, 1, found.join("\n"));
    assert.match(found[0], start);
  }
});

test("paths of unix sockets that are too long are named with their line", async () => {
  const judge = async (text: string): Promise<string[]> => {
    const runtime = fakeRuntime({ files: { "covey.toml": text } });
    const loaded = await loadConfig(runtime, { file: "covey.toml" });
    try {
      checkSocketPaths({ directory: "/tmp" }, loaded);
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
      return error.problems.map(formatProblem);
    }
    return [];
  };
  const [fits, long] = ["x".repeat(102), "x".repeat(103)];
  assert.deepEqual(await judge(`[node]\nlisten = ["unix:./${fits}"]\n`), []);
  assert.deepEqual(await judge(`[node]\ndata = "${"x".repeat(91)}"\n`), []);
  const [listen] = await judge(`[node]\nlisten = ["unix:/a", "unix:${long}"]\n`);
  assert.match(
    listen,
    /^covey.toml:2:10: node.listen\[1\]: .* unix socket 108 bytes long; allowed: /,
  );
  const [data] = await judge(`[node]\ndata = "${"x".repeat(92)}"\n`);
  assert.match(data, /^covey.toml:2:8: node.data: .* 108 bytes long; allowed: up to 107, counted /);
  assert.deepEqual(await judge(`[node]\nmemory_only = true\ndata = "${long}"\n`), []);
});
