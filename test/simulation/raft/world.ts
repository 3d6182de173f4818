/** What all parts of one run share, and where everything that is observed comes together. */
import { CoveyError } from "../../../src/base/error.ts";
import type { LogRecord } from "../../../src/base/log.ts";
import { Xxh64 } from "../../../src/base/xxh64.ts";
import type { KvMachine } from "../../../src/kv/core/kv_machine.ts";
import type { KvResult } from "../../../src/kv/core/result.ts";
import { members } from "../../../src/raft/core/configuration.ts";
import type { RaftNode } from "../../../src/raft/core/node.ts";
import type { Ready } from "../../../src/raft/core/ready.ts";
import type { Message, ReplicaId } from "../../../src/raft/core/types.ts";
import type { GroupOfAny } from "../../../src/raft/group_types.ts";
import type { RaftHost } from "../../../src/raft/host.ts";
import type { MachineEntry } from "../../../src/base/machine.ts";
import type { Storage } from "../../../src/raft/storage.ts";
import type { Clock } from "../../../src/runtime/port.ts";
import type { Simulation } from "../../../src/runtime/sim/simulation.ts";
import type { Agent } from "./agent.ts";
import { Agreed } from "./agreed.ts";
import { type DurableGroup, DurableLog } from "./durable_log.ts";
import { Fleet } from "./fleet.ts";
import { History } from "./history.ts";
import type { InspectorOwner } from "./inspector.ts";
import { Invariants } from "./invariants.ts";
import { LeaseBook } from "./lease_holder.ts";
import type { Mark } from "./marks.ts";
import { Messages } from "./messages.ts";
import type { RunPlan } from "./plan.ts";
import { ReplicaWatch } from "./replica_watch.ts";
import type { Verdict } from "../seeds/verdict.ts";
import type { Watcher } from "./watcher.ts";

/** The group of the key-value store. */
const rootGroup = 0;

export class RaftWorld implements InspectorOwner {
  readonly simulation: Simulation;
  readonly verdict: Verdict;
  readonly plan: RunPlan;
  readonly history: History;
  readonly agreed: Agreed;
  readonly invariants: Invariants;
  readonly #messages: Messages;
  readonly fleet: Fleet;
  readonly watchers: Watcher[] = [];
  readonly leases: LeaseBook;
  /** The disk of each replica that there ever was. */
  readonly #disks = new Map<ReplicaId, () => DurableGroup | undefined>();
  readonly #byClock = new Map<Clock, Agent>();
  readonly #replicas = new Map<RaftNode, ReplicaWatch>();
  readonly #byGroup = new Map<GroupOfAny, ReplicaWatch>();
  /** Lines that nodes logged as errors. */
  readonly warnings: string[] = [];
  /** Faults of phase one are over. */
  calm = false;
  /** Clients begin no more operations. */
  rests = false;
  /** Watchers end, too. */
  over = false;
  /** In the second phase, the only ones whom clients ask. */
  core: readonly Agent[] | undefined = undefined;

  constructor(simulation: Simulation, verdict: Verdict, plan: RunPlan) {
    this.simulation = simulation;
    this.verdict = verdict;
    this.plan = plan;
    this.history = new History(() => simulation.nowMs);
    this.leases = new LeaseBook(this);
    this.agreed = new Agreed(verdict, this);
    this.fleet = new Fleet(this);
    const mark = (name: Mark): void => this.mark(name);
    const disks = (replica: ReplicaId): DurableGroup | undefined => this.#disks.get(replica)?.();
    this.invariants = new Invariants(verdict, mark, disks);
    const leaderOf = (term: number) => this.invariants.leaderOf(term);
    this.#messages = new Messages({ verdict, mark, disks, leaderOf });
  }

  mark(name: Mark): void {
    this.simulation.mark(name);
  }

  /** A machine's process begins; its clock tells it apart from then on. */
  bound(agent: Agent, clock: Clock): void {
    this.#byClock.set(clock, agent);
  }

  // -------------------------------------------------------------------------------------------
  // For the inspector

  opened(host: RaftHost, storage: Storage): void {
    const agent = this.#byClock.get(host.clock)!;
    const { disk } = agent;
    const found = DurableLog.recovered(storage.groups.values());
    // A log whose replica has never run has promised nothing, and may be made anew.
    if (agent.replicaId !== undefined) {
      this.invariants.recovered(agent.name, disk.log, disk.unsynced, found);
    }
    disk.opened(found);
    this.synced(found);
  }

  added(host: RaftHost, group: GroupOfAny, core: RaftNode): void {
    if (group.id !== rootGroup) return;
    const agent = this.#byClock.get(host.clock)!;
    const { process, disk } = agent;
    const alive = () => !process!.dead;
    const replica = new ReplicaWatch({ name: agent.name, group, core, host, disk, alive });
    agent.replica = replica;
    agent.replicaId = replica.id;
    this.#disks.set(replica.id, () => disk.log.groups.get(rootGroup));
    this.#replicas.set(core, replica);
    this.#byGroup.set(group, replica);
    this.invariants.started(replica);
    group.observe({
      applied: (entry, result) => this.#applied(replica, entry, result as KvResult),
      restored: () => this.#restored(replica),
    });
    this.#compareState(replica);
  }

