/**
 * Runs whole nodes with consensus and the key-value store on the simulator, seed by seed:
 *
 *   bun scripts/simulate_raft.ts --from 1 --count 300 [--keep-going]   a sweep, with its coverage
 *   bun scripts/simulate_raft.ts --from 1 --count 300 --step 2         every second seed of these
 *   bun scripts/simulate_raft.ts --count 300 --processes 2             all of them, side by side
 *   bun scripts/simulate_raft.ts --mutations --processes 2 [NAME…]     bugs put back, and found
 *   bun scripts/simulate_raft.ts --seed 17 [--trace]                   one seed again
 *   bun scripts/simulate_raft.ts --hashes                              rewrites the committed hashes
 *   bun scripts/simulate_raft.ts --speed                               how fast three calm nodes run
 *
 * It ends with 0 when every seed kept every invariant, else with 1 and the command that shows the
 * first one that did not. `--json` prints one object at the end, for who adds up several of these.
 */
import { armBan } from "../test/simulation/ban.ts";
import { measureSpeed } from "../test/simulation/raft/speed.ts";
import { raftSubject } from "../test/simulation/raft/subject.ts";
import { say, simulate } from "../test/simulation/seeds/command.ts";

const speedVirtualMs = 600_000;

async function saySpeed(): Promise<number> {
  const now = performance.now.bind(performance);
  armBan();
  const { virtualMs, realMs, events, operations } = await measureSpeed(speedVirtualMs, now);
  say(
    `three nodes, ${(operations * 1000 / virtualMs).toFixed(1)} operations a second: ` +
      `${(virtualMs / realMs).toFixed(0)}× real time, ${(events / realMs).toFixed(0)}k events/s, ` +
      `${(events * 1000 / virtualMs).toFixed(0)} events per virtual second`,
  );
  return 0;
}

const args = process.argv.slice(2);
process.exitCode = args[0] === "--speed" ? await saySpeed() : await simulate(raftSubject, args);
