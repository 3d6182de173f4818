/**
 * Whole nodes with consensus and the key-value store, on the simulator: 300 seeds under Bun keep
 * every invariant, make progress with any majority, and together reach every marked state; Deno
 * replays 20 of them to the same hashes. The invariants are in test/simulation/raft/.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { armBan, liftBan, realNow as now } from "./ban.ts";
import { type Caught, formatCaught } from "./mutations/runner.ts";
import { patchNames, staleMutations } from "./mutations/raft/runner.ts";
import { raftMutations } from "./mutations/raft/table.ts";
import { Coverage } from "../../src/runtime/sim/coverage.ts";
import { runScript } from "./raft/child.ts";
import { runDuplicate } from "./raft/duplicate.ts";
import { raftHashes } from "./raft/hashes.ts";
import { runPowerLoss } from "./raft/power_loss.ts";
import { marks } from "./raft/marks.ts";
import type { Share } from "./raft/shares.ts";
import { formatTotals, sweep } from "./raft/sweep.ts";
import { show } from "./show.ts";

const isBun = "bun" in process.versions;
const seeds = 300;
const processes = 2;

before(armBan);
after(liftBan);

/** Faults that the seeds must have met; those of datagrams are not this test's. */
const faults = [
  "bitFlip",
  "clockDrift",
  "clockJump",
  "connectionReset",
  "crash",
  "dialRetry",
  "diskFull",
  "kill",
  "lostName",
  "lostWrite",
  "oneWayCut",
  "partialWrite",
  "partition",
  "pause",
  "powerLoss",
  "restart",
  "slowLink",
  "slowSync",
  "split",
  "stall",
  "stallReset",
  "stuckPeer",
  "syncFailure",
  "tornWrite",
] as const;

function checkHashes(hashes: ReadonlyMap<number, string>): void {
  const changed = [...raftHashes].filter(([seed, hash]) => hashes.get(seed) !== hash);
  assert.deepEqual(
    changed,
    [],
    "traces changed: when that is meant, run bun scripts/simulate_raft.ts --hashes",
  );
}

test("raft: whole nodes keep every invariant under 300 seeds of faults", {
  skip: isBun ? false : "the seeds run in processes of Bun, once is enough",
}, () => {
  const { hashes, failures, totals, ...found } = runScript(
    ["--count", `${seeds}`, "--processes", `${processes}`],
  ) as Share;
  const coverage = new Coverage(marks);
  coverage.add(found.coverage);
  console.log(coverage.toString());
  show(`raft: ${formatTotals(totals, failures.length)}`);
  assert.deepEqual(failures, []);
  assert.equal(totals.seeds, seeds);
  checkHashes(new Map(hashes));
  coverage.assertCovered(faults);
});

test("raft: the other engine gives the same traces", {
  skip: isBun ? "the seeds of the sweep are compared with the same hashes" : false,
}, async () => {
  const { hashes, failures, totals } = await sweep({ seeds: raftHashes.keys(), now });
  for (const error of failures.values()) throw error;
  show(`raft: ${formatTotals(totals, failures.size)}`);
  checkHashes(hashes);
});

/** The power goes at every call of a disk, one run for each. */
async function losePowerEverywhere(nodes: 1 | 3, torn: boolean, killed = false): Promise<void> {
  const whole = await runPowerLoss({ nodes, call: Infinity, torn });
  assert.ok(whole.calls > 50, `${whole.calls} calls`);
  let losses = 0;
  for (let call = 1; call <= whole.calls; call++) {
    if ((await runPowerLoss({ nodes, call, torn, killed })).lost) losses++;
  }
  // After a loss the rest takes other ways: the last few calls may not be reached.
  assert.ok(losses > whole.calls * 0.9, `${losses} of ${whole.calls}`);
}

test("raft: a node alone loses nothing, whenever the power goes", () =>
  losePowerEverywhere(1, false));

test("raft: nor where what was not synced is there in part", () => losePowerEverywhere(1, true));

test("raft: nor where the power goes later than the process, which left names that are not durable", () =>
  losePowerEverywhere(1, false, true));

test("raft: nor does one of three", {
  skip: isBun ? false : "the same runs as under Bun, once is enough",
}, () => losePowerEverywhere(3, true));

test("raft: a copy of a data directory disturbs nobody, and is told of", async () => {
  const lines = await runDuplicate(1);
  assert.ok(lines.some((line) => line.includes("two processes run with one node id")), `${lines}`);
});

test("raft: every row of the table of bugs has a patch that applies, every patch a row", () => {
  const names = raftMutations.map(({ name }) => name);
  assert.deepEqual([...names].sort(), patchNames());
  assert.ok(names.length >= 20);
  assert.deepEqual(staleMutations(), []);
});

test("raft: bugs that are put back are caught", {
  skip: isBun ? false : "the mutations run in processes of Bun, once is enough",
}, () => {
  const caught = runScript(["--mutations", "--processes", `${processes}`]) as Caught[];
  show(`raft: seeds until a bug was caught\n${formatCaught(caught)}`);
  assert.equal(caught.length, raftMutations.length);
  const missed = caught.filter(({ seeds: found }) => found === undefined);
  assert.deepEqual(missed.map(({ mutation, invariant }) => [mutation.name, invariant]), []);
});
