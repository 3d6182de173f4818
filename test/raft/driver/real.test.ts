/** The driver on the runtime that executes this test: real sockets, real files, real time. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { formatAddress, parseAddress } from "../../../src/base/address.ts";
import { silentLogger } from "../../../src/base/log.ts";
import { Raft } from "../../../src/gen/covey/raft/v1/raft_pb.ts";
import { Transport } from "../../../src/gen/covey/raft/v1/transport_pb.ts";
import { NodeRpc } from "../../../src/node/rpc.ts";
import { Cluster } from "../../../src/raft/cluster.ts";
import { Operator } from "../../../src/raft/operator.ts";
import { raftOptionsDefault } from "../../../src/raft/options.ts";
import { TransportService } from "../../../src/raft/transport_service.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import { RpcCounters } from "../../../src/ttrpc/counters.ts";
import { rpcLimitsDefault } from "../../../src/ttrpc/limits.ts";
import { ServiceRegistry } from "../../../src/ttrpc/registry.ts";
import { RpcServer } from "../../../src/ttrpc/server.ts";
import { anyPort, inFolder, runtime } from "../../node/support.ts";
import { nodeIdOf } from "./lab.ts";
import { commandBytes, TestMachine, type TestResult } from "./test_machine.ts";

const limitMs = 20_000;

/** One start of one node, in this very process. */
class RealNode {
  readonly name: string;
  readonly folder: string;
  readonly machine = new TestMachine();
  readonly #server: RpcServer;
  readonly #rpc: NodeRpc;
  readonly #registry = new ServiceRegistry();
  cluster!: Cluster<TestResult>;
  address = "";

  constructor(name: string, folder: string) {
    this.name = name;
    this.folder = folder;
    const { net, clock } = runtime;
    this.#server = new RpcServer({ net, clock, registry: this.#registry });
    const counters = new RpcCounters();
    this.#rpc = new NodeRpc({ runtime, server: this.#server, limits: rpcLimitsDefault, counters });
  }

  async listen(address = anyPort): Promise<void> {
    const listener = await this.#server.listen({ address: parseAddress(address) });
    this.address = formatAddress(listener.address);
  }

  async start(join: readonly string[]): Promise<void> {
    const directory = `${this.folder}/${this.name}`;
    await runtime.disk.makeDirectory(directory);
    this.cluster = new Cluster<TestResult>({
      ...runtime,
      logger: silentLogger,
      options: { ...raftOptionsDefault, lowWaterBytes: 0, snapshotLogBytes: 256 << 10 },
      directory,
      nodeId: nodeIdOf(this.name),
      name: this.name,
      address: this.address,
      join,
      expect: 0,
      channel: (address) => this.#rpc.channel(address, { peer: "covey", dialTimeoutMs: 2_000 }),
      machine: this.machine,
      fatal: (error) => assert.fail(error.message),
      started: () => {},
    });
    this.#registry.add(Transport, new TransportService(this.cluster).handlers());
    this.#registry.add(Raft, new Operator(this.cluster, runtime.clock).handlers());
    await this.cluster.start();
  }

