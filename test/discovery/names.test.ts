/** Discovery by addresses and by names, and several ways as one, in virtual time. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CoveyError } from "../../src/base/error.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { CombinedDiscovery } from "../../src/discovery/combined.ts";
import { parseSeed } from "../../src/discovery/core/seed.ts";
import { createDiscovery } from "../../src/discovery/create.ts";
import type { Candidate, CandidateSink, Discovery } from "../../src/discovery/discovery.ts";
import { DnsDiscovery, type DnsDiscoveryOptions, type DnsSeed } from "../../src/discovery/dns.ts";
import { showDiscoveryMetrics } from "../../src/discovery/metrics.ts";
import { StaticDiscovery } from "../../src/discovery/static.ts";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "../simulation/ban.ts";
import { type Parts, partsOf, Sink } from "./support.ts";

before(armBan);
after(liftBan);

function stage(): { simulation: Simulation; parts: Parts; sink: Sink } {
  const simulation = createSimulation({ seed: 1 });
  return { simulation, parts: partsOf(simulation.machine("a").runtime), sink: new Sink() };
}

function byName(parts: Parts, text: string, options: Partial<DnsDiscoveryOptions> = {}) {
  return new DnsDiscovery(parts, parseSeed(text) as DnsSeed, options);
}

test("static discovery: its addresses, once, after start", async () => {
  const { simulation, parts, sink } = stage();
  const addresses = ["tcp://10.0.0.1:7946", "unix:/run/a.sock", "tcp://10.0.0.1:7946"];
  const discovery = new StaticDiscovery(parts.clock, addresses);
  assert.deepEqual(discovery.candidates, []);
  discovery.start(sink.take);
  assert.deepEqual(sink.lists, [], "not from within start");
  await simulation.run({ forMs: 1_000 });
  assert.deepEqual(sink.lists, [[
    { address: "tcp://10.0.0.1:7946", source: "static" },
    { address: "unix:/run/a.sock", source: "static" },
  ]]);
  assert.deepEqual(discovery.candidates, sink.lists[0]);
  discovery.stop();
  discovery.stop();
  assert.throws(() => new StaticDiscovery(parts.clock, ["nonsense"]), CoveyError);
});

test("static discovery: stopped at once, it says nothing", async () => {
  const { simulation, parts, sink } = stage();
  const discovery = new StaticDiscovery(parts.clock, ["tcp://10.0.0.1:7946"]);
  discovery.start(sink.take);
  discovery.stop();
  await simulation.run({ forMs: 1_000 });
  assert.deepEqual(sink.lists, []);
});

test("dns discovery: addresses of both families, with the port of the seed", async () => {
  const { simulation, parts, sink } = stage();
  simulation.names.set("covey.example", {
    A: ["10.0.0.2", "10.0.0.1"],
    AAAA: ["2001:db8::1"],
  });
  const discovery = byName(parts, "dns://covey.example:7000");
  discovery.start(sink.take);
  assert.equal(sink.lists.length, 0);
  await simulation.run({ forMs: 1_000 });
  assert.deepEqual(sink.lists.length, 1);
  assert.deepEqual(sink.last, [
    "tcp://10.0.0.1:7000",
    "tcp://10.0.0.2:7000",
    "tcp://[2001:db8::1]:7000",
  ]);
  assert.equal(sink.lists[0][0].source, "dns://covey.example:7000");
  assert.deepEqual(parts.logger.lines, []);
});

test("dns discovery: services by priority and weight, what is none left out", async () => {
  const { simulation, parts, sink } = stage();
  const at = (priority: number, weight: number, target: string, port = 7946) => {
    return { priority, weight, port, target };
  };
  simulation.names.set("_covey._tcp.example", {
    SRV: [at(2, 9, "c.example"), at(1, 0, "b.example."), at(1, 5, "a.example", 7000), at(1, 5, "")],
  });
  const discovery = byName(parts, "srv://_covey._tcp.example");
  discovery.start(sink.take);
  await simulation.run({ forMs: 1_000 });
  assert.deepEqual(sink.last, [
    "tcp://a.example:7000",
    "tcp://b.example:7946",
    "tcp://c.example:7946",
  ]);
});

test("dns discovery: looked up again, told only when it changed", async () => {
  const { simulation, parts, sink } = stage();
  simulation.names.set("covey.example", { A: ["10.0.0.1", "10.0.0.2"] });
  const discovery = byName(parts, "dns://covey.example:1", { intervalMs: 10_000 });
  discovery.start(sink.take);
  await simulation.run({ forMs: 35_000 });
  assert.equal(sink.lists.length, 1);
  // Two kinds each time, at 0 and then every 9 to 11 s.
  assert.equal(parts.counters.lookups, 8);
  simulation.names.set("covey.example", { A: ["10.0.0.2", "10.0.0.1"] });
  await simulation.run({ forMs: 12_000 });
  assert.equal(sink.lists.length, 1, "another order is no change");
  simulation.names.set("covey.example", { A: ["10.0.0.3"] });
  await simulation.run({ forMs: 12_000 });
  assert.deepEqual(sink.last, ["tcp://10.0.0.3:1"]);
  discovery.stop();
  const { lookups } = parts.counters;
  simulation.names.set("covey.example", { A: ["10.0.0.4"] });
  await simulation.run({ forMs: 60_000 });
  assert.deepEqual([sink.lists.length, parts.counters.lookups], [2, lookups]);
});

test("dns discovery: answers are capped", async () => {
  const { simulation, parts, sink } = stage();
  const A = Array.from({ length: 300 }, (_, at) => `10.0.${at >> 8}.${at & 255}`);
  simulation.names.set("covey.example", { A, AAAA: ["::2"] });
  byName(parts, "dns://covey.example:1", { candidatesMax: 20 }).start(sink.take);
  await simulation.run({ forMs: 1_000 });
  assert.equal(sink.last.length, 20);
});

for (const mode of ["fails", "silent"] as const) {
  test(`dns discovery: a name server that ${mode} is told once, and tried with back-off`, async () => {
    const { simulation, parts, sink } = stage();
    const { counters, logger } = parts;
    simulation.names.set("covey.example", { A: ["10.0.0.1"] });
    const options = { intervalMs: 10_000, timeoutMs: 500 };
    const discovery = byName(parts, "dns://covey.example:1", options);
    discovery.start(sink.take);
    await simulation.run({ forMs: 1_000 });
    simulation.names.mode = mode;
    const before = counters.lookups;
    await simulation.run({ forMs: 300_000 });
    // Twelve rounds or so: 1, 2, 4 … 60 s, each with both families.
    const rounds = (counters.lookups - before) / 2;
    assert.ok(rounds >= 8 && rounds <= 20, `${rounds} rounds`);
    assert.equal(logger.levels, "warning");
    assert.equal(logger.lines[0].fields?.name, "dns://covey.example:1");
    assert.equal(counters.lookupsFailed, counters.lookups - before + 1);
    // What was found before is kept.
    assert.deepEqual(discovery.candidates.map(({ address }) => address), ["tcp://10.0.0.1:1"]);
    assert.equal(sink.lists.length, 1);
    simulation.names.mode = "answers";
    simulation.names.set("covey.example", { A: ["10.0.0.2"] });
    await simulation.run({ forMs: 61_000 });
    assert.deepEqual(sink.last, ["tcp://10.0.0.2:1"]);
    assert.equal(logger.levels, "warning info");
    // The next failure is told again, and waits the first time again.
    simulation.names.mode = mode;
    const again = counters.lookups;
    await simulation.run({ forMs: 18_000 });
    assert.equal(logger.levels, "warning info warning");
    assert.ok(counters.lookups - again >= 6);
  });
}

test("dns discovery: a name that nobody has yet is found once somebody has it", async () => {
  const { simulation, parts, sink } = stage();
  byName(parts, "srv://_covey._tcp.example").start(sink.take);
  await simulation.run({ forMs: 100_000 });
  assert.equal(sink.lists.length, 0);
  const SRV = [{ priority: 0, weight: 0, port: 7946, target: "a.example" }];
  simulation.names.set("_covey._tcp.example", { SRV });
  await simulation.run({ forMs: 61_000 });
  assert.deepEqual(sink.last, ["tcp://a.example:7946"]);
});

test("dns discovery: stopped in the middle of a look-up, it ends it", async () => {
  const { simulation, parts, sink } = stage();
  simulation.names.mode = "silent";
  const discovery = byName(parts, "dns://covey.example:1", { timeoutMs: 60_000 });
  discovery.start(sink.take);
  await simulation.run({ forMs: 1_000 });
  discovery.stop();
  await simulation.run({ forMs: 200_000 });
  assert.deepEqual([sink.lists.length, parts.counters.lookups], [0, 2]);
  assert.deepEqual(parts.logger.lines, []);
});

test("dns discovery: options that cannot be are refused", () => {
  const { parts } = stage();
  const bad: Partial<DnsDiscoveryOptions>[] = [
    { intervalMs: 0 },
    { timeoutMs: NaN },
    { candidatesMax: 0 },
    { backoff: { firstMs: 0, mostMs: 1 } },
  ];
  for (const options of bad) {
    assert.throws(() => byName(parts, "dns://a:1", options), (error: unknown) => {
      return error instanceof CoveyError && error.code === 3;
    });
  }
});

/** Says what the test says. */
class Told implements Discovery {
  candidates: readonly Candidate[] = [];
  stops = 0;
  #sink: CandidateSink | undefined;

