/** The files of `[tls]`, judged before a node starts with them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkFiles } from "../../src/config/files.ts";
import { loadConfig } from "../../src/config/load.ts";
import { ConfigError, formatProblem } from "../../src/config/problem.ts";
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
