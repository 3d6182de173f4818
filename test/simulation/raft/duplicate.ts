/**
 * Somebody starts a second machine with a copy of a node's data directory. The cluster goes on with
 * the one that it knows, says what is wrong, and no client notices.
 */
import { createSimulation } from "../../../src/runtime/sim/simulation.ts";
import type { SimDisk } from "../../../src/runtime/sim/sim_disk.ts";
import { judgeHistory } from "../linearizability/report.ts";
import { until } from "../seeds/run.ts";
import { startWorkers } from "./client.ts";
import { startClientMachine } from "./client_machine.ts";
import { smallWorld, testCommand } from "./small.ts";

const workMs = 20_000;
const clients = 5;

/** Rejects with what went wrong; answers the lines that the nodes logged about it. */
export async function runDuplicate(seed: number): Promise<string[]> {
  const simulation = createSimulation({ seed, latencyMs: [0.3, 2] });
  const world = smallWorld({
    simulation,
    replay: testCommand,
    work: { clients, gapMs: 300, valueBytes: [0, 100], timeoutMs: [2000, 2000] },
  });
  const { history, verdict, fleet } = world;
  const [, , cedar] = world.plan.founders.map((name) => fleet.start(name));
  startClientMachine(world, startWorkers);
  const answered = (): number => history.operations.filter(({ output }) => output).length;
  await until(world, "a cluster founds itself", 20_000, () => answered() > 20);

  const copy = fleet.start("copy");
  // Nobody asks it, and it is switched on once its disk holds what cedar's holds.
  fleet.agents.delete("copy");
  copy.machine.kill();
  copyDisk(cedar.machine.disk, copy.machine.disk);
  copy.machine.restart();
  const before = answered();
  await simulation.run({ forMs: workMs });
  verdict.check(
    answered() - before > 100,
    "a copied data directory disturbs nobody",
    () => `${answered() - before} operations in ${workMs} ms`,
  );
  world.rests = true;
  await simulation.run({ forMs: 5000 });
  const lines = judgeHistory(history.forChecker());
  verdict.check(lines === undefined, "histories are linearizable", () => lines ?? "");
  verdict.confirm();
  return world.warnings;
}

function copyDisk(from: SimDisk, to: SimDisk): void {
  for (const path of from.paths()) {
    const folder = path.slice(0, path.lastIndexOf("/"));
    to.tree.makeFolders(folder, 0o700);
    to.tree.createFile(path, 0o600).write(from.content(path)!, 0);
  }
}
