/**
 * The program of one machine: a whole node, started again when it ends by itself, as a supervisor
 * does it. What the node sees of the world goes through the run's observers.
 */
import type { Config } from "../../../src/config/types.ts";
import { createLog } from "../../../src/log.ts";
// Loaded now: an import takes real time, and a run has none.
import "../../../src/node/replication.ts";
import { Node } from "../../../src/node.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import type { SimMachine } from "../../../src/runtime/sim/machine.ts";
import type { SimProcess } from "../../../src/runtime/sim/process.ts";
import { dataDirectory, meshPort, nodeConfig } from "../node_config.ts";
import { limitStop } from "../stop_limit.ts";
import { DiskWatch } from "./disk_watch.ts";
import type { RunPlan } from "./plan.ts";
import type { ReplicaWatch } from "./replica_watch.ts";
import type { RaftWorld } from "./world.ts";

/** How long the trouble of a disk may be the reason for a node not to start. */
const excuseMs = 20_000;
const drainMs = 500;
/** A stop may take this much longer than draining and a disk that does not answer. */
const stopSlackMs = 300;

/** One machine of a run with all that it was and is. */
export class Agent {
  readonly world: RaftWorld;
  readonly name: string;
  machine!: SimMachine;
  disk: DiskWatch;
  process: SimProcess | undefined = undefined;
  node: Node | undefined = undefined;
  /** The replica of the process that runs; undefined before there is one. */
  replica: ReplicaWatch | undefined = undefined;
  /** Of the data directory, once it has one. */
  replicaId: number | undefined = undefined;
  /** Why the last start failed; undefined when it did not. */
  refusal: Error | undefined = undefined;
  /** Whoever does something to the machine, other than the nemesis, has it to itself. */
  taken = false;
  /** A file in which a bit was turned over. */
  damaged: string | undefined = undefined;
  /** The node is being stopped in order. */
  stopping = false;
  #excuseUntilMs = 0;
  #excuse = "";
  #end: (code: number) => void = () => {};

  constructor(world: RaftWorld, name: string) {
    this.world = world;
    this.name = name;
    this.disk = this.#newDisk();
  }

  get address(): string {
    return `tcp://${this.machine.ip}:${meshPort}`;
  }

  get running(): boolean {
    return this.machine.running && this.node !== undefined;
  }

  /** It runs and is part of no cluster. */
  get isWaiting(): boolean {
    return this.running && this.replica === undefined && this.replicaId === undefined;
  }

  /** For a while the node may have this reason not to start; or until {@link limitExcuse}. */
  excuse(why: string, forMs: number = excuseMs): void {
    this.#excuse = why;
    this.#excuseUntilMs = this.world.simulation.nowMs + forMs;
  }

  /** The reason has come to pass, or is gone. */
  limitExcuse(): void {
    this.#excuseUntilMs = Math.min(this.#excuseUntilMs, this.world.simulation.nowMs + excuseMs);
  }

  /** A process that stood still learns only now what its disk has answered before. */
  prolongExcuse(): void {
    if (this.#excuse !== "") this.excuse(this.#excuse);
  }

  /** What is damaged on its disk keeps the node from starting, until somebody replaces the disk. */
  get refusesDamage(): boolean {
    return this.damaged !== undefined && this.refusal !== undefined;
  }

  get excused(): string | undefined {
    if (this.damaged !== undefined) return `${this.damaged} is damaged`;
    return this.world.simulation.nowMs < this.#excuseUntilMs ? this.#excuse : undefined;
  }

  /** What the machine boots. Ends when the node cannot start. */
  async boot(runtime: Runtime): Promise<number> {
    const { machine } = this;
    this.process = machine.process;
    this.node = undefined;
    this.replica = undefined;
    this.refusal = undefined;
    this.stopping = false;
    this.world.bound(this, runtime.clock);
    const log = await createLog(runtime, { level: "info", node: this.name, format: "none" });
    const subscription = log.subscribe((record) => this.world.logged(this, record));
    const watched: Runtime = { ...runtime, disk: this.disk.watch(runtime.disk) };
    try {
      const config = configOf(this.world.plan, watched, this);
      this.node = await Node.start({ runtime: watched, config, dev: true, admin: false, log });
    } catch (error) {
      subscription.cancel();
      this.refusal = error as Error;
      this.world.refused(this, this.refusal);
      return 1;
    }
    return await new Promise<number>((resolve) => this.#end = resolve);
  }

  /** Stops the node in order, and ends its process unless that is to be looked at. */
  async stop(options: { readonly staysThere?: boolean } = {}): Promise<void> {
    const { node, process, world } = this;
    if (node === undefined || process === undefined) return;
    this.stopping = true;
    const boundMs = drainMs + node.config.raft.disk_stall_timeout + stopSlackMs;
    const limit = limitStop(process.runtime.clock, boundMs, () => {
      world.verdict.violate(
        "a node stops in time",
        `${this.name} is ${node.state} after ${boundMs} ms`,
      );
    });
    try {
      await node.stop();
    } catch (error) {
      world.verdict.violate("a node stops in order", `${this.name}: ${String(error)}`);
    }
    limit.cancel();
    world.mark("node stopped in order");
    if (options.staysThere !== true) this.#end(0);
  }

  /** The machine gets an empty disk. */
  forgetDisk(): void {
    this.disk = this.#newDisk();
    this.replicaId = undefined;
    this.damaged = undefined;
  }

  #newDisk(): DiskWatch {
    return new DiskWatch({
      logDirectory: `${dataDirectory}/raft/log/`,
      synced: (log) => this.world.synced(log),
      writing: () => this.world.fleet.writing(this),
    });
  }
}

/** The configuration as the schema makes it, with bounds that are smaller than it allows. */
function configOf(plan: RunPlan, runtime: Runtime, agent: Agent): Config {
  const { world, name } = agent;
  const isFounder = plan.founders.includes(name);
  // Those who come later know one or more of those who were there.
  const known = world.fleet.all.filter((one) => plan.founders.includes(one.name) && one !== agent);
  const config = nodeConfig(runtime, { name, advertise: agent.address }, {
    cluster: {
      join: known.map(({ address }) => address),
      expect: isFounder && plan.founders.length === 1 && plan.spares.length > 0 ? 1 : 0,
    },
  });
  return {
    ...config,
    rpc: { ...config.rpc, drain_timeout: drainMs },
    raft: { ...config.raft, ...plan.raft },
    kv: { ...config.kv, ...plan.kv },
  };
}
