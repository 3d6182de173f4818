/**
 * Whole nodes with consensus and the key-value store, on the simulator: 300 seeds under Bun keep
 * every invariant, make progress with any majority, and together reach every marked state; Deno
 * replays 20 of them to the same hashes. The invariants are in test/simulation/raft/.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { armBan, liftBan, realNow as now } from "./ban.ts";
import { testMutations } from "./mutations/tests.ts";
import { runDuplicate } from "./raft/duplicate.ts";
import { raftHashes } from "./raft/hashes.ts";
import { runPowerLoss } from "./raft/power_loss.ts";
import { raftSubject } from "./raft/subject.ts";
import { datagramFaults, faultsWithout } from "./seeds/faults.ts";
import { checkHashes } from "./seeds/hashes.ts";
import { runScript } from "./seeds/processes.ts";
import { joinShares, type Share } from "./seeds/shares.ts";
import { formatTotals, sweep } from "./seeds/sweep.ts";
import { show } from "./show.ts";

const isBun = "bun" in process.versions;
const seeds = 300;
const processes = 2;

before(armBan);
after(liftBan);

/** Faults that the seeds must have met; a call of the disk that fails is a sync here. */
const faults = faultsWithout(...datagramFaults, "openFailure", "readFailure", "writeFailure");

test("raft: whole nodes keep every invariant under 300 seeds of faults", {
  skip: isBun ? false : "the seeds run in processes of Bun, once is enough",
}, () => {
  const args = ["--count", `${seeds}`, "--processes", `${processes}`];
  const found = joinShares(raftSubject, [runScript("raft", args) as Share]);
  console.log(found.coverage.toString());
  show(`raft: ${formatTotals(found)}`);
  for (const error of found.failures.values()) throw error;
  assert.equal(found.totals.seeds, seeds);
  checkHashes("raft", { committed: raftHashes, found: found.hashes });
  found.coverage.assertCovered(faults);
});

test("raft: the other engine gives the same traces", {
  skip: isBun ? "the seeds of the sweep are compared with the same hashes" : false,
}, async () => {
  const found = await sweep(raftSubject, { seeds: raftHashes.keys(), now });
  for (const error of found.failures.values()) throw error;
  show(`raft: ${formatTotals(found)}`);
  checkHashes("raft", { committed: raftHashes, found: found.hashes });
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

testMutations(raftSubject, { least: 20, processes });
