/** Random faults on hundreds of seeds; see support/simulation.ts for what is checked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reach } from "./support/reach.ts";
import { Simulation } from "./support/simulation.ts";

const groups = 20;
const seedsOfGroup = 20;
const steps = 3000;
const reach = new Reach();
const wanted = [
  // Faults.
  "burst of ticks",
  "calm while",
  "crash with unsynced batches",
  "disk stalled",
  "leader crashed",
  "leader forgotten",
  "message duplicated",
  "message lost",
  "message replayed",
  "one-way cut",
  "partition",
  "restarted",
  "unreachable",
  // States.
  "autoLeaves",
  "campaignsRefused",
  "compacted past the snapshot",
  "elected",
  "joint configuration",
  "progress without one voter",
  "read at a follower",
  "read at the leader",
  "removed leader resigned",
  "resignedForDisk",
  "resignedWithoutQuorum",
  "snapshot taken",
  "snapshot taken on demand",
  "snapshotsFastForwarded",
  "snapshotsRestored",
  "steppedDownRemoved",
  "transfersAborted",
  "truncated suffix",
  "truncated while being written",
  "two leaders of different terms",
  "votesIgnoredInLease",
  // What happens to proposals, changes, reads and transfers.
  "change appended",
  "change dropped: changeInvalid",
  "change dropped: changePending",
  "dropped proposal: refused",
  "dropped read: leaderChanged",
  "dropped read: noLeader",
  "proposal appended",
  "proposal dropped: noLeader",
  "proposal dropped: overload",
  "proposal dropped: removed",
  "proposal dropped: transfer",
  "proposal forwarded",
  "transfer forwarded",
  "transfer refused",
  "transfer started",
];

for (let group = 0; group < groups; group++) {
  const first = group * seedsOfGroup + 1;
  const last = first + seedsOfGroup - 1;
  test(`seeds ${first} to ${last}: every promise is kept, and there is progress`, () => {
    for (let seed = first; seed <= last; seed++) {
      const simulation = new Simulation(seed, reach);
      try {
        simulation.run(steps);
      } catch (error) {
        throw new Error(`seed ${seed}\n${simulation.describe()}`, { cause: error });
      }
    }
  });
}

test("every fault fired and every state was reached", () => {
  console.log(reach.toString());
  assert.deepEqual(reach.missing(wanted), []);
  assert.equal(
    reach.get("messagesInvalid"),
    0,
    "replicas send each other nothing that is not true",
  );
});
