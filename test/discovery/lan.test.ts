/** Discovery by multicast on the simulator's network, and on networks that are not there. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CoveyError } from "../../src/base/error.ts";
import { encodeAnnouncement } from "../../src/discovery/core/announcement.ts";
import { LanDiscovery, type LanOptions } from "../../src/discovery/lan.ts";
import { type Net, NetError, type UdpOptions, type UdpSocket } from "../../src/runtime/port.ts";
import { roughFaults } from "../../src/runtime/sim/faults.ts";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "../simulation/ban.ts";
import { type Parts, partsOf, Sink } from "./support.ts";

before(armBan);
after(liftBan);

interface Node {
  readonly parts: Parts;
  readonly sink: Sink;
  readonly discovery: LanDiscovery;
  readonly address: string;
  cluster: string;
}

/** A node on a machine of its own, or beside another one. */
function nodeOn(
  simulation: Simulation,
  machine: string,
  more: Partial<LanOptions> & { port2?: number; cluster?: string; address?: string } = {},
): Node {
  const { port2 = 7946, cluster = "", address, ...options } = more;
  const where = simulation.machine(machine);
  const node = {
    parts: partsOf(where.runtime),
    sink: new Sink(),
    address: address ?? `tcp://${where.ip}:${port2}`,
    cluster,
  } as { -readonly [Name in keyof Node]: Node[Name] };
  const cluster_ = (): string => node.cluster;
  node.discovery = new LanDiscovery(
    { ...node.parts, address: node.address, cluster: cluster_ },
    options,
  );
  return node;
}

function start(...nodes: Node[]): void {
  for (const { discovery, sink } of nodes) discovery.start(sink.take);
}

function addressesOf(nodes: readonly Node[]): string[] {
  return nodes.map(({ address }) => address).sort();
}

test("lan discovery: nodes on one network find each other within a second", async () => {
  const simulation = createSimulation({ seed: 1 });
  const nodes = ["a", "b", "c"].map((name) => nodeOn(simulation, name));
  start(...nodes);
  await simulation.run({ forMs: 1_000 });
  for (const node of nodes) {
    assert.deepEqual(node.sink.last, addressesOf(nodes.filter((other) => other !== node)));
    assert.equal(node.discovery.candidates[0].source, "lan 239.255.77.46:7946");
  }
});

test("lan discovery: nodes that share a machine find each other, and never themselves", async () => {
  const simulation = createSimulation({ seed: 1 });
  const nodes = [7001, 7002, 7003].map((port2) => nodeOn(simulation, "a", { port2 }));
  start(...nodes);
  await simulation.run({ forMs: 60_000 });
  for (const node of nodes) {
    assert.deepEqual(node.sink.last, addressesOf(nodes.filter((other) => other !== node)));
    assert.ok(node.parts.counters.own > 5);
    assert.equal(node.parts.counters.garbage, 0);
  }
});

test("lan discovery: who comes later is answered soon, not at the next interval", async () => {
  const simulation = createSimulation({ seed: 1 });
  const early = nodeOn(simulation, "a");
  start(early, nodeOn(simulation, "b"));
  await simulation.run({ forMs: 100_000 });
  const late = nodeOn(simulation, "c");
  start(late);
  await simulation.run({ forMs: 700 });
  assert.equal(late.sink.last.length, 2);
  assert.ok(early.sink.last.includes(late.address));
});

test("lan discovery: at rest a node sends once an interval, however many ask", async () => {
  const simulation = createSimulation({ seed: 3 });
  const nodes = Array.from({ length: 30 }, (_, at) => nodeOn(simulation, `n${at}`));
  start(...nodes);
  await simulation.run({ forMs: 5_000 });
  for (const { parts, sink } of nodes) {
    assert.equal(sink.last.length, 29);
    // Its own three questions and one answer a second to all of those of the others.
    assert.ok(parts.counters.sent <= 3 + 5, `${parts.counters.sent}`);
  }
  await simulation.run({ forMs: 10_000 });
  const before = nodes.map(({ parts }) => parts.counters.sent);
  await simulation.run({ forMs: 100_000 });
  nodes.forEach(({ parts }, at) => {
    const sent = parts.counters.sent - before[at];
    assert.ok(sent >= 8 && sent <= 13, `${sent} in ten intervals`);
  });
});

