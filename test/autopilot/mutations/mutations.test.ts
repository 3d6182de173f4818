/** The model proves itself: bugs that are put back are caught. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { show } from "../../simulation/show.ts";
import { type Caught, patchNames, runMutation } from "./run.ts";
import { mutations } from "./table.ts";

const isBun = "bun" in process.versions;

test("every row of the table of bugs has a patch, every patch a row", () => {
  assert.deepEqual(mutations.map(({ name }) => name).sort(), patchNames());
  assert.ok(mutations.length >= 8);
});

test("bugs that are put back are caught", {
  skip: isBun ? false : "Deno would look for the copies' types; once is enough",
}, async () => {
  const caught: Caught[] = [];
  for (const mutation of mutations) caught.push(await runMutation(mutation));
  const rows = caught.map(({ mutation: { bug, seedsMax }, seeds, invariant }) =>
    `${String(seeds ?? "–").padStart(4)} of ${String(seedsMax).padEnd(3)} ${bug.padEnd(60)} ` +
    (seeds === undefined ? "NOT CAUGHT" : invariant)
  );
  show(`autopilot: seeds until a bug was caught\n${rows.join("\n")}`);
  const missed = caught.filter(({ seeds }) => seeds === undefined);
  assert.deepEqual(missed.map(({ mutation }) => mutation.name), []);
});
