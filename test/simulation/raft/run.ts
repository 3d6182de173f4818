/**
 * One seed from its first event to its last. First everything may fail, and what is safe must stay
 * so. Then a majority is healed, all other faults stay as they are, and there must be progress. Then
 * everything is healed, and all must become equal and come to rest.
 */
import { judgeHistory } from "../linearizability/report.ts";
import {
  checkEffort,
  listenToSilence,
  operationsMin,
  runSeed,
  type SeedParts,
  until,
} from "../seeds/run.ts";
import type { SeedRun } from "../seeds/subject.ts";
import { watchBounds } from "./bounds.ts";
import { startWorkers } from "./client.ts";
import { startClientMachine } from "./client_machine.ts";
import { DiskFaults } from "./disk_faults.ts";
import { inspect } from "./inspector.ts";
import { LeaderFaults } from "./leader_faults.ts";
import { LeaseHolder } from "./lease_holder.ts";
import { freeze, type Frozen } from "./liveness.ts";
import { Operator } from "./operator.ts";
import { chaosMostMs, chaosUntilMs, drawPlan, type RunPlan } from "./plan.ts";
import { Watcher } from "./watcher.ts";
import { RaftWorld } from "./world.ts";

/** From the start until the first write went through. */
const foundedMs = 40_000;
/** From the healing of a majority until so many writes were acknowledged. */
const progressMs = 30_000;
const writesWanted = 5;
/** From the end of all faults until all nodes are equal. */
const convergeMs = 40_000;
/** Until the operations that are under way have ended. */
const restMs = 30_000;
/** Snapshots and the like that are due come to their end within so many of these. */
const idleMs = 10_000;
const idleWindows = 4;
/** For stopping everything in order. */
const stopMs = 8_000;
const settleMs = 2_000;

/** Runs a seed; rejects with the first broken invariant. */
export function runRaftSeed(seed: number, log?: (line: string) => void): Promise<SeedRun> {
  return runSeed({ name: "raft", seed, log, drawPlan }, runPlan);
}

async function runPlan({ simulation, verdict, plan }: SeedParts<RunPlan>): Promise<SeedRun> {
  const world = new RaftWorld(simulation, verdict, plan);
  const leave = inspect(world);
  try {
    return await live(world);
  } finally {
    leave();
  }
}

async function live(world: RaftWorld): Promise<SeedRun> {
  const { simulation, history, fleet, plan } = world;
  for (const name of plan.founders) fleet.start(name);
  startClients(world);
  const disks = new DiskFaults(world);
  watchBounds(world);

  await until(world, "a cluster founds itself", foundedMs, () => world.agreed.revision > 1);
  disks.begin(simulation.nowMs);
  const leaderFaults = new LeaderFaults(world);
  leaderFaults.begin(simulation.nowMs);
  await simulation.run({ untilMs: Math.max(chaosUntilMs, simulation.nowMs) });
  while (history.operations.length < operationsMin && simulation.nowMs < chaosMostMs) {
    await simulation.run({ forMs: 1000 });
  }

  simulation.calmDown();
  disks.stop();
  world.calm = true;
  const frozen = freeze(world);
  if (frozen !== undefined) await demandProgress(world, frozen);
  frozen?.heal();
  world.core = undefined;
  fleet.heal();
  leaderFaults.hiccup();
  world.rests = true;
  await until(
    world,
    "every operation ends",
    restMs,
    () => history.operations.every(({ outcome }) => outcome !== "open"),
  );
  await demandEquality(world);
  const hash = await comeToRest(world);
  const operations = history.operations.length;
  const faults = checkEffort(world, operations);
  judge(world);
  await listenToSilence(world, settleMs);
  return { simulation, operations, faults, hash };
}

/** Writes through the core are answered, although all the others are out of order. */
async function demandProgress(world: RaftWorld, frozen: Frozen): Promise<void> {
  const { history, simulation, fleet } = world;
  world.core = frozen.core;
  world.mark("progress without a minority");
  const sinceMs = simulation.nowMs;
  await until(world, "a majority makes progress", progressMs, () => {
    // A change that was under way may have made one of the lost machines a voter.
    if (!fleet.hasMajority) return true;
    frozen.follow();
    const answered = history.operations.filter(({ callMs, output, input }) =>
      callMs >= sinceMs && output?.succeeded === true &&
      input.success.some(({ kind }) => kind === "put")
    );
    return answered.length >= writesWanted;
  });
}

/** Everybody is back: all apply the same, and watchers have seen everything. */
async function demandEquality(world: RaftWorld): Promise<void> {
  const { fleet } = world;
  await until(
    world,
    "all nodes become equal",
    convergeMs,
    () => !fleet.hasMajority || world.converged(),
  );
  if (!fleet.hasMajority) return world.mark("majority lost for ever");
  await until(
    world,
    "watchers get everything",
    convergeMs,
    () => world.watchers.every((watcher) => watcher.isComplete),
  );
}

/** Nothing is asked any more: soon nothing is agreed on, nothing is written, nobody is elected. */
async function comeToRest(world: RaftWorld): Promise<string> {
  const { simulation, verdict, fleet } = world;
  world.over = true;
  for (let window = 0;; window++) {
    const before = stateOf(world);
    await simulation.run({ forMs: idleMs });
    const after = stateOf(world);
    const changed = after.filter((line, at) => line !== before[at]);
    if (changed.length === 0) break;
    if (window < idleWindows) continue;
    verdict.violate(
      "an idle cluster writes nothing",
      `in the last ${idleMs} ms this changed: ${changed.join("; ")}`,
    );
    break;
  }
  const { hash } = simulation;
  simulation.machine("clients").kill();
  for (const agent of fleet.all) if (agent.running) void agent.stop({ staysThere: true });
  await simulation.run({ forMs: stopMs });
  return hash;
}

/** What must stand still in an idle cluster, machine by machine. */
function stateOf(world: RaftWorld): string[] {
  const { fleet, agreed } = world;
  // A replica that was removed and does not know it may go on asking for votes.
  const terms = fleet.healthy.map((id) => fleet.hostOf(id)?.replica?.parts.core.status().term);
  return [
    `${agreed.index} entries agreed`,
    `terms ${terms.join(" ")}`,
    ...fleet.all.map(({ name, disk, running }) =>
      running ? `${name} wrote ${disk.writes} times` : `${name} is off`
    ),
  ];
}

/** What can be said now that everything is known. */
export function judge(world: RaftWorld): void {
  const { verdict, history, agreed } = world;
  world.compareStates();
  agreed.judgeHistory();
  for (const watcher of world.watchers) {
    const wrong = watcher.judge(0);
    verdict.check(wrong === undefined, "watchers get every event once", () => wrong ?? "");
  }
  const lines = judgeHistory(history.forChecker());
  verdict.check(lines === undefined, "histories are linearizable", () => lines ?? "");
}

function startClients(world: RaftWorld): void {
  const { plan, watchers } = world;
  startClientMachine(world, (parts) => {
    startWorkers(parts);
    for (let at = 0; at < plan.work.watchers; at++) {
      const watcher = new Watcher(parts, `watcher ${at}`);
      watchers.push(watcher);
      void watcher.run();
    }
    for (let at = 0; at < plan.work.leaseHolders; at++) {
      void new LeaseHolder(parts, `holder ${at}`).run();
    }
    void new Operator(world, parts.runtime).run();
  });
}