  start(sink: CandidateSink): void {
    this.#sink = sink;
  }
  stop(): void {
    this.stops++;
  }
  say(source: string, ...addresses: string[]): void {
    this.candidates = addresses.map((address) => ({ address, source }));
    this.#sink?.(this.candidates);
  }
}

test("combined discovery: merged in order, each address once, capped", () => {
  const [a, b] = [new Told(), new Told()];
  const combined = new CombinedDiscovery([a, b], 4);
  const sink = new Sink();
  combined.start(sink.take);
  b.say("b", "tcp://x:1", "tcp://y:1");
  assert.deepEqual(sink.last, ["tcp://x:1", "tcp://y:1"]);
  a.say("a", "tcp://y:1", "tcp://z:1");
  assert.deepEqual(sink.lists.at(-1), [
    { address: "tcp://y:1", source: "a" },
    { address: "tcp://z:1", source: "a" },
    { address: "tcp://x:1", source: "b" },
  ]);
  assert.deepEqual(combined.candidates, sink.lists.at(-1));
  const { length } = sink.lists;
  b.say("b", "tcp://y:1", "tcp://x:1");
  assert.equal(sink.lists.length, length, "nothing changed");
  a.say("a", "tcp://1:1", "tcp://2:1", "tcp://3:1", "tcp://4:1", "tcp://5:1");
  assert.equal(sink.last.length, 4);
  combined.stop();
  a.say("a");
  assert.equal(sink.last.length, 4);
  assert.deepEqual([a.stops, b.stops], [1, 1]);
});