  client(address: string) {
    return createClient(Raft, this.#rpc.channel(address, { peer: "covey" }));
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
    await this.#server.stop(2_000);
    this.#rpc.close();
  }
}

/** Looks again and again until it is so. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = runtime.clock.monotonicMs() + limitMs;
  while (!condition()) {
    assert.ok(runtime.clock.monotonicMs() < endMs, `not in time: ${what}`);
    await new Promise<void>((resolve) => runtime.clock.timer(10, () => resolve(), undefined));
  }
}

async function leaderOf(nodes: readonly RealNode[]): Promise<RealNode> {
  const leads = (node: RealNode): boolean => node.cluster.root?.isLeading === true;
  await until(() => nodes.some(leads), "a leader");
  return nodes.find(leads)!;
}

async function put(node: RealNode, prefix: string, count: number, bytes = 0): Promise<void> {
  const { root } = node.cluster;
  const all = Array.from(
    { length: count },
    (_none, at) => root!.propose(commandBytes(`${prefix}${at}`, bytes), { timeoutMs: limitMs }),
  );
  const results = await Promise.all(all);
  assert.deepEqual(results.map(({ id }) => id), results.map((_result, at) => `${prefix}${at}`));
}

async function foundedIn(folder: string, names: readonly string[]): Promise<RealNode[]> {
  const nodes = names.map((name) => new RealNode(name, folder));
  for (const node of nodes) await node.listen();
  const join = nodes.map(({ address }) => address);
  await Promise.all(nodes.map((node) => node.start(join)));
  await until(() => nodes.every(({ cluster }) => cluster.root?.leader !== undefined), "a cluster");
  return nodes;
}

function agree(nodes: readonly RealNode[], count: number): Promise<void> {
  return until(() => nodes.every(({ machine }) => machine.commands.length === count), `${count}`)
    .then(() => {
      for (const { machine } of nodes) {
        assert.deepEqual(machine.commands, nodes[0].machine.commands);
      }
    });
}

test("three nodes elect, replicate, lose their leader, and take it back", () =>
  inFolder(async (folder) => {
    const nodes = await foundedIn(folder, ["a", "b", "c"]);
    const leader = await leaderOf(nodes);
    for (const node of nodes) await put(node, `first ${node.name} `, 100, 500);
    await agree(nodes, 300);
    const rest = nodes.filter((node) => node !== leader);
    await leader.stop();
    await leaderOf(rest);
    await put(rest[0], "second ", 400, 1_000);
    await Promise.all(rest.map((node) => node.cluster.root!.barrier()));
    await agree(rest, 700);
    const again = new RealNode(leader.name, folder);
    await again.listen(leader.address);
    await again.start(nodes.map(({ address }) => address));
    await agree([...rest, again], 700);
    await put(again, "third ", 50);
    await agree([...rest, again], 750);
    for (const node of [...rest, again]) await node.stop();
  }));

test("a node is added with a snapshot, takes over, and outlives the one before", () =>
  inFolder(async (folder) => {
    const [founder] = await foundedIn(folder, ["a"]);
    for (let round = 0; round < 6; round++) await put(founder, `${round} `, 100, 1_000);
    await founder.cluster.root!.takeSnapshot();
    const joiner = new RealNode("b", folder);
    await joiner.listen();
    await joiner.start([founder.address]);
    await until(() => joiner.cluster.problem?.includes("without this node") === true, "waiting");
    const { peer } = await joiner.client(founder.address).add({ address: joiner.address });
    assert.equal(peer?.replica, 2n);
    await agree([founder, joiner], 600);
    await joiner.client(joiner.address).transfer({ replica: 2n });
    await until(() => joiner.cluster.root!.isLeading, "the transfer");
    await joiner.client(founder.address).remove({ replica: 1n });
    await founder.stop();
    await put(joiner, "alone ", 10);
    assert.equal(joiner.machine.commands.length, 610);
    await joiner.stop();
  }));

test("restarts of a whole cluster find what was acknowledged", () =>
  inFolder(async (folder) => {
    let nodes = await foundedIn(folder, ["a", "b", "c"]);
    const addresses = nodes.map(({ address }) => address);
    let count = 0;
    for (let round = 0; round < 3; round++) {
      await put(nodes[round], `${round} `, 200, 2_000);
      count += 200;
      await Promise.all(nodes.map((node) => node.stop()));
      nodes = nodes.map(({ name }) => new RealNode(name, folder));
      for (let at = 0; at < nodes.length; at++) await nodes[at].listen(addresses[at]);
      await Promise.all(nodes.map((node) => node.start(addresses)));
      await leaderOf(nodes);
      await agree(nodes, count);
    }
    for (const node of nodes) await node.stop();
  }));
