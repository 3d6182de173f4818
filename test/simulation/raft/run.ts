/**
 * One seed from its first event to its last. First everything may fail, and what is safe must stay
 * so. Then a majority is healed, all other faults stay as they are, and there must be progress. Then
 * everything is healed, and all must become equal and come to rest.
 */
import { createSimulation, type Simulation } from "../../../src/runtime/sim/simulation.ts";
import { judgeHistory } from "../linearizability/report.ts";
import { watchBounds } from "./bounds.ts";
import { Connections, KvWorker } from "./client.ts";
import { DiskFaults } from "./disk_faults.ts";
import { inspect } from "./inspector.ts";
import { LeaderFaults } from "./leader_faults.ts";
import { LeaseHolder } from "./lease_holder.ts";
import { freeze, type Frozen } from "./liveness.ts";
import { Operator } from "./operator.ts";
import { chaosMostMs, chaosUntilMs, drawPlan, type RunPlan } from "./plan.ts";
import { replayLine, Verdict } from "./verdict.ts";
import { Watcher } from "./watcher.ts";
import { Workload } from "./workload.ts";
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
/** For stopping everything in order; and for how long nothing may follow. */
const stopMs = 8_000;
const silenceMs = 60_000;
export const operationsMin = 500;
export const faultsMin = 8;
export const faultKindsMin = 3;

export interface RaftRun {
  readonly simulation: Simulation;
  readonly operations: number;
  readonly faults: number;
  readonly hash: string;
}

export interface RunOptions {
  readonly log?: (line: string) => void;
  /** Looks into the run. */
  readonly world?: (world: RaftWorld) => void;
}

/** Runs a seed; rejects with the first broken invariant. */
export async function runRaftSeed(seed: number, options: RunOptions = {}): Promise<RaftRun> {
  // The plan is drawn by a generator of the same seed before there is a simulation to ask.
  const plan = drawPlan(createSimulation({ seed }).random("plan"));
  const simulation = createSimulation({ seed, log: options.log, ...plan.faults });
  const verdict = new Verdict(simulation);
  const world = new RaftWorld(simulation, verdict, plan);
  options.world?.(world);
  const leave = inspect(world);
  try {
    return await runPlan(world, plan);
  } catch (error) {
    throw verdict.violation ?? withSeed(seed, error);
  } finally {
    leave();
  }
}

function withSeed(seed: number, error: unknown): Error {
  const text = error instanceof Error ? error.message : String(error);
  return new Error(`the run failed: ${text}\nreplay: ${replayLine(seed)}`, { cause: error });
}

async function runPlan(world: RaftWorld, plan: RunPlan): Promise<RaftRun> {
  const { simulation, verdict, history, fleet } = world;
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
  const faults = countFaults(simulation);
  verdict.check(
    history.operations.length >= operationsMin,
    "a seed is long enough",
    () => `${history.operations.length} operations`,
  );
  verdict.check(
    faults.total >= faultsMin && faults.kinds >= faultKindsMin,
    "a seed is rough enough",
    () => `${faults.total} faults of ${faults.kinds} kinds`,
  );
  judge(world);
  await listenToSilence(world);
  return { simulation, operations: history.operations.length, faults: faults.total, hash };
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

/** Everything was stopped: whoever still does something has left a timer or a socket behind. */
async function listenToSilence(world: RaftWorld): Promise<void> {
  const { simulation, verdict } = world;
  await simulation.run({ forMs: 2000 });
  const { hash } = simulation;
  await simulation.run({ forMs: silenceMs });
  verdict.check(simulation.hash === hash, "a stopped node is silent", "something still runs");
}

/** What can be said now that everything is known. */
function judge(world: RaftWorld): void {
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
  const { simulation, plan, watchers } = world;
  const workload = new Workload(simulation.random("workload"), plan.work);
  simulation.machine("clients", {
    immune: true,
    boot: async (runtime) => {
      const connections = new Connections(runtime);
      const shared = { world, runtime, connections };
      for (let at = 0; at < plan.work.clients; at++) {
        void new KvWorker({ ...shared, workload, name: `client ${at}` }).run();
      }
      for (let at = 0; at < plan.work.watchers; at++) {
        const watcher = new Watcher({ ...shared, name: `watcher ${at}` });
        watchers.push(watcher);
        void watcher.run();
      }
      for (let at = 0; at < plan.work.leaseHolders; at++) {
        void new LeaseHolder({ ...shared, name: `holder ${at}` }).run();
      }
      void new Operator(world, runtime).run();
      await new Promise<void>(() => {});
    },
  });
}

/** Runs until a condition holds; that it does in time is an invariant. */
export async function until(
  world: RaftWorld,
  invariant: string,
  forMs: number,
  holds: () => boolean,
): Promise<void> {
  const { simulation, verdict } = world;
  const endMs = simulation.nowMs + forMs;
  while (!holds()) {
    if (simulation.nowMs >= endMs) {
      verdict.violate(invariant, `after ${forMs} ms\n${world.describe()}`);
    }
    await simulation.run({ forMs: 20 });
  }
}

const hardFaults = [
  "partition",
  "oneWayCut",
  "connectionReset",
  "slowLink",
  "stuckPeer",
  "pause",
  "kill",
  "crash",
  "powerLoss",
  "clockJump",
  "diskFull",
  "syncFailure",
  "bitFlip",
] as const;

export function countFaults(simulation: Simulation): { total: number; kinds: number } {
  const counts = hardFaults.map((kind) => simulation.coverage.count(kind));
  return {
    total: counts.reduce((sum, count) => sum + count, 0),
    kinds: counts.filter((count) => count > 0).length,
  };
}
