/**
 * ttrpc's client and server, as whole nodes, on the simulator: 300 seeds under Bun keep every
 * invariant and together reach every marked state, Deno replays 20 of them to the same hashes, and
 * bugs that are put back on purpose are found. The invariants are in test/simulation/rpc/.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { armBan, liftBan, realNow as now } from "./ban.ts";
import { formatCaught, runMutations } from "./mutations/runner.ts";
import { mutations } from "./mutations/table.ts";
import { rpcHashes } from "./rpc/hashes.ts";
import { sweep } from "./rpc/sweep.ts";
import { show } from "./show.ts";

const isBun = "bun" in process.versions;

before(armBan);
after(liftBan);

/** Faults that the seeds must have met; those of the disk and of datagrams are not this test's. */
const faults = [
  "clockDrift",
  "clockJump",
  "connectionReset",
  "crash",
  "dialRetry",
  "kill",
  "oneWayCut",
  "partialWrite",
  "partition",
  "pause",
  "powerLoss",
  "restart",
  "slowLink",
  "split",
  "stall",
  "stallReset",
  "stuckPeer",
] as const;

test("rpc: whole nodes keep every invariant, and both engines give the same traces", async () => {
  const { coverage, hashes, failures, summary } = await sweep({
    from: 1,
    to: isBun ? 300 : rpcHashes.size,
    now,
  });
  for (const error of failures.values()) throw error;
  show(`rpc: ${summary}`);
  const changed = [...rpcHashes].filter(([seed, hash]) => hashes.get(seed) !== hash);
  assert.deepEqual(
    changed,
    [],
    "traces changed: when that is meant, run bun scripts/simulate_rpc.ts --hashes",
  );
  if (!isBun) return;
  console.log(coverage.toString());
  coverage.assertCovered(faults);
});

test("rpc: bugs that are put back are caught", {
  skip: isBun ? false : "the mutations run in processes of Bun, once is enough",
}, () => {
  assert.ok(mutations.length >= 15);
  liftBan();
  const caught = runMutations();
  armBan();
  show(`rpc: seeds until a bug was caught\n${formatCaught(caught)}`);
  const missed = caught.filter(({ seeds }) => seeds === undefined);
  assert.deepEqual(missed.map(({ mutation, invariant }) => [mutation.name, invariant]), []);
});
