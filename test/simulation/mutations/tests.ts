/** The tests that every table of bugs has to pass. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runScript } from "../seeds/processes.ts";
import { show } from "../show.ts";
import { type Caught, formatCaught, type Mutated, patchNames, staleMutations } from "./runner.ts";

const isBun = "bun" in process.versions;

/** `least` are the bugs that there must be. */
export function testMutations(
  subject: Mutated,
  { least, processes }: { readonly least: number; readonly processes: number },
): void {
  const { name, mutations } = subject;

  test(`${name}: every row of the table of bugs has a patch that applies, every patch a row`, () => {
    assert.deepEqual(mutations.map((one) => one.name).sort(), patchNames(subject));
    assert.ok(mutations.length >= least);
    assert.deepEqual(staleMutations(subject), []);
  });

  test(`${name}: bugs that are put back are caught`, {
    skip: isBun ? false : "the mutations run in processes of Bun, once is enough",
  }, () => {
    const caught = runScript(name, ["--mutations", "--processes", `${processes}`]) as Caught[];
    show(`${name}: seeds until a bug was caught\n${formatCaught(caught)}`);
    assert.equal(caught.length, mutations.length);
    const missed = caught.filter(({ seeds }) => seeds === undefined);
    assert.deepEqual(missed.map(({ mutation, invariant }) => [mutation.name, invariant]), []);
  });
}
