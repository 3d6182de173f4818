/**
 * The protocol core of membership in virtual time: 300 seeds under Bun keep every invariant, agree
 * with any majority, and together reach every marked state; Deno replays 20 of them to the same
 * hashes. The invariants are in test/simulation/membership/.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { armBan, liftBan, realNow as now } from "./ban.ts";
import { membershipHashes } from "./membership/hashes.ts";
import { membershipSubject } from "./membership/subject.ts";
import { testMutations } from "./mutations/tests.ts";
import { checkHashes } from "./seeds/hashes.ts";
import { runScript } from "./seeds/processes.ts";
import { joinShares, type Share } from "./seeds/shares.ts";
import { formatTotals, sweep } from "./seeds/sweep.ts";
import { show } from "./show.ts";

const isBun = "bun" in process.versions;
const seeds = 300;
const processes = 2;
/** Seeds in which so many lose their disks, or die on their way in, that nobody can go on. */
const lostMost = seeds / 3;
/** Of the groups that fail in a calm network, those that leave in more than one cut. */
const severalMost = 0.1;

before(armBan);
after(liftBan);

test("membership: the core keeps every invariant under 300 seeds of faults", {
  skip: isBun ? false : "the seeds run in processes of Bun, once is enough",
}, () => {
  const args = ["--count", `${seeds}`, "--processes", `${processes}`];
  const found = joinShares(membershipSubject, [runScript("membership", args) as Share]);
  console.log(found.coverage.toString());
  show(`membership: ${formatTotals(found)}`);
  for (const error of found.failures.values()) throw error;
  assert.equal(found.totals.seeds, seeds);
  checkHashes("membership", { committed: membershipHashes, found: found.hashes });
  found.coverage.assertCovered([]);
  const count = (mark: string): number => found.coverage.count(mark);
  assert.ok(count("quorum lost for ever") <= lostMost, "too many seeds end without a quorum");
  const groups = count("group left in one cut") + count("group left in several cuts");
  assert.ok(count("group left in several cuts") <= severalMost * groups, "groups leave in one cut");
});

test("membership: the other engine gives the same traces", {
  skip: isBun ? "the seeds of the sweep are compared with the same hashes" : false,
}, async () => {
  const found = await sweep(membershipSubject, { seeds: membershipHashes.keys(), now });
  for (const error of found.failures.values()) throw error;
  show(`membership: ${formatTotals(found)}`);
  checkHashes("membership", { committed: membershipHashes, found: found.hashes });
});

testMutations(membershipSubject, { least: 15, processes });