test("lan discovery: the address of a node that is gone is forgotten", async () => {
  const simulation = createSimulation({ seed: 1 });
  const [a, b] = [nodeOn(simulation, "a"), nodeOn(simulation, "b")];
  start(a, b);
  await simulation.run({ forMs: 20_000 });
  assert.deepEqual(a.sink.last, [b.address]);
  b.discovery.stop();
  await simulation.run({ forMs: 25_000 });
  assert.deepEqual(a.sink.last, [b.address]);
  await simulation.run({ forMs: 30_000 });
  assert.deepEqual(a.sink.last, []);
  assert.deepEqual(a.discovery.candidates, []);
});

test("lan discovery: other clusters are not heard, those without one are", async () => {
  const simulation = createSimulation({ seed: 1 });
  const one = nodeOn(simulation, "a", { cluster: "one" });
  const two = nodeOn(simulation, "b", { cluster: "two" });
  const fresh = nodeOn(simulation, "c");
  start(one, two, fresh);
  await simulation.run({ forMs: 30_000 });
  assert.deepEqual(one.sink.last, [fresh.address]);
  assert.deepEqual(two.sink.last, [fresh.address]);
  assert.deepEqual(fresh.sink.last, addressesOf([one, two]));
  assert.ok(one.parts.counters.otherCluster > 0);
  // Once it has joined one of them, the other one does not know it any more.
  fresh.cluster = "one";
  await simulation.run({ forMs: 60_000 });
  assert.deepEqual(two.sink.last, []);
  assert.deepEqual(fresh.sink.last, [one.address]);
});

test("lan discovery: 0.0.0.0 is whatever address the others see", async () => {
  const simulation = createSimulation({ seed: 1 });
  const a = nodeOn(simulation, "a", { address: "tcp://0.0.0.0:7946" });
  const b = nodeOn(simulation, "b");
  start(a, b);
  await simulation.run({ forMs: 5_000 });
  assert.deepEqual(b.sink.last, [`tcp://${simulation.machine("a").ip}:7946`]);
});

test("lan discovery: IPv6 groups", async () => {
  const simulation = createSimulation({ seed: 1 });
  const group = "ff15::7946";
  const [a, b] = ["a", "b"].map((name) => nodeOn(simulation, name, { group }));
  start(a, b);
  await simulation.run({ forMs: 5_000 });
  assert.deepEqual(a.sink.last, [b.address]);
  assert.equal(a.discovery.candidates[0].source, "lan [ff15::7946]:7946");
});

test("lan discovery: garbage, other versions and floods are counted and bounded", async () => {
  const simulation = createSimulation({ seed: 1 });
  const limits = { candidatesMax: 20, perSenderMax: 8, lifetimeMs: 30_000 };
  const a = nodeOn(simulation, "a", limits);
  start(a);
  await simulation.run({ forMs: 100 });
  const handler = { message() {}, error() {} };
  const shouters = await simulation.wait(
    Promise.all(
      ["x", "y", "z"].map((name) =>
        simulation.machine(name).runtime.net.bindUdp({ host: "0.0.0.0", port: 0, handler })
      ),
    ),
  );
  const { group, port } = { group: "239.255.77.46", port: 7946 };
  const sender = new Uint8Array(8);
  for (const shouter of shouters) {
    shouter.send(new Uint8Array(0), group, port);
    shouter.send(new TextEncoder().encode("M-SEARCH * HTTP/1.1"), group, port);
    shouter.send(Uint8Array.of(0x63, 0x76, 0x79, 0x64, 9), group, port);
    for (let at = 0; at < 500; at++) {
      const address = `tcp://example.com:${at + 1}`;
      const kind = at % 2 === 0 ? "question" as const : "announcement" as const;
      shouter.send(encodeAnnouncement({ kind, sender, cluster: "", address }), group, port);
    }
  }
  await simulation.run({ forMs: 3_000 });
  const { counters } = a.parts;
  assert.deepEqual([counters.garbage, counters.otherVersion], [6, 3]);
  assert.equal(counters.heard, 1500);
  // Eight for each of the first two, and what is left of twenty for the third.
  assert.equal(a.sink.last.length, 20);
  assert.ok(counters.full > 1000);
  // A thousand questions have a few answers.
  assert.ok(counters.sent <= 8, `${counters.sent}`);
  await simulation.run({ forMs: 60_000 });
  assert.deepEqual(a.sink.last, []);
});