test("discovery as configured: addresses, names and the network as one", async () => {
  const { simulation, parts, sink } = stage();
  simulation.names.set("covey.example", { A: ["10.9.0.1"] });
  const other = partsOf(simulation.machine("b").runtime);
  const seeds = ["tcp://10.0.0.1:7946", "dns://covey.example:7946"];
  const own = { cluster: () => "", address: "tcp://0.0.0.0:7946" };
  const discovery = createDiscovery({ ...parts, ...own }, { seeds, lan: {} });
  const second = createDiscovery({ ...other, ...own }, { seeds: [], lan: {} });
  discovery.start(sink.take);
  second.start(() => {});
  await simulation.run({ forMs: 5_000 });
  assert.deepEqual(sink.lists.at(-1), [
    { address: "tcp://10.0.0.1:7946", source: "static" },
    { address: "tcp://10.9.0.1:7946", source: "dns://covey.example:7946" },
    { address: "tcp://10.0.0.2:7946", source: "lan 239.255.77.46:7946" },
  ]);
  const registry = new MetricsRegistry();
  showDiscoveryMetrics(registry, discovery, parts.counters);
  const text = registry.expose("prometheus");
  assert.match(text, /^covey_discovery_candidates 3$/m);
  assert.match(text, /^covey_discovery_lookups_total 2$/m);
  assert.match(text, /^covey_discovery_datagrams_total\{kind="own"\} [1-9]/m);
  const bad = () => createDiscovery({ ...parts, ...own }, { seeds: ["dns://covey.example"] });
  assert.throws(bad, CoveyError);
});
