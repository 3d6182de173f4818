/** docs/reference/membership.md's program, as a reader would run it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeno, noPackages, readBlocks, withScene } from "./import_support.ts";

const npmOutOfReach = isDeno ? await noPackages() : false;

test(
  "membership: a program reads the views of its node",
  { skip: npmOutOfReach },
  () =>
    withScene([7946, 7980], async (scene) => {
      const block = readBlocks("docs/reference/membership.md").find(({ name }) =>
        name === "members.ts"
      );
      assert.ok(block !== undefined);
      scene.write(block);
      const { code, stdout, stderr } = await scene.run(
        isDeno ? "deno run -A members.ts" : "bun members.ts",
      );
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^view 1 of 1 \[ "kiosk-1" \] \[\] 0\nkiosk-1 member\n$/);
    }),
);
