/** Every line that a bad configuration prints, word for word. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { badClusterConfigs } from "./bad_cluster_configs.ts";
import { badConfigs, problemLines } from "./bad_configs.ts";

for (const bad of [...badConfigs, ...badClusterConfigs]) {
  test(`bad config: ${bad.name}`, async () => {
    const lines = await problemLines(bad);
    assert.deepEqual(lines, bad.lines);
    assert.ok(lines.length > 0, "it must not start");
    // deno-lint-ignore no-control-regex
    for (const line of lines) assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u202e]/);
  });
}
