/**
 * The machines of a run: who runs, who starts again, whose disk is gone. What a supervisor and
 * somebody with a screwdriver would do.
 */
import { members } from "../../../src/raft/core/configuration.ts";
import { majorityOf } from "../../../src/raft/core/quorum.ts";
import type { Configuration } from "../../../src/raft/core/types.ts";
import { dataDirectory } from "../node_config.ts";
import { Agent } from "./agent.ts";
import type { RaftWorld } from "./world.ts";

export class Fleet {
  readonly #world: RaftWorld;
  readonly #random;
  readonly agents: Map<string, Agent> = new Map();
  /** Replicas whose disks are gone; they never come back. */
  readonly lost: Set<number> = new Set();

  constructor(world: RaftWorld) {
    this.#world = world;
    this.#random = world.simulation.random("fleet");
  }

  get all(): Agent[] {
    return [...this.agents.values()];
  }

  /** Puts a machine there and switches it on. */
  start(name: string): Agent {
    const { simulation, plan } = this.#world;
    const agent = new Agent(this.#world, name);
    this.agents.set(name, agent);
    agent.machine = simulation.machine(name, {
      diskBytes: plan.diskBytes,
      boot: (runtime) => {
        agent.machine.process.onExit(({ code }) => {
          // What the nemesis ends, it starts again.
          if (code !== null) this.#ended(agent);
        });
        return agent.boot(runtime);
      },
    });
    return agent;
  }

  #ended(agent: Agent): void {
    const { simulation } = this.#world;
    agent.limitExcuse();
    if (!agent.stopping) this.#world.mark("process ended by itself");
    simulation.at(simulation.nowMs + this.#random.between(50, 1500), () => {
      if (!agent.taken && agent.machine.powered && !agent.machine.running) agent.machine.restart();
    });
  }

  /** The machine that a replica lives on, if its process runs. */
  hostOf(replica: number): Agent | undefined {
    return this.all.find((agent) => agent.running && agent.replica?.id === replica);
  }

  /** Whether the disks that are left are a majority without this machine's. */
  canSpare(agent: Agent): boolean {
    const { configuration } = this.#world.invariants;
    const id = agent.replicaId;
    if (configuration === undefined || id === undefined) return false;
    if (configuration.votersOutgoing.length > 0) return false;
    return this.isMajority(
      configuration,
      configuration.voters.filter((voter) => voter !== id && !this.lost.has(voter)),
    );
  }

  /** Whether these replicas are a majority of each half of a configuration. */
  isMajority(configuration: Configuration, ids: readonly number[]): boolean {
    const holds = (voters: readonly number[]): boolean =>
      voters.length === 0 ||
      voters.filter((id) => ids.includes(id)).length >= majorityOf(voters.length);
    return holds(configuration.voters) && holds(configuration.votersOutgoing);
  }

  /** Members of the newest configuration that have a machine with their disk in it. */
  get healthy(): number[] {
    const { configuration } = this.#world.invariants;
    if (configuration === undefined) return [];
    return members(configuration).filter((id) =>
      !this.lost.has(id) &&
      this.all.some((agent) => agent.replicaId === id && !agent.refusesDamage)
    );
  }

  /** Whether there are enough disks for a majority. */
  get hasMajority(): boolean {
    const { configuration } = this.#world.invariants;
    return configuration !== undefined && this.isMajority(configuration, this.healthy);
  }

  /** Takes the machine's disk away and gives it an empty one; it starts as a node of no cluster. */
  replaceDisk(agent: Agent): void {
    const { machine } = agent;
    if (agent.replicaId !== undefined) this.lost.add(agent.replicaId);
    this.#world.mark("data directory lost");
    agent.taken = true;
    machine.losePower();
    const { tree } = machine.disk;
    if (tree.find(dataDirectory) !== undefined) tree.removeTree(dataDirectory);
    tree.syncFolder(tree.folder("/var/lib"));
    machine.disk.heal();
    machine.disk.quotaBytes = this.#world.plan.diskBytes;
    agent.limitExcuse();
    agent.forgetDisk();
    this.#startSoon(agent);
  }

  /** Turns a bit over in what a machine that is off has on its disk; whether it starts is open. */
  damageDisk(agent: Agent): void {
    const { machine } = agent;
    agent.taken = true;
    machine.losePower();
    const place = agent.disk.placeToDamage(machine.disk.paths(), this.#random);
    if (place !== undefined) {
      const bytes = machine.disk.content(place.path)?.length ?? 0;
      if (bytes > 0) {
        machine.disk.flipBit(place.path, place.position % bytes);
        agent.damaged = place.path;
      }
    }
    this.#startSoon(agent);
  }

  #startSoon(agent: Agent): void {
    const { simulation } = this.#world;
    simulation.at(simulation.nowMs + this.#random.between(100, 3000), () => {
      agent.taken = false;
      if (!agent.machine.running) agent.machine.restart();
    });
  }

  /** A batch goes to the disk: the worst moment for the power to go. */
  writing(agent: Agent): void {
    const { simulation, plan, calm } = this.#world;
    const { crashInWriteChance } = plan.disk;
    if (calm || agent.taken || !this.#random.chance(crashInWriteChance)) return;
    simulation.at(simulation.nowMs + this.#random.fraction() * 0.6, () => {
      if (this.#world.calm || agent.taken || !agent.running) return;
      agent.taken = true;
      agent.machine.losePower();
      this.#startSoon(agent);
    });
  }

  /** Everything that was done to machines ends. */
  heal(agents: readonly Agent[] = this.all): void {
    for (const agent of agents) {
      const { machine } = agent;
      if (machine.process.paused) agent.prolongExcuse();
      agent.limitExcuse();
      machine.resume();
      machine.unstick();
      machine.disk.heal();
      machine.disk.quotaBytes = this.#world.plan.diskBytes;
      agent.taken = false;
      if (!machine.running) machine.restart();
    }
  }
}
