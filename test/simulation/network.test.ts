/** Faults of the network and of machines, as a node on the simulator sees them. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { poisonByte } from "../../src/runtime/sim/connection.ts";
import { createSimulation } from "../../src/runtime/sim/simulation.ts";
import type { NetError } from "../../src/runtime/port.ts";
import { armBan, liftBan } from "./ban.ts";
import { connectPair, dial, listen, pattern, Recorder } from "./streams.ts";

before(armBan);
after(liftBan);

test("a partition stalls a stream, and healing it loses nothing", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { near, far } = await connectPair(simulation);
  const bytes = pattern(3000);
  near.connection!.write(bytes.subarray(0, 1000));
  await simulation.run({ forMs: 50 });
  const partition = simulation.partition("a", "b");
  near.connection!.write(bytes.subarray(1000, 2000));
  await simulation.run({ forMs: 5000 });
  near.connection!.write(bytes.subarray(2000));
  await simulation.run({ forMs: 5000 });
  assert.equal(far.bytes.length, 1000);
  partition.heal();
  partition.heal();
  await simulation.run({ forMs: 500 });
  assert.deepEqual(far.bytes, bytes);
  assert.deepEqual(far.events.filter((event) => event !== "data"), ["open"]);
  assert.equal(simulation.coverage.count("stall"), 1);
});

test("packets under way when the cut comes are sent again in their order", async () => {
  for (let seed = 0; seed < 50; seed++) {
    const simulation = createSimulation({ seed, latencyMs: [5, 20], jitterMs: [0, 10] });
    const { near, far } = await connectPair(simulation);
    const random = simulation.random("writes");
    const bytes = pattern(500);
    let sent = 0;
    while (sent < bytes.length) {
      const piece = Math.min(bytes.length - sent, random.between(1, 40));
      near.connection!.write(bytes, sent, piece);
      sent += piece;
      if (random.chance(0.3)) {
        const cut = simulation.cut(random.pick(["a", "b"]), random.pick(["a", "b"]));
        simulation.at(simulation.nowMs + random.between(1, 60), () => cut.heal());
      }
      await simulation.run({ forMs: random.between(0, 12) });
    }
    await simulation.run({ forMs: 2000 });
    assert.deepEqual(far.bytes, bytes, `seed ${seed}`);
  }
});

test("a cut that lasts gives up on the stream, at the writer first", async () => {
  const simulation = createSimulation({ seed: 1, stallResetMs: 10_000 });
  const { near, far } = await connectPair(simulation);
  const partition = simulation.partition("a");
  near.connection!.write(pattern(10));
  await simulation.run({ forMs: 9000 });
  assert.ok(!near.has("close"));
  await simulation.run({ forMs: 2000 });
  assert.ok(near.has("close"));
  assert.equal(near.error?.kind, "timeout");
  // The other side wrote nothing and knows nothing, until it writes.
  assert.ok(!far.has("close"));
  partition.heal();
  far.connection!.write(pattern(10));
  await simulation.run({ forMs: 1000 });
  assert.equal(far.error?.kind, "reset");
  assert.equal(simulation.coverage.count("stallReset"), 1);
});

test("a writer whose acknowledgements do not come back gives up", async () => {
  const simulation = createSimulation({ seed: 1, stallResetMs: 10_000 });
  const { near, far } = await connectPair(simulation);
  const cut = simulation.cut("b", "a");
  near.connection!.write(pattern(100));
  await simulation.run({ forMs: 5000 });
  assert.equal(far.bytes.length, 100);
  // Healed in time, it goes on as if nothing had been.
  cut.heal();
  await simulation.run({ forMs: 20_000 });
  assert.ok(!near.has("close"));
  simulation.cut("b", "a");
  near.connection!.write(pattern(100));
  await simulation.run({ forMs: 11_000 });
  assert.equal(near.error?.kind, "timeout");
  assert.ok(!far.has("close"));
});

test("the window is whole again once everything was read, however it was read", async () => {
  for (const splitChance of [0, 0.5]) {
    const simulation = createSimulation({ seed: 1, windowBytes: 1000, splitChance });
    const { near, far } = await connectPair(simulation);
    for (let round = 0; round < 300; round++) {
      assert.equal(near.connection!.write(pattern(100)), 100);
      await simulation.run({ forMs: 3 });
    }
    assert.equal(far.bytes.length, 30_000);
    assert.equal(near.connection!.write(pattern(5000)), 1000);
  }
});

test("a one-way cut lets the other direction through", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { near, far } = await connectPair(simulation);
  const cut = simulation.cut("b", "a");
  near.connection!.write(pattern(100));
  far.connection!.write(pattern(200));
  await simulation.run({ forMs: 3000 });
  assert.equal(far.bytes.length, 100);
  assert.equal(near.bytes.length, 0);
  cut.heal();
  await simulation.run({ forMs: 3000 });
  assert.deepEqual(near.bytes, pattern(200));
});

test("a dial over a cut waits for its end, or times out", async () => {
  const simulation = createSimulation({ seed: 1 });
  const a = simulation.machine("a");
  const b = simulation.machine("b");
  await simulation.wait(listen(b.runtime, new Recorder()));
  const partition = simulation.partition("a", "b");
  const started = simulation.nowMs;
  const kind = await simulation.wait(
    dial(a.runtime, "b", new Recorder(), 500).catch((error: NetError) => error.kind),
  );
  assert.equal(kind, "timeout");
  assert.equal(simulation.nowMs - started, 500);
  const patient = dial(a.runtime, "b", new Recorder(), 10_000);
  await simulation.run({ forMs: 2000 });
  partition.heal();
  await simulation.wait(patient);
  assert.ok(simulation.coverage.count("dialRetry") > 0);
});

test("delivered chunks are cut down to single bytes, and poisoned afterwards", async () => {
  const simulation = createSimulation({ seed: 1, splitChance: 1 });
  const { near, far } = await connectPair(simulation);
  const bytes = pattern(300);
  near.connection!.write(bytes);
  await simulation.run({ forMs: 100 });
  assert.deepEqual(far.bytes, bytes);
  assert.ok(far.kept.every((chunk) => chunk.length === 1 && chunk[0] === poisonByte));

  const sometimes = createSimulation({ seed: 1, splitChance: 0.5 });
  const pair = await connectPair(sometimes);
  for (let round = 0; round < 50; round++) {
    pair.near.connection!.write(bytes);
    await sometimes.run({ forMs: 10 });
  }
  const sizes = new Set(pair.far.kept.map((chunk) => chunk.length));
  assert.ok(sizes.has(300) && sizes.has(1) && sizes.size > 10, [...sizes].join(" "));
  assert.equal(pair.far.bytes.length, 50 * 300);
});

test("writes are cut short at random and drain follows each time", async () => {
  const simulation = createSimulation({ seed: 3, partialWriteChance: 0.8 });
  const { near, far } = await connectPair(simulation);
  const bytes = pattern(5000);
  let sent = 0;
  let shorts = 0;
  while (sent < bytes.length) {
    const drains = near.events.filter((event) => event === "drain").length;
    const taken = near.connection!.write(bytes, sent);
    sent += taken;
    if (sent === bytes.length) break;
    shorts++;
    await simulation.run({
      until: () => near.events.filter((event) => event === "drain").length === drains + 1,
    });
  }
  await simulation.run({ forMs: 100 });
  assert.deepEqual(far.bytes, bytes);
  assert.ok(shorts > 3);
});

test("a stuck peer keeps its socket and its timers, and takes nothing", async () => {
  const simulation = createSimulation({ seed: 1, windowBytes: 10_000 });
  const { a, b, near, far } = await connectPair(simulation);
  b.stick();
  let ticks = 0;
  b.runtime.clock.timer(100, () => ticks++, undefined);
  assert.equal(near.connection!.write(pattern(50_000)), 10_000);
  const second = await simulation.wait(dial(a.runtime, "b", new Recorder()));
  await simulation.run({ forMs: 100_000 });
  assert.equal(ticks, 1);
  assert.equal(far.bytes.length, 0);
  assert.equal(near.connection!.write(pattern(10)), 0);
  assert.ok(!near.has("drain") && !near.has("close"));
  assert.equal(far.events.filter((event) => event === "open").length, 1);
  b.unstick();
  await simulation.run({ forMs: 100 });
  assert.deepEqual(far.bytes, pattern(50_000).subarray(0, 10_000));
  assert.equal(far.events.filter((event) => event === "open").length, 2);
  assert.ok(near.has("drain"));
  second.abort();
});

test("a paused machine runs nothing, and everything in its order afterwards", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { b, near, far } = await connectPair(simulation);
  const fired: number[] = [];
  for (const delay of [30, 10, 20]) {
    b.runtime.clock.timer(delay, () => fired.push(delay), undefined);
  }
  b.runtime.clock.timer(40, () => fired.push(40), undefined).cancel();
  b.pause();
  near.connection!.write(pattern(77));
  await simulation.run({ forMs: 1000 });
  assert.deepEqual(fired, []);
  assert.equal(far.bytes.length, 0);
  b.resume();
  await simulation.run({ forMs: 1 });
  assert.deepEqual(fired, [10, 20, 30]);
  assert.deepEqual(far.bytes, pattern(77));
});

test("a timer that came due in a pause can be cancelled by the one before it", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { b } = await connectPair(simulation);
  const { clock } = b.runtime;
  const fired: number[] = [];
  clock.timer(10, () => {
    fired.push(10);
    later.cancel();
  }, undefined);
  const later = clock.timer(20, () => fired.push(20), undefined);
  b.pause();
  await simulation.run({ forMs: 1000 });
  b.resume();
  await simulation.run({ forMs: 1000 });
  assert.deepEqual(fired, [10]);
});

test("a crash stops everything at once; peers see a reset after a while", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { b, near, far } = await connectPair(simulation);
  const { clock, disk } = b.runtime;
  const seen: string[] = [];
  clock.timer(5, () => seen.push("timer"), undefined);
  disk.makeDirectory("/x").then(() => seen.push("disk"));
  near.connection!.write(pattern(10));
  b.crash({ afterMs: 300 });
  // What a dead program still calls has no effect and gets no answer.
  clock.timer(1, () => seen.push("late timer"), undefined);
  disk.list("/").then(() => seen.push("late disk"));
  assert.equal(far.connection!.write(pattern(10)), 0);
  await simulation.run({ forMs: 200 });
  assert.ok(!near.has("close"));
  await simulation.run({ forMs: 1000 });
  assert.equal(near.error?.kind, "reset");
  assert.deepEqual(seen, []);
  assert.deepEqual(far.events, ["open"]);
  assert.equal(near.bytes.length, 0);
});

test("after a power loss peers learn nothing until they write to the restarted machine", async () => {
  const simulation = createSimulation({ seed: 1, stallResetMs: 3_600_000 });
  const { a, b, near } = await connectPair(simulation);
  const old = b.runtime;
  b.losePower();
  await simulation.run({ forMs: 60_000 });
  assert.deepEqual(near.events, ["open"]);
  const failed = dial(a.runtime, "b", new Recorder(), 400).catch((error: NetError) => error.kind);
  assert.equal(await simulation.wait(failed), "timeout");
  const runtime = b.restart();
  assert.notEqual(runtime, old);
  assert.equal(runtime.clock.monotonicMs(), 0);
  await simulation.run({ forMs: 60_000 });
  assert.deepEqual(near.events, ["open"]);
  near.connection!.write(pattern(1));
  await simulation.run({ forMs: 1000 });
  assert.equal(near.error?.kind, "reset");
  const refused = dial(a.runtime, "b", new Recorder()).catch((error: NetError) => error.kind);
  assert.equal(await simulation.wait(refused), "refused");
});

test("what was written before an orderly close arrives even when the reader writes, too", async () => {
  for (const splitChance of [0, 0.7]) {
    const simulation = createSimulation({ seed: 1, splitChance });
    const { near, far } = await connectPair(simulation);
    far.connection!.pause();
    near.connection!.write(pattern(1000));
    near.connection!.close();
    far.connection!.write(pattern(10));
    await simulation.run({ forMs: 100 });
    assert.equal(far.connection!.write(pattern(10)), 0);
    far.connection!.resume();
    await simulation.run({ forMs: 100 });
    assert.deepEqual(far.bytes, pattern(1000));
    assert.equal(far.error?.kind, "reset");
    assert.equal(far.events.filter((event) => event === "close").length, 1);
  }
});

test("half-closing towards a machine that forgot the connection is a reset", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { b, near } = await connectPair(simulation);
  b.losePower();
  b.restart();
  near.connection!.shutdown();
  await simulation.run({ forMs: 1000 });
  assert.equal(near.error?.kind, "reset");
});

test("a writer that is blocked on a machine without power is told after its restart", async () => {
  for (const restartMs of [1000, 100_000]) {
    const simulation = createSimulation({ seed: 1, stallResetMs: 20_000, windowBytes: 5000 });
    const { b, near, far } = await connectPair(simulation);
    far.connection!.pause();
    assert.equal(near.connection!.write(pattern(9000)), 5000);
    await simulation.run({ forMs: 100 });
    b.losePower();
    await simulation.run({ forMs: restartMs });
    b.restart();
    await simulation.run({ forMs: 1000 });
    assert.equal(near.error?.kind, restartMs < 20_000 ? "reset" : "timeout");
  }
});

test("kill -9: the kernel ends the connections, a unix path stays behind", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { b, near } = await connectPair(simulation);
  const address = { kind: "unix", path: "/tmp/socket" } as const;
  await simulation.wait(listen(b.runtime, new Recorder(), { address }));
  b.kill();
  await simulation.run({ forMs: 100 });
  assert.ok(near.has("end") && !near.has("close"));
  near.connection!.write(pattern(5));
  await simulation.run({ forMs: 100 });
  assert.equal(near.error?.kind, "reset");
  const runtime = b.restart();
  assert.equal((await simulation.wait(runtime.disk.stat("/tmp/socket"))).kind, "other");
  await simulation.wait(listen(runtime, new Recorder(), { address }));
});

test("a reset by a call or by chance ends both sides", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { near, far } = await connectPair(simulation);
  assert.equal(simulation.resetConnections("a", "b"), 1);
  await simulation.run({ forMs: 10 });
  assert.equal(near.error?.kind, "reset");
  assert.equal(far.error?.kind, "reset");

  const chance = createSimulation({ seed: 1, connectionResetChance: 0.2 });
  const pair = await connectPair(chance);
  for (let round = 0; round < 100 && !pair.near.has("close"); round++) {
    pair.near.connection!.write(pattern(10));
    await chance.run({ forMs: 10 });
  }
  assert.equal(pair.near.error?.kind, "reset");
  assert.equal(pair.far.error?.kind, "reset");
  assert.equal(chance.coverage.count("connectionReset"), 1);
});

test("datagrams get lost, doubled and overtaken, and never cross a cut", async () => {
  const simulation = createSimulation({
    seed: 1,
    udpLossChance: 0.1,
    udpDuplicateChance: 0.1,
    udpReorderChance: 0.1,
  });
  const a = simulation.machine("a");
  const b = simulation.machine("b");
  const got: number[] = [];
  const handler = {
    message: (_socket: unknown, datagram: Uint8Array) => void got.push(datagram[0]),
    error: () => {},
  };
  await simulation.wait(b.runtime.net.bindUdp({ host: "0.0.0.0", port: 53, handler }));
  const socket = await simulation.wait(
    a.runtime.net.bindUdp({ host: "0.0.0.0", port: 0, handler }),
  );
  for (let index = 0; index < 200; index++) {
    socket.send(new Uint8Array([index]), "b", 53);
    await simulation.run({ forMs: 1 });
  }
  const distinct = new Set(got);
  assert.ok(distinct.size < 200 && distinct.size > 150, `${distinct.size}`);
  assert.ok(got.length > distinct.size);
  assert.ok(got.some((value, index) => index > 0 && value < got[index - 1]));
  simulation.coverage.assertCovered(["udpLoss", "udpDuplicate", "udpReorder"]);
  simulation.partition("a", "b");
  await simulation.run({ forMs: 100 });
  got.length = 0;
  for (let index = 0; index < 20; index++) socket.send(new Uint8Array([index]), "b", 53);
  await simulation.run({ forMs: 1000 });
  assert.equal(got.length, 0);
});

test("a datagram is lost when the path is cut at its sending or at its arrival", async () => {
  const simulation = createSimulation({ seed: 1, latencyMs: [10, 10], jitterMs: [0, 0] });
  const got: number[] = [];
  const handler = {
    message: (_socket: unknown, datagram: Uint8Array) => void got.push(datagram[0]),
    error: () => {},
  };
  const [a, b] = ["a", "b"].map((name) => simulation.machine(name).runtime.net);
  await simulation.wait(b.bindUdp({ host: "0.0.0.0", port: 53, handler }));
  const socket = await simulation.wait(a.bindUdp({ host: "0.0.0.0", port: 0, handler }));
  socket.send(new Uint8Array([1]), "b", 53);
  await simulation.run({ forMs: 5 });
  const cut = simulation.cut("a", "b");
  await simulation.run({ forMs: 7 });
  socket.send(new Uint8Array([2]), "b", 53);
  await simulation.run({ forMs: 1 });
  cut.heal();
  socket.send(new Uint8Array([3]), "b", 53);
  await simulation.run({ forMs: 50 });
  assert.deepEqual(got, [3]);
});

test("multicast reaches the group's members on all machines, and only them", async () => {
  const simulation = createSimulation({ seed: 1 });
  const got: string[] = [];
  const sockets = [];
  for (const name of ["a", "b", "c", "d"]) {
    const { net } = simulation.machine(name).runtime;
    const member = name === "d" ? {} : { multicast: { group: "239.1.2.3" } };
    const bound = net.bindUdp({
      host: "0.0.0.0",
      port: 5353,
      ...member,
      handler: {
        message: (_socket, _datagram, host, port) => void got.push(`${name} ${host}:${port}`),
        error: () => {},
      },
    });
    sockets.push(await simulation.wait(bound));
  }
  simulation.cut("a", "c");
  sockets[0].send(pattern(3), "239.1.2.3", 5353);
  await simulation.run({ forMs: 100 });
  assert.deepEqual(got.sort(), ["a 10.0.0.1:5353", "b 10.0.0.1:5353"]);
});

test("the nemesis strikes by itself, spares the immune and stops when told", async () => {
  const simulation = createSimulation({
    seed: 4,
    nemesis: {
      crashEveryMs: 500,
      killEveryMs: 500,
      pauseEveryMs: 500,
      partitionEveryMs: 500,
      lastsMs: [10, 300],
      untilMs: 20_000,
    },
  });
  let boots = 0;
  let immuneBoots = 0;
  simulation.machine("a", { boot: () => new Promise<void>(() => boots++) });
  simulation.machine("b", {
    immune: true,
    boot: () => new Promise<void>(() => immuneBoots++),
  });
  // The nemesis ends at 20 s and with it the last event.
  await simulation.run({ untilMs: 60_000 });
  assert.ok(boots > 10, `${boots}`);
  assert.equal(immuneBoots, 1);
  assert.ok(simulation.machine("a").running);
  simulation.coverage.assertCovered(["crash", "kill", "pause", "partition", "restart"]);
  await assert.rejects(simulation.run({ until: () => false }), { kind: "deadlock" });
});