test("lan discovery: on a rough network everybody is found", async () => {
  const simulation = createSimulation({ ...roughFaults, seed: 5, udpLossChance: 0.3 });
  const nodes = Array.from({ length: 5 }, (_, at) => nodeOn(simulation, `n${at}`));
  start(...nodes);
  await simulation.run({ forMs: 120_000 });
  for (const { sink } of nodes) assert.equal(sink.last.length, 4);
});

test("lan discovery: both sides of a cut forget each other, and find each other again", async () => {
  const simulation = createSimulation({ seed: 1 });
  const [a, b] = [nodeOn(simulation, "a"), nodeOn(simulation, "b")];
  start(a, b);
  await simulation.run({ forMs: 10_000 });
  const cut = simulation.partition("a", "b");
  await simulation.run({ forMs: 70_000 });
  assert.deepEqual([a.sink.last, b.sink.last], [[], []]);
  cut.heal();
  await simulation.run({ forMs: 15_000 });
  assert.deepEqual([a.sink.last, b.sink.last], [[b.address], [a.address]]);
});

/** A network whose multicast comes and goes. */
class FlakyNet {
  readonly net: Net;
  works = false;
  /** Sockets exist, but nothing that is sent comes back. */
  isDeaf = false;
  binds = 0;
  closes = 0;

  constructor(inner: Net) {
    this.net = {
      listen: (options) => inner.listen(options),
      connect: (options) => inner.connect(options),
      resolve: (options) => inner.resolve(options),
      inspectTls: (options) => inner.inspectTls(options),
      bindUdp: (options) => this.#bind(inner, options),
    };
  }

  async #bind(inner: Net, options: UdpOptions): Promise<UdpSocket> {
    this.binds++;
    if (!this.works) throw new NetError("other", "bind udp://0.0.0.0:7946: ENODEV");
    const socket = await inner.bindUdp(options);
    const outer: UdpSocket = {
      host: socket.host,
      port: socket.port,
      send: (datagram, host, port) => {
        if (this.isDeaf) options.handler.error(outer, new NetError("unreachable", "ENETUNREACH"));
        else socket.send(datagram, host, port);
      },
      close: () => {
        this.closes++;
        socket.close();
      },
    };
    // The handler gets the socket that it was given, as on every runtime.
    const { message } = options.handler;
    options.handler.message = (_socket, datagram, host, port) => {
      message.call(options.handler, outer, datagram, host, port);
    };
    return outer;
  }
}

function flakyNode(simulation: Simulation, name: string) {
  const machine = simulation.machine(name);
  const flaky = new FlakyNet(machine.runtime.net);
  const parts = partsOf({ ...machine.runtime, net: flaky.net });
  const sink = new Sink();
  const address = `tcp://${machine.ip}:7946`;
  const discovery = new LanDiscovery({ ...parts, address, cluster: () => "" });
  return { flaky, parts, sink, discovery, address };
}

