/**
 * Autopilot over the real consensus module, on the simulator: every node runs one, and follows a
 * view that is moved by hand. Writes go on meanwhile.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Autopilot } from "../../src/autopilot/autopilot.ts";
import { defaultPolicy, type Policy } from "../../src/autopilot/core/types.ts";
import { autopilotMetrics } from "../../src/autopilot/metrics.ts";
import { RaftManagedGroup } from "../../src/autopilot/raft_group.ts";
import { askOverMesh } from "../../src/autopilot/standings.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { Raft } from "../../src/gen/covey/raft/v1/raft_pb.ts";
import { createClient } from "../../src/ttrpc/client.ts";
import { addressOf, dataDirectory, Lab, type LabNode, nodeIdOf } from "../raft/driver/lab.ts";
import { armBan, liftBan } from "../simulation/ban.ts";
import { HandView } from "./hand.ts";

before(armBan);
after(liftBan);

const dial = { dialTimeoutMs: 2_000, backoff: { firstMs: 50, mostMs: 1_000 } };
const demo: Partial<Policy> = { replaceAfterMs: 5_000 };

class Flock {
  readonly lab = new Lab();
  readonly view = new HandView();
  readonly policy: Policy;
  /** The newest of each node. */
  readonly pilots = new Map<string, Autopilot>();
  #attached = new Set<LabNode>();

  constructor(policy: Partial<Policy> = demo) {
    this.policy = { ...defaultPolicy, ...policy };
  }

  async found(...names: string[]): Promise<void> {
    await this.lab.found(...names);
    this.shows(...names);
    this.attach();
  }

  /** Who is in the view; node ids as the nodes have them now. */
  shows(...names: string[]): void {
    this.view.show(...names);
    this.view.current = {
      epoch: this.view.current!.epoch,
      members: names.map((name) => ({
        address: addressOf(name),
        nodeId: this.lab.setup(name).nodeId,
        incarnation: 1n,
        name,
        role: 0,
      })),
    };
  }

  /** Gives each node that has a replica by now its autopilot. */
  attach(): void {
    for (const node of this.lab.alive) {
      const { root } = node.cluster;
      if (root === undefined || this.#attached.has(node)) continue;
      this.#attached.add(node);
      const channel = (address: string) => node.rpc.channel(address, { peer: "covey", ...dial });
      const registry = new MetricsRegistry();
      const autopilot = new Autopilot({
        clock: node.runtime.clock,
        logger: this.lab.logger(node.name),
        metrics: registry.declare(autopilotMetrics),
        asksLimited: () => {},
        policy: this.policy,
        group: new RaftManagedGroup({
          group: root,
          operator: createClient(Raft, channel(addressOf(node.name))),
          hasRoom: () => true,
        }),
        view: this.view,
        ask: askOverMesh(channel, () => node.cluster.record?.clusterId),
      });
      this.pilots.set(node.name, autopilot);
      autopilot.start();
    }
  }

  /** Nodes by what they are in the leader's configuration. */
  seats(): { readonly voters: string[]; readonly learners: string[] } {
    const leading = this.lab.alive.find(({ isLeading }) => isLeading);
    if (leading === undefined) return { voters: [], learners: [] };
    const { members } = leading.root;
    const { voters, votersOutgoing, learners } = leading.root.status().configuration;
    const names = (ids: readonly number[]): string[] =>
      ids.map((id) => members.get(id)?.name ?? `${id}`).sort();
    return votersOutgoing.length > 0
      ? { voters: [], learners: [] }
      : { voters: names(voters), learners: names(learners) };
  }

  async until(voters: readonly string[], learners: readonly string[], withinMs: number) {
    const isSo = (): boolean => {
      this.attach();
      const seats = this.seats();
      return seats.voters.join() === voters.join() && seats.learners.join() === learners.join();
    };
    await this.lab.until(isSo, withinMs, () => `${voters} and ${learners}: ${this.describe()}`);
  }

  get leading(): Autopilot {
    return [...this.pilots.values()].find((pilot) => pilot.status().isActive)!;
  }

  describe(): string {
    return JSON.stringify([...this.pilots].map(([name, pilot]) => [name, pilot.status().why]));
  }

  async leader(): Promise<LabNode> {
    const running = this.lab.alive.filter(({ cluster }) => cluster.root !== undefined);
    return await this.lab.leader(running.map(({ name }) => name));
  }
}

test("five founders, three voters: one that is killed is replaced within seconds", async () => {
  const flock = new Flock();
  const { lab } = flock;
  await flock.found("a", "b", "c", "d", "e");
  await lab.until(() => flock.seats().voters.length === 3, 20_000);
  const { voters, learners } = flock.seats();
  assert.equal(learners.length, 2);
  const leading = await flock.leader();
  const victim = voters.find((name) => name !== leading.name)!;
  await lab.put(leading, 5);
  lab.machine(victim).kill();
  await lab.pass(1_000);
  flock.shows(...lab.names.filter((name) => name !== victim));
  const writes = Array.from({ length: 50 }, () => lab.propose(leading));
  await lab.until(() => {
    const { voters } = flock.seats();
    return voters.length === 3 && !voters.includes(victim);
  }, 12_000);
  assert.ok(flock.seats().learners.includes(victim), "it may come back");
  for (const { error } of await lab.wait(Promise.all(writes))) assert.equal(error, undefined);
  // It comes back as a learner, and has everything.
  lab.start(victim);
  flock.shows(...lab.names);
  await lab.until(() => lab.has(victim) && lab.node(victim).cluster.root !== undefined);
  flock.attach();
  await lab.put(leading, 5);
  await lab.converged();
  assert.ok(flock.seats().learners.includes(victim));
  lab.checkOperations();
});

