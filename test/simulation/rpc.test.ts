/**
 * ttrpc's client and server, as whole nodes, on the simulator: 300 seeds under Bun keep every
 * invariant and together reach every marked state, Deno replays 20 of them to the same hashes, and
 * bugs that are put back on purpose are found. The invariants are in test/simulation/rpc/.
 */
import { after, before, test } from "node:test";
import { armBan, liftBan, realNow as now } from "./ban.ts";
import { testMutations } from "./mutations/tests.ts";
import { rpcHashes } from "./rpc/hashes.ts";
import { rpcSubject } from "./rpc/subject.ts";
import { datagramFaults, diskFaults, faultsWithout } from "./seeds/faults.ts";
import { checkHashes } from "./seeds/hashes.ts";
import { formatTotals, sweep } from "./seeds/sweep.ts";
import { show } from "./show.ts";

const isBun = "bun" in process.versions;
const seeds = 300;
const processes = 2;

before(armBan);
after(liftBan);

/** Faults that the seeds must have met; those of the disk and of datagrams are not this test's. */
const faults = faultsWithout(...diskFaults, ...datagramFaults);

test("rpc: whole nodes keep every invariant, and both engines give the same traces", async () => {
  const all = Array.from({ length: seeds }, (_, at) => at + 1);
  const found = await sweep(rpcSubject, { seeds: isBun ? all : rpcHashes.keys(), now });
  for (const error of found.failures.values()) throw error;
  show(`rpc: ${formatTotals(found)}`);
  checkHashes("rpc", { committed: rpcHashes, found: found.hashes });
  if (!isBun) return;
  console.log(found.coverage.toString());
  found.coverage.assertCovered(faults);
});

testMutations(rpcSubject, { least: 15, processes });
