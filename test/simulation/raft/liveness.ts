/**
 * The second phase: a majority that chance chooses is healed, all the others get a fault that never
 * ends, and there must be progress all the same.
 */
import type { Simulation } from "../../../src/runtime/sim/simulation.ts";
import type { Fault } from "../../../src/runtime/sim/network.ts";
import type { Agent } from "./agent.ts";
import type { ReplicaWatch } from "./replica_watch.ts";
import type { RaftWorld } from "./world.ts";

/** Restarted replicas have applied what they knew to be committed long before. */
const patienceMs = 5_000;

/** The machines that work, and those that never will until everything is healed. */
export class Frozen {
  readonly #world: RaftWorld;
  readonly core: Agent[];
  readonly #fates = new Map<Agent, Fault | undefined>();
  /** Since when nobody of the core could win an election. */
  #hopelessSinceMs: number | undefined = undefined;

  constructor(world: RaftWorld, core: Agent[]) {
    this.#world = world;
    this.core = core;
    const { simulation, fleet } = world;
    fleet.heal(core);
    for (const agent of fleet.all) {
      if (!core.includes(agent)) this.#fates.set(agent, condemn(simulation, agent, core));
    }
  }

  /** Changes that were under way may ask for others than those that were chosen. */
  follow(): void {
    const { fleet, invariants, simulation } = this.#world;
    const configuration = invariants.configuration!;
    while (!fleet.isMajority(configuration, this.#ids)) {
      if (!this.#pardonNext()) break;
    }
    if (this.#mayElect()) this.#hopelessSinceMs = undefined;
    else {
      this.#hopelessSinceMs ??= simulation.nowMs;
      if (simulation.nowMs - this.#hopelessSinceMs < patienceMs) return;
      this.#hopelessSinceMs = undefined;
      this.#pardonNext();
    }
  }

  get #ids(): number[] {
    return this.core.map(({ replicaId }) => replicaId ?? 0);
  }

  /**
   * A change counts from where it is applied, as etcd has it. Those of the core who have not heard
   * that the newest one is committed still ask the members before it, and may lack their majority.
   */
  #mayElect(): boolean {
    const replicas = this.core.map(({ replica }) => replica);
    // Who is starting is waited for.
    if (replicas.some((replica) => replica === undefined)) return true;
    const known = replicas as ReplicaWatch[];
    return known.some((candidate) => {
      const { configuration } = candidate.parts.core.status();
      const voters = known.filter((voter) => !isNewer(voter, candidate)).map(({ id }) => id);
      return this.#world.fleet.isMajority(configuration, voters);
    });
  }

  #pardonNext(): boolean {
    const { healthy, all } = this.#world.fleet;
    const outside = all.filter((agent) =>
      healthy.includes(agent.replicaId ?? 0) && !this.core.includes(agent)
    );
    // One with a damaged disk may be needed too, and does its part as long as nobody reads there.
    const next = outside.find(({ damaged }) => damaged === undefined) ?? outside[0];
    if (next === undefined) return false;
    this.#pardon(next);
    return true;
  }

  #pardon(agent: Agent): void {
    this.#fates.get(agent)?.heal();
    this.#fates.delete(agent);
    this.#world.fleet.heal([agent]);
    this.core.push(agent);
  }

  /** Ends what the others were given. */
  heal(): void {
    for (const agent of [...this.#fates.keys()]) this.#pardon(agent);
  }
}

/** Whether one log is newer than another (section 3.6.1). */
function isNewer(one: ReplicaWatch, other: ReplicaWatch): boolean {
  const [a, b] = [one.memory, other.memory];
  const [aTerm, bTerm] = [a.termAt(a.last) ?? 0, b.termAt(b.last) ?? 0];
  return aTerm > bTerm || (aTerm === bTerm && a.last > b.last);
}

/** Heals a core and freezes the rest. Undefined when no majority has its disks. */
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
  return new Frozen(world, core.map((id) => machineOf(world, id)!));
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