test("lan discovery: an interface that comes later, told of once", async () => {
  const simulation = createSimulation({ seed: 1 });
  const late = flakyNode(simulation, "a");
  const other = nodeOn(simulation, "b");
  start(other);
  late.discovery.start(late.sink.take);
  await simulation.run({ forMs: 300_000 });
  assert.equal(late.parts.logger.levels, "warning");
  assert.deepEqual(late.sink.lists, []);
  // 1, 2, 4 … 60 s, each half to the whole of it.
  assert.ok(late.flaky.binds >= 8 && late.flaky.binds <= 20, `${late.flaky.binds}`);
  late.flaky.works = true;
  await simulation.run({ forMs: 61_000 });
  assert.deepEqual(late.sink.last, [other.address]);
  assert.ok(other.sink.last.includes(late.address));
  assert.equal(late.parts.logger.levels, "warning info");
  assert.equal(late.parts.counters.joined, 1);
  // When it goes again, the first attempts come quickly again: the loss shows after 36 s at most.
  late.flaky.works = false;
  late.flaky.isDeaf = true;
  const { binds } = late.flaky;
  await simulation.run({ forMs: 36_000 + 8_000 });
  assert.ok(late.flaky.binds - binds >= 3, `${late.flaky.binds - binds}`);
  assert.equal(late.parts.logger.levels, "warning info warning");
});

test("lan discovery: a socket that hears nothing of its own is opened anew", async () => {
  const simulation = createSimulation({ seed: 1 });
  const node = flakyNode(simulation, "a");
  const other = nodeOn(simulation, "b");
  start(other);
  node.flaky.works = true;
  node.discovery.start(node.sink.take);
  await simulation.run({ forMs: 20_000 });
  assert.deepEqual(node.sink.last, [other.address]);
  node.flaky.isDeaf = true;
  await simulation.run({ forMs: 100_000 });
  assert.equal(node.parts.logger.levels, "warning");
  assert.ok(node.flaky.closes >= 1 && node.parts.counters.sendErrors >= 3);
  const { binds } = node.flaky;
  await simulation.run({ forMs: 600_000 });
  assert.ok(node.flaky.binds - binds < 30, "with back-off");
  node.flaky.isDeaf = false;
  await simulation.run({ forMs: 100_000 });
  assert.deepEqual(node.sink.last, [other.address]);
  assert.deepEqual(other.sink.last, [node.address]);
  assert.equal(node.parts.logger.levels, "warning info");
});

test("lan discovery: stopped while it joins, it closes what comes", async () => {
  const simulation = createSimulation({ seed: 1 });
  const node = flakyNode(simulation, "a");
  node.flaky.works = true;
  node.discovery.start(node.sink.take);
  node.discovery.stop();
  await simulation.run({ forMs: 100_000 });
  assert.deepEqual([node.flaky.binds, node.flaky.closes, node.parts.counters.sent], [1, 1, 0]);
});

test("lan discovery: stopped, it neither sends nor tells", async () => {
  const simulation = createSimulation({ seed: 1 });
  const [a, b] = [nodeOn(simulation, "a"), nodeOn(simulation, "b")];
  start(a, b);
  await simulation.run({ forMs: 5_000 });
  a.discovery.stop();
  a.discovery.stop();
  const { sent } = a.parts.counters;
  const { length } = a.sink.lists;
  await simulation.run({ forMs: 100_000 });
  assert.deepEqual([a.parts.counters.sent, a.sink.lists.length], [sent, length]);
});

test("lan discovery: options that cannot be are refused", () => {
  const simulation = createSimulation({ seed: 1 });
  const bad: (Partial<LanOptions> & { address?: string; cluster?: string })[] = [
    { group: "10.0.0.1" },
    { group: "2001:db8::1" },
    { group: "covey.example" },
    { port: 0 },
    { ttl: 0 },
    { ttl: 256 },
    { intervalMs: 0 },
    { lifetimeMs: 15_000 },
    { candidatesMax: NaN },
    { address: "unix:/run/covey.sock" },
    { address: "tcp://10.0.0.1:0" },
    { cluster: "a b" },
  ];
  for (const options of bad) {
    assert.throws(() => nodeOn(simulation, "a", options), (error: unknown) => {
      return error instanceof CoveyError && error.code === 3 &&
        error.rawMessage.startsWith("discovery by multicast: found ");
    }, JSON.stringify(options));
  }
});
