/** What is generated from the schema and committed is up to date, and it is right. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as z from "npm:zod@4.6.7";
import { generateFiles } from "../../scripts/generate_config.ts";
import { jsonSchema } from "../../src/config/json_schema.ts";
import { loadConfig } from "../../src/config/load.ts";
import { sampleFile, sampleObject } from "../../src/config/sample.ts";
import { settings } from "../../src/config/settings.ts";
import { showObject, showToml } from "../../src/config/show.ts";
import { fakeRuntime } from "../support/fake_host.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

test("generated files are what the schema gives now", () => {
  for (const [path, text] of generateFiles()) {
    const committed = readFileSync(join(root, path), "utf8");
    assert.equal(committed, text, `run scripts/generate_config.ts and commit ${path}`);
  }
});

test("the reference names every key, its variable and its default", () => {
  const reference = generateFiles().get("docs/reference/configuration.md") ?? "";
  for (const setting of settings) {
    assert.ok(reference.includes(`### \`${setting.path}\``), setting.path);
    assert.ok(reference.includes(`\`${setting.variable}\``), setting.variable);
  }
});

async function load(name: string, text: string) {
  return await loadConfig(fakeRuntime({ files: { [name]: text } }), { file: name });
}

test("the sample means the defaults, and so does every line of it without its #", async () => {
  const defaults = (await loadConfig(fakeRuntime())).config;
  const sample = sampleFile("./covey.schema.json");
  assert.ok(sample.startsWith("#:schema ./covey.schema.json\n"));
  assert.deepEqual((await load("covey.toml", sample)).config, defaults);
  const active = sample.replace(
    /^#(\w+ = .*)$/gm,
    (line, rest) => line.endsWith("# not set") ? line : rest,
  );
  assert.notEqual(active, sample);
  const loaded = await load("covey.toml", active);
  assert.deepEqual(loaded.config, defaults);
  const written = [...loaded.origins.values()].filter(({ layer }) => layer === "file");
  assert.equal(written.length, settings.filter((each) => each.default !== undefined).length - 1);
  assert.ok(Math.max(...sample.split("\n").map((line) => line.length)) <= 98);

  const object = JSON.stringify(sampleObject("./covey.schema.json"));
  assert.deepEqual((await load("covey.json", object)).config, defaults);
});

test("what show prints is a file that gives the same configuration", async () => {
  const text = '[node]\nname = "gw"\ntags = ["a", "b\\u002fc"]\n[rpc]\nidle_timeout = "90s"\n';
  const loaded = await load("covey.toml", text);
  for (const origins of [false, true]) {
    const again = await load("again.toml", showToml(loaded, origins));
    assert.deepEqual(again.config, loaded.config);
  }
  const json = await load("again.json", JSON.stringify(showObject(loaded)));
  assert.deepEqual(json.config, loaded.config);
});

test("the JSON Schema accepts good files and refuses bad ones", () => {
  for (const dialect of ["draft-2020-12", "draft-04"] as const) {
    const schema = jsonSchema(dialect);
    assert.equal(
      schema.$schema,
      dialect === "draft-04"
        ? "http://json-schema.org/draft-04/schema#"
        : "https://json-schema.org/draft/2020-12/schema",
    );
    const validator = z.fromJSONSchema(schema as z.core.JSONSchema.JSONSchema);
    const accepts = (value: unknown): boolean => validator.safeParse(value).success;
    assert.ok(accepts({}), "every key is optional");
    assert.ok(accepts(sampleObject("./x.json")));
    assert.ok(accepts({ rpc: { message_bytes_max: "8MiB", idle_timeout: "1h30m" } }));
    assert.ok(!accepts({ rpc: { message_bytes_max: 8 } }));
    assert.ok(!accepts({ rpc: { message_bytes_max: "8" } }));
    assert.ok(!accepts({ rpc: { mesage_bytes_max: "8MiB" } }));
    assert.ok(!accepts({ rcp: {} }));
    assert.ok(!accepts({ node: { listen: [] } }));
    assert.ok(!accepts({ log: { level: "loud" } }));
    assert.ok(!accepts({ rpc: { connections_max: 0 } }));
  }
});
