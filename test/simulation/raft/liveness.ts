/**
 * The second phase: a majority that chance chooses is healed, all the others get a fault that never
 * ends, and there must be progress all the same.
 */
import type { Simulation } from "../../../src/runtime/sim/simulation.ts";
import type { Fault } from "../../../src/runtime/sim/network.ts";
import type { Agent } from "./agent.ts";
import type { RaftWorld } from "./world.ts";

export interface Frozen {
  readonly core: readonly Agent[];
  /** Ends what the others were given. */
  heal(): void;
}

/** Heals the core and freezes the rest. Undefined when no majority has its disks. */
export function freeze(world: RaftWorld): Frozen | undefined {
  const { simulation, fleet } = world;
  const random = simulation.random("core");
  const { configuration } = world.invariants;
  if (configuration === undefined) return undefined;
  const { healthy } = fleet;
  const voters = [...new Set([...configuration.voters, ...configuration.votersOutgoing])]
    .filter((id) => healthy.includes(id) && machineOf(world, id) !== undefined);
  if (!fleet.isMajority(configuration, voters)) return undefined;
  // Leaves out as many as can be left out.
  const core = [...voters];
  for (const id of shuffled(voters, random)) {
    const without = core.filter((one) => one !== id);
    if (fleet.isMajority(configuration, without)) core.splice(core.indexOf(id), 1);
  }
  const agents = core.map((id) => machineOf(world, id)!);
  const others = fleet.all.filter((agent) => !agents.includes(agent));
  fleet.heal(agents);
  const cuts = others.map((agent) => condemn(simulation, agent, agents));
  return { core: agents, heal: () => cuts.forEach((fault) => fault?.heal()) };
}

function machineOf(world: RaftWorld, id: number): Agent | undefined {
  return world.fleet.all.find((agent) => agent.replicaId === id && agent.damaged === undefined);
}

function condemn(
  simulation: Simulation,
  agent: Agent,
  core: readonly Agent[],
): Fault | undefined {
  const random = simulation.random(`fate of ${agent.name}`);
  const machines = core.map(({ machine }) => machine);
  agent.taken = true;
  const { machine } = agent;
  switch (random.below(6)) {
    case 0:
      machine.losePower();
      return undefined;
    case 1:
      machine.kill();
      return undefined;
    case 2:
      machine.pause();
      return undefined;
    case 3:
      return simulation.partition(machine, machines);
    case 4:
      return simulation.cut(machine, machines);
    default:
      return simulation.cut(machines, machine);
  }
}

function shuffled<T>(items: readonly T[], random: { below(bound: number): number }): T[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [order[at], order[other]] = [order[other], order[at]];
  }
  return order;
}
