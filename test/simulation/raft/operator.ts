/**
 * Somebody who changes the cluster while it runs: adds machines, promotes learners, removes
 * replicas, replaces those whose disks are gone, hands leadership over. By the same service that
 * the command line uses; what the service has no words for, changes of several members at once, is
 * asked of the leader's group itself.
 */
import { Raft } from "../../../src/gen/covey/raft/v1/raft_pb.ts";
import { members } from "../../../src/raft/core/configuration.ts";
import { ChangeType, type SingleChange, Transition } from "../../../src/raft/core/types.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import type { Client } from "../../../src/ttrpc/service.ts";
import type { Agent } from "./agent.ts";
import { Connections, SimulatedClient } from "./client_machine.ts";
import type { RaftWorld } from "./world.ts";

const commandMs = 4_000;

export class Operator extends SimulatedClient {
  constructor(world: RaftWorld, runtime: Runtime) {
    super({ world, runtime, connections: new Connections(runtime) }, "operator");
  }

  async run(): Promise<void> {
    const everyMs = this.world.plan.operatorEveryMs;
    if (everyMs === undefined) return;
    for (;;) {
      await this.sleep(everyMs * (0.5 + this.random.fraction()));
      if (this.world.calm) return;
      try {
        await this.#command();
      } catch (thrown) {
        this.expectCoveyError(thrown);
      }
    }
  }

  async #command(): Promise<void> {
    const { configuration } = this.world.invariants;
    if (configuration === undefined) return;
    const random = this.random;
    const { voters, learners } = configuration;
    const dead = members(configuration).find((id) => this.world.fleet.lost.has(id));
    if (dead !== undefined && random.chance(0.6)) return await this.#remove(dead);
    const waiting = this.world.fleet.all.find((agent) => agent.isWaiting);
    if (waiting !== undefined && random.chance(0.6)) return await this.#add(waiting);
    switch (random.below(9)) {
      case 0:
      case 1:
        await this.#raft().transfer({
          replica: BigInt(random.chance(0.3) ? 0 : random.pick(voters)),
        }, { timeoutMs: commandMs });
        return this.world.mark("transfer completed");
      case 2:
        await this.#raft().snapshot({}, { timeoutMs: commandMs });
        return;
      case 8: {
        // A restart in order, as an update does it. The supervisor starts it again.
        const agent = random.pick(this.world.fleet.all);
        if (agent.running && !agent.taken) void agent.stop();
        return;
      }
      case 3:
        return await this.#addSpare();
      case 4:
        if (learners.length === 0) return;
        await this.#raft().promote({ replica: BigInt(random.pick(learners)) }, {
          timeoutMs: commandMs,
        });
        return;
      case 5: {
        const removable = [...learners, ...voters.length > 2 ? voters : []];
        if (removable.length > 0) await this.#remove(random.pick(removable));
        return;
      }
      default:
        await this.#changeSeveral();
    }
  }

  async #addSpare(): Promise<void> {
    const { fleet, plan } = this.world;
    const name = plan.spares.find((spare) => !fleet.agents.has(spare));
    if (name === undefined) return;
    const agent = fleet.start(name);
    await this.sleep(this.random.between(200, 1500));
    await this.#add(agent);
    // The newcomer is still being filled while who fills it has to go.
    const { configuration } = this.world.invariants;
    const leader = this.#leader()?.replicaId;
    if (leader === undefined || configuration === undefined || this.random.chance(0.6)) return;
    if (configuration.voters.length > 2) await this.#remove(leader);
  }

  async #add(agent: Agent): Promise<void> {
    await this.#raft().add({ address: agent.address, learner: this.random.chance(0.4) }, {
      timeoutMs: commandMs,
    });
    this.world.mark("node added");
  }

  async #remove(replica: number): Promise<void> {
    const { fleet, simulation } = this.world;
    const agent = fleet.all.find((one) => one.replicaId === replica);
    await this.#raft().remove({ replica: BigInt(replica) }, { timeoutMs: commandMs });
    if (agent === undefined || fleet.lost.has(replica)) return;
    // It runs on for a while, as forgotten machines do, and must disturb nobody.
    fleet.lost.add(replica);
    simulation.at(simulation.nowMs + this.random.between(500, 10_000), () => {
      if (!this.world.calm && !agent.taken && agent.replicaId === replica) {
        fleet.replaceDisk(agent);
      }
    });
  }

  /** Two or three members at once, by joint consensus. */
  async #changeSeveral(): Promise<void> {
    const leader = this.#leader();
    if (leader === undefined) return;
    const { group, core } = leader.replica!.parts;
    const { configuration } = core.status();
    const { voters, learners, votersOutgoing } = configuration;
    const random = this.random;
    const changes: SingleChange[] = [];
    if (votersOutgoing.length === 0) {
      const healthy = voters.filter((id) => !this.world.fleet.lost.has(id));
      if (learners.length > 0) {
        changes.push({ type: ChangeType.addVoter, replica: random.pick(learners) });
      }
      if (healthy.length > (learners.length > 0 ? 1 : 2)) {
        changes.push({ type: ChangeType.addLearner, replica: random.pick(healthy) });
      }
      if (changes.length === 0) return;
    }
    await group.change({
      transition: random.pick([
        Transition.auto,
        Transition.jointImplicit,
        Transition.jointImplicit,
        Transition.jointExplicit,
      ]),
      changes,
      context: new Uint8Array(0),
    }, { timeoutMs: commandMs });
  }

  #leader(): Agent | undefined {
    return this.world.fleet.all.find((agent) =>
      agent.running && agent.replica?.parts.group.leads === true
    );
  }

  #raft(): Client<typeof Raft> {
    return createClient(Raft, this.channel());
  }
}