  handed(core: RaftNode, ready: Ready): void {
    const replica = this.#replicas.get(core);
    if (replica !== undefined) this.invariants.handed(replica, ready);
  }

  sending(_host: RaftHost, group: GroupOfAny, message: Message): void {
    const replica = this.#byGroup.get(group);
    if (replica !== undefined) this.#messages.sent(replica, message);
  }

  synced(log: DurableLog): void {
    this.invariants.synced(log);
  }

  // -------------------------------------------------------------------------------------------
  // Machines

  #applied(replica: ReplicaWatch, entry: MachineEntry, result: KvResult): void {
    const machine = replica.parts.group.machine as KvMachine;
    const hash = new Xxh64(entry.term);
    hash.update(entry.data);
    hash.update(machine.encodeResult(result));
    this.invariants.applied(replica, entry.index, entry.term, Number(hash.digest() & 0xffffffffn));
    this.agreed.applied(machine, entry, result);
    if (entry.index % stateEvery === 0) this.#compareState(replica);
  }

  #restored(replica: ReplicaWatch): void {
    this.mark("snapshot install");
    this.#compareState(replica);
  }

  /** The whole state, where it was looked at on another machine too. */
  #compareState(replica: ReplicaWatch): void {
    const machine = replica.parts.group.machine as KvMachine;
    this.agreed.compareState(replica.name, machine);
  }

  // -------------------------------------------------------------------------------------------
  // Clients

  /** Nodes that a client may ask. */
  targets(): readonly Agent[] {
    if (this.core !== undefined) return this.core;
    const { configuration } = this.invariants;
    if (!this.calm || configuration === undefined) return this.fleet.all;
    // Whoever was removed and runs on knows nothing new.
    const ids = members(configuration);
    return this.fleet.all.filter(({ replicaId }) => ids.includes(replicaId ?? 0));
  }

  // -------------------------------------------------------------------------------------------
  // The end

  /** All members whose disks are there have applied the same, and the newest of it. */
  converged(): boolean {
    const { configuration } = this.invariants;
    if (configuration === undefined || configuration.autoLeave) return false;
    const { index } = this.agreed;
    return this.fleet.healthy.every((id) =>
      this.fleet.hostOf(id)?.replica?.parts.group.applied === index
    );
  }

  /** When nothing happens any more. */
  compareStates(): void {
    for (const { replica } of this.fleet.all) {
      if (replica !== undefined && replica.parts.alive()) this.#compareState(replica);
    }
  }

  describe(): string {
    const lines = this.fleet.all.map(({ name, machine, replica, node, refusal }) => {
      if (!machine.running) return `${name} is down ${refusal?.message ?? ""}`;
      if (replica === undefined) return `${name} ${node?.state ?? "starts"}, without a replica`;
      const { role, term, leader, lastIndex, committed, applied, configuration, stableIndex } =
        replica.parts.core.status();
      return `${name} replica ${replica.id} ${role} of ${leader} in ${term}, ` +
        `${applied}/${committed}/${stableIndex}/${lastIndex} ${JSON.stringify(configuration)}`;
    });
    const open = this.history.operations.filter(({ outcome }) => outcome === "open");
    for (const watcher of this.watchers) {
      const wrong = watcher.judge(this.agreed.revision);
      if (wrong !== undefined) lines.push(wrong);
    }
    lines.push(`${open.length} operations open, agreed ${this.agreed.index}`);
    return lines.join("\n");
  }

  // -------------------------------------------------------------------------------------------
  // Nodes

  /** A node did not start. */
  refused(agent: Agent, error: Error): void {
    const { excused } = agent;
    this.verdict.check(
      excused !== undefined,
      "a node starts again after every crash",
      () => `${agent.name}: ${error.message}`,
    );
    this.verdict.check(
      error instanceof CoveyError,
      "every failure is a CoveyError",
      () => `${agent.name}: ${error.stack}`,
    );
    if (agent.damaged === undefined) return;
    this.mark("damage refused");
    if (this.fleet.canSpare(agent)) this.fleet.replaceDisk(agent);
  }

  logged(_agent: Agent, record: LogRecord): void {
    if (record.level === "error") this.warnings.push(record.message);
    const mark = messages.find(([text]) => record.message.startsWith(text))?.[1];
    if (mark !== undefined) this.mark(mark);
  }
}

/** Lines of nodes' logs that say what happened to them. */
const messages: readonly (readonly [string, Mark])[] = [
  ["the end of the log was torn", "torn tail"],
  ["the log cannot be written", "log failed"],
  ["the disk is nearly full", "low space"],
];

/** How often the whole state is compared, in entries. */
const stateEvery = 50;