test("the leader is killed: the next one replaces it", async () => {
  const flock = new Flock();
  const { lab } = flock;
  await flock.found("a", "b", "c", "d", "e");
  await lab.until(() => flock.seats().voters.length === 3, 20_000);
  const { name } = await flock.leader();
  lab.machine(name).kill();
  flock.shows(...lab.names.filter((one) => one !== name));
  await lab.until(() => {
    const { voters } = flock.seats();
    return voters.length === 3 && !voters.includes(name);
  }, 25_000);
  assert.ok(flock.seats().learners.includes(name));
});

test("one node, then three: new members become learners and then voters", async () => {
  const flock = new Flock();
  const { lab } = flock;
  await flock.found("a");
  for (const name of ["b", "c"]) {
    lab.define(name, { join: [addressOf("a")] });
    lab.start(name);
  }
  await lab.pass(2_000);
  flock.shows("a", "b", "c");
  await flock.until(["a"], ["b", "c"], 10_000);
  await flock.until(["a", "b", "c"], [], 15_000);
  await lab.put(lab.node("a"), 10);
  await lab.converged();
});

test("a lost directory: the node comes back as a new replica, and the old one is removed", async () => {
  const flock = new Flock();
  const { lab } = flock;
  await flock.found("a", "b", "c");
  await lab.put(await flock.leader(), 10);
  await lab.pass(12_000);
  const victim = lab.followers()[0].name;
  lab.machine(victim).kill();
  const others = lab.names.filter((name) => name !== victim);
  flock.shows(...others);
  await lab.pass(1_000);
  lab.machine(victim).disk.tree.removeTree(dataDirectory);
  Object.assign(lab.setup(victim), { nodeId: nodeIdOf(`${victim}x`), join: others.map(addressOf) });
  lab.start(victim);
  await lab.pass(2_000);
  flock.shows("a", "b", "c");
  await flock.until(["a", "b", "c"], [], 40_000);
  await lab.until(() => {
    const leading = lab.alive.find(({ isLeading }) => isLeading);
    return leading?.root.members.all.some(({ replica }) => replica === 4) ?? false;
  }, 40_000);
  await flock.until(["a", "b", "c"], [], 40_000);
  const leading = await flock.leader();
  assert.deepEqual(leading.root.members.all.map(({ replica }) => replica).length, 3);
  await lab.put(leading, 5);
  await lab.converged();
});

test("a lost log under the same node id: out with the old replica, in with a new one", async () => {
  const flock = new Flock();
  const { lab } = flock;
  await flock.found("a", "b", "c");
  await lab.put(await flock.leader(), 10);
  await lab.pass(12_000);
  const victim = lab.followers()[0].name;
  const replica = lab.node(victim).root.replica;
  lab.machine(victim).kill();
  lab.machine(victim).disk.tree.removeTree(dataDirectory);
  const others = lab.names.filter((name) => name !== victim);
  lab.setup(victim).join = others.map(addressOf);
  lab.start(victim);
  await lab.until(
    () => {
      const leading = lab.alive.find(({ isLeading }) => isLeading);
      const member = leading?.root.members.ofNode(nodeIdOf(victim));
      return member !== undefined && member.replica !== replica;
    },
    40_000,
    () => flock.describe(),
  );
  await flock.until(["a", "b", "c"], [], 40_000);
  await lab.put(await flock.leader(), 5);
  await lab.converged();
});

test("a leader that leaves on purpose hands over, and is taken out by the next one", async () => {
  const flock = new Flock();
  const { lab } = flock;
  await flock.found("a", "b", "c", "d");
  await lab.until(() => flock.seats().voters.length === 3, 20_000);
  const { name } = await flock.leader();
  await lab.pass(11_000);
  flock.view.departures.set(nodeIdOf(name), "left");
  flock.shows(...lab.names.filter((one) => one !== name));
  await lab.until(
    () => {
      const { voters, learners } = flock.seats();
      return voters.length > 0 && !voters.includes(name) && !learners.includes(name);
    },
    20_000,
    () => flock.describe(),
  );
  await lab.until(() => flock.seats().voters.length === 3, 20_000, () => flock.describe());
});

test("a voter that only the view misses is kept, and one that is away for a moment, too", async () => {
  const flock = new Flock();
  const { lab } = flock;
  await flock.found("a", "b", "c", "d");
  await lab.until(() => flock.seats().voters.length === 3, 20_000);
  const before = flock.seats();
  const leading = await flock.leader();
  const victim = before.voters.find((name) => name !== leading.name)!;
  const others = lab.names.filter((name) => name !== victim);
  flock.shows(...others);
  await lab.pass(30_000);
  assert.deepEqual(flock.seats(), before);
  for (let round = 0; round < 3; round++) {
    lab.machine(victim).kill();
    await lab.pass(3_000);
    lab.start(victim);
    await lab.pass(1_500);
    flock.shows(...lab.names);
    await lab.pass(2_000);
    flock.shows(...others);
  }
  assert.deepEqual(flock.seats(), before);
});
