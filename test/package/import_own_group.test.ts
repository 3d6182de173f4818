/** docs/own_group.md, as a reader would follow it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Block,
  isDeno,
  noPackages,
  readBlocks,
  type Scene,
  withScene,
} from "./import_support.ts";

const npmOutOfReach = isDeno ? await noPackages() : false;
const blocks = readBlocks("docs/own_group.md");

function named(name: string): Block {
  const block = blocks.find((one) => one.name === name);
  assert.ok(block !== undefined, `docs/own_group.md has no block ${name}`);
  return block;
}

/** How the document says that a program is run. */
function line(scene: Scene, name: string): string {
  scene.write(named(name));
  return isDeno ? `deno run -A ${name}` : `bun ${name}`;
}

test(
  "own group: a machine of one's own",
  { skip: npmOutOfReach },
  () =>
    withScene([], async (scene) => {
      const { code, stdout, stderr } = await scene.run(line(scene, "counter.ts"));
      assert.equal(code, 0, stderr);
      const lines = stdout.trim().split("\n");
      assert.deepEqual(lines.filter((text) => !text.startsWith("entry")), ["40", "42"]);
      const sums = lines.flatMap((text) => /^entry \d+ sum (\d+)$/.exec(text)?.[1] ?? []);
      assert.deepEqual(sums.filter((sum) => sum !== "0"), ["40", "42"]);
    }),
);

test(
  "own group: following without being a member",
  { skip: npmOutOfReach },
  () =>
    withScene([7946, 7980], async (scene) => {
      const node = scene.start(
        "covey agent --dev --listen tcp://127.0.0.1:7946 --admin-listen tcp://127.0.0.1:7980",
      );
      await node.printed("is ready");
      const put = await scene.run("covey kv put a b --node tcp://127.0.0.1:7946");
      assert.equal(put.code, 0, put.stderr);
      const follow = named("follow.ts");
      const text = follow.text.replaceAll(/10\.0\.0\.\d/g, "127.0.0.1");
      scene.write({ ...follow, text });
      const run = isDeno ? "deno run -A" : "bun";
      const observer = scene.start(`${run} follow.ts`);
      await observer.printed("applied ");
      assert.equal(await node.terminate(), 0);
    }),
);

test("own group: every block of the document is tried", () => {
  assert.deepEqual(blocks.map(({ name }) => name), ["counter.ts", "follow.ts"]);
});
