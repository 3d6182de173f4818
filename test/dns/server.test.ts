/** The server on the simulator's network: datagrams, connections, and what becomes of bad clients. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { concatBytes } from "../../src/base/bytes.ts";
import { silentLogger } from "../../src/base/log.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { CoveyError } from "../../src/base/error.ts";
import type { DnsView } from "../../src/dns/core/directory.ts";
import { showDnsMetrics } from "../../src/dns/metrics.ts";
import type { DnsOptions } from "../../src/dns/options.ts";
import { DnsServer } from "../../src/dns/server.ts";
import {
  type Connection,
  type Net,
  NetError,
  type Runtime,
  type UdpSocket,
} from "../../src/runtime/port.ts";
import {
  createSimulation,
  type Simulation,
  type SimulationOptions,
} from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "../simulation/ban.ts";
import { type Answer, decode, question, smallView, wideView } from "./support.ts";

before(armBan);
after(liftBan);

interface Stage {
  readonly simulation: Simulation;
  readonly server: DnsServer;
  readonly client: Runtime;
  readonly host: string;
  view: DnsView | undefined;
}

async function stageOf(
  options: Partial<DnsOptions> = {},
  world: Partial<SimulationOptions> = {},
): Promise<Stage> {
  const simulation = createSimulation({ seed: 1, ...world });
  const machine = simulation.machine("server");
  const client = simulation.machine("client").runtime;
  const { net, clock, random } = machine.runtime;
  const view = (): DnsView | undefined => stage.view;
  const parts = { net, clock, random, logger: silentLogger, view };
  const server = new DnsServer(parts, { host: "0.0.0.0", port: 53, ...options });
  const stage: Stage = { simulation, server, client, host: machine.ip, view: smallView };
  await simulation.wait(server.start());
  return stage;
}

/** Sends datagrams and keeps what comes back. */
async function udpClient(stage: Stage, runtime = stage.client) {
  const answers: Answer[] = [];
  const sizes: number[] = [];
  const socket: UdpSocket = await stage.simulation.wait(runtime.net.bindUdp({
    host: "0.0.0.0",
    port: 0,
    handler: {
      message(_socket, datagram) {
        answers.push(decode(datagram.slice()));
        sizes.push(datagram.length);
      },
      error: (_socket, error) => assert.fail(error.message),
    },
  }));
  const ask = async (message: Uint8Array): Promise<Answer | undefined> => {
    const before = answers.length;
    socket.send(message, stage.host, stage.server.port);
    await stage.simulation.run({ forMs: 100 });
    return answers[before];
  };
  return { ask, answers, sizes, socket };
}

/** A connection that keeps what comes. */
class TcpProbe {
  bytes: Uint8Array = new Uint8Array(0);
  isOpen = false;
  ended = false;
  error: NetError | undefined;

  get answers(): Answer[] {
    const found: Answer[] = [];
    for (let at = 0; at + 2 <= this.bytes.length;) {
      const length = this.bytes[at] << 8 | this.bytes[at + 1];
      if (at + 2 + length > this.bytes.length) break;
      found.push(decode(this.bytes.slice(at + 2, at + 2 + length)));
      at += 2 + length;
    }
    return found;
  }

  async connect(stage: Stage): Promise<Connection<TcpProbe>> {
    return await stage.simulation.wait(stage.client.net.connect<TcpProbe>({
      address: { kind: "tcp", host: stage.host, port: stage.server.port },
      state: this,
      timeoutMs: 5_000,
      handler: {
        open: ({ state }) => void (state.isOpen = true),
        data: ({ state }, chunk) => void (state.bytes = concatBytes([state.bytes, chunk])),
        drain() {},
        end: (connection) => {
          connection.state.ended = true;
          connection.close();
        },
        close: ({ state }, error) => {
          state.isOpen = false;
          state.error = error;
        },
      },
    }));
  }
}

function framed(...messages: Uint8Array[]): Uint8Array {
  return concatBytes(
    messages.flatMap((one) => [Uint8Array.of(one.length >> 8, one.length & 255), one]),
  );
}

test("dns server: a question by datagram, answered to who asked", async () => {
  const stage = await stageOf();
  const { ask } = await udpClient(stage);
  const answer = await ask(question("gw1.node.covey", "A", { id: 9 }));
  assert.deepEqual([answer?.id, answer?.answers], [9, ["gw1.node.covey 0 A 10.0.0.1"]]);
  assert.equal(stage.server.counters.udp.answered, 1);
});

test("dns server: the view of the moment, and none at first", async () => {
  const stage = await stageOf();
  const { ask } = await udpClient(stage);
  stage.view = undefined;
  assert.equal((await ask(question("gw1.node.covey", "A")))?.code, 2);
  stage.view = smallView;
  assert.equal((await ask(question("gw1.node.covey", "A")))?.code, 0);
  stage.view = { ...smallView, members: [] };
  assert.equal((await ask(question("gw1.node.covey", "A")))?.code, 3);
  const { udp } = stage.server.counters;
  assert.deepEqual([udp.failed, udp.answered, udp.nonexistent], [1, 1, 1]);
});

test("dns server: garbage has no answer and is counted", async () => {
  const stage = await stageOf();
  const { ask } = await udpClient(stage);
  assert.equal(await ask(new Uint8Array(0)), undefined);
  assert.equal(await ask(new Uint8Array(11)), undefined);
  assert.equal(await ask(Uint8Array.from([0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0])), undefined);
  assert.equal((await ask(new Uint8Array(12)))?.code, 1);
  assert.deepEqual(
    [stage.server.counters.udp.garbage, stage.server.counters.udp.rejected],
    [3, 1],
  );
});

test("dns server: a network that asks too much gets answers as short as its questions", async () => {
  const stage = await stageOf({ udpMembersMax: 60, bytesPerSecond: 1_200 });
  stage.view = wideView(100);
  const { ask, sizes } = await udpClient(stage);
  const asked = question("kv.service.covey", "A", { edns: {} });
  const cut: boolean[] = [];
  for (let round = 0; round < 5; round++) cut.push((await ask(asked))!.truncated);
  assert.deepEqual(cut, [false, true, true, true, true]);
  assert.ok(sizes[0] > 900 && sizes.slice(1).every((size) => size <= asked.length), sizes.join());
  assert.deepEqual([stage.server.counters.overBudget, stage.server.counters.truncated], [4, 4]);
  // With time it gets more; whoever cannot wait comes by TCP.
  await stage.simulation.run({ forMs: 1_000 });
  assert.equal((await ask(asked))!.truncated, false);
  const probe = new TcpProbe();
  (await probe.connect(stage)).write(framed(asked));
  await stage.simulation.run({ forMs: 100 });
  assert.equal(probe.answers[0].answers.length, 100);
});

test("dns server: the own machine is not bounded, for nobody else can be it", async () => {
  const stage = await stageOf({ udpMembersMax: 60, bytesPerSecond: 1, totalBytesPerSecond: 1 });
  stage.view = wideView(100);
  const local = await udpClient(
    { ...stage, host: "127.0.0.1" },
    stage.simulation.machine("server").runtime,
  );
  const remote = await udpClient(stage);
  const asked = question("kv.service.covey", "A", { edns: {} });
  for (let round = 0; round < 5; round++) assert.equal((await local.ask(asked))!.truncated, false);
  assert.equal((await remote.ask(asked))!.truncated, true);
});

test("dns server: many questions over one connection, byte by byte", async () => {
  const stage = await stageOf({}, { splitChance: 0.9 });
  const probe = new TcpProbe();
  const connection = await probe.connect(stage);
  const names = ["gw1.node.covey", "kv.service.covey", "nobody.node.covey", "example.com"];
  const messages = names.map((name, id) => question(name, "A", { id }));
  connection.write(framed(...messages, ...messages));
  await stage.simulation.run({ forMs: 1_000 });
  const codes = probe.answers.map(({ id, code }) => [id, code]);
  const expected = [[0, 0], [1, 0], [2, 3], [3, 5]];
  assert.deepEqual(codes, [...expected, ...expected]);
  const { tcp } = stage.server.counters;
  assert.deepEqual([tcp.answered, tcp.nonexistent, tcp.refused], [4, 2, 2]);
});

test("dns server: a hundred questions in one piece, a few at a time, in their order", async () => {
  const stage = await stageOf();
  const probe = new TcpProbe();
  const connection = await probe.connect(stage);
  const ids = Array.from({ length: 100 }, (_, id) => id);
  connection.write(framed(...ids.map((id) => question("gw1.node.covey", "A", { id }))));
  connection.shutdown();
  await stage.simulation.run({ forMs: 200 });
  assert.deepEqual(probe.answers.map(({ id }) => id), ids);
  assert.deepEqual([probe.ended, probe.isOpen], [true, false]);
});

test("dns server: a client that half-closes still gets its answers", async () => {
  const stage = await stageOf();
  const probe = new TcpProbe();
  const connection = await probe.connect(stage);
  connection.write(framed(question("gw1.node.covey", "A"), question("gw2.node.covey", "A")));
  connection.shutdown();
  await stage.simulation.run({ forMs: 100 });
  assert.equal(probe.answers.length, 2);
  assert.deepEqual([probe.ended, probe.error, probe.isOpen], [true, undefined, false]);
});

test("dns server: whoever says nothing, or half a question, is closed in time", async () => {
  const stage = await stageOf({ tcpIdleMs: 2_000 });
  const silent = new TcpProbe();
  const slow = new TcpProbe();
  const busy = new TcpProbe();
  await silent.connect(stage);
  const slowly = await slow.connect(stage);
  const busily = await busy.connect(stage);
  const asked = framed(question("gw1.node.covey", "A"));
  for (let at = 0; at < 5; at++) {
    // A byte now and then is no progress, a question is.
    slowly.write(asked, at, 1);
    busily.write(asked);
    await stage.simulation.run({ forMs: 700 });
  }
  assert.deepEqual([silent.isOpen, slow.isOpen, busy.isOpen], [false, false, true]);
  assert.equal(busy.answers.length, 5);
  await stage.simulation.run({ forMs: 2_100 });
  assert.equal(busy.isOpen, false);
  assert.equal(stage.server.counters.tcpClosed, 3);
});

test("dns server: what is no DNS over TCP ends the connection", async () => {
  const stage = await stageOf();
  const garbage: Uint8Array[] = [
    new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
    Uint8Array.of(0, 3, 1, 2, 3),
    Uint8Array.of(0, 0),
    Uint8Array.of(0x10, 0x01),
  ];
  for (const bytes of garbage) {
    const probe = new TcpProbe();
    (await probe.connect(stage)).write(bytes);
    await stage.simulation.run({ forMs: 100 });
    assert.deepEqual([probe.isOpen, probe.bytes.length], [false, 0]);
  }
  assert.equal(stage.server.counters.tcpClosed, garbage.length);
});

test("dns server: so many questions and no more", async () => {
  const stage = await stageOf({ tcpQuestionsMax: 3 });
  const probe = new TcpProbe();
  const asked = question("gw1.node.covey", "A");
  (await probe.connect(stage)).write(framed(asked, asked, asked, asked, asked));
  await stage.simulation.run({ forMs: 100 });
  assert.equal(probe.answers.length, 3);
  assert.deepEqual([probe.isOpen, stage.server.counters.tcpClosed], [false, 1]);
});

test("dns server: so many connections and no more", async () => {
  const stage = await stageOf({ tcpConnectionsMax: 2 });
  const probes = [new TcpProbe(), new TcpProbe(), new TcpProbe()];
  for (const probe of probes) await probe.connect(stage);
  await stage.simulation.run({ forMs: 100 });
  assert.deepEqual(probes.map(({ isOpen }) => isOpen), [true, true, false]);
  assert.equal(stage.server.connectionsRefused, 1);
});

test("dns server: a client that does not read costs a bounded amount and is closed", async () => {
  const stage = await stageOf({ tcpIdleMs: 5_000, tcpQuestionsMax: 100_000 }, {
    windowBytes: 16 * 1024,
  });
  stage.view = wideView(200);
  const probe = new TcpProbe();
  const connection = await probe.connect(stage);
  connection.pause();
  const asked = framed(question("kv.service.covey", "SRV"));
  let written = 0;
  for (let round = 0; round < 200; round++) {
    const taken = connection.write(asked);
    written += taken;
    await stage.simulation.run({ forMs: 5 });
    // Past a full window the rest of a frame would be sent later: the client gives up here.
    if (taken < asked.length) break;
  }
  const answered = stage.server.counters.tcp.answered;
  assert.ok(answered >= 1 && answered < 10, `${answered} answers were made`);
  assert.ok(written > 0);
  await stage.simulation.run({ forMs: 11_000 });
  assert.deepEqual([probe.isOpen, stage.server.counters.tcpClosed], [false, 1]);
});

test("dns server: stopping closes everything and answers nothing more", async () => {
  const stage = await stageOf();
  const probe = new TcpProbe();
  (await probe.connect(stage)).write(framed(question("gw1.node.covey", "A")));
  const { ask } = await udpClient(stage);
  await stage.simulation.run({ forMs: 100 });
  assert.equal(probe.answers.length, 1);
  stage.server.stop();
  stage.server.stop();
  await stage.simulation.run({ forMs: 100 });
  assert.equal(probe.isOpen, false);
  assert.equal(await ask(question("gw1.node.covey", "A")), undefined);
  // Its ports are free again.
  const { net, clock, random } = stage.simulation.machine("server").runtime;
  const parts = { net, clock, random, logger: silentLogger, view: () => smallView };
  const again = new DnsServer(parts, { host: "0.0.0.0", port: 53 });
  await stage.simulation.wait(again.start());
  assert.equal((await ask(question("gw1.node.covey", "A")))?.code, 0);
});

test("dns server: an address that is taken is failed_precondition, and named", async () => {
  const stage = await stageOf();
  const { net, clock, random } = stage.simulation.machine("server").runtime;
  const parts = { net, clock, random, logger: silentLogger, view: () => smallView };
  const second = new DnsServer(parts, { host: "0.0.0.0", port: 53 });
  const failure = await stage.simulation.wait(
    second.start().then(() => undefined, (error: unknown) => error),
  );
  assert.ok(failure instanceof CoveyError);
  assert.equal(failure.code, 9);
  assert.match(failure.rawMessage, /^cannot serve DNS on 0\.0\.0\.0:53: /);
});

/** A network that counts its UDP sockets, and whose TCP ports are all taken a few times. */
function crowded(net: Net, times: number): { net: Net; open: () => number; binds: () => number } {
  let [open, binds, refusals] = [0, 0, 0];
  return {
    open: () => open,
    binds: () => binds,
    net: {
      connect: (options) => net.connect(options),
      resolve: (options) => net.resolve(options),
      inspectTls: (options) => net.inspectTls(options),
      listen: (options) =>
        refusals++ < times ? Promise.reject(new NetError("in-use", "taken")) : net.listen(options),
      async bindUdp(options) {
        const socket = await net.bindUdp(options);
        [open, binds] = [open + 1, binds + 1];
        return {
          host: socket.host,
          port: socket.port,
          send: (datagram, host, port) => socket.send(datagram, host, port),
          close() {
            open--;
            socket.close();
          },
        };
      },
    },
  };
}

test("dns server: port 0 goes on until one is free for both protocols", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { net, clock, random } = simulation.machine("a").runtime;
  for (const [times, port, isUp] of [[3, 0, true], [1000, 0, false], [1, 53, false]] as const) {
    const tried = crowded(net, times);
    const parts = { net: tried.net, clock, random, logger: silentLogger, view: () => smallView };
    const server = new DnsServer(parts, { host: "0.0.0.0", port });
    const outcome = await simulation.wait(server.start().then(() => true, () => false));
    assert.equal(outcome, isUp);
    assert.equal(tried.binds(), isUp ? 4 : port === 0 ? 16 : 1);
    // What was bound on the way is let go of.
    assert.equal(tried.open(), isUp ? 1 : 0);
    assert.equal(server.port > 0, isUp || port > 0);
    server.stop();
    assert.equal(tried.open(), 0);
  }
});

test("dns server: stopped while it starts, it lets go of what it bound", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { net, clock, random } = simulation.machine("a").runtime;
  const tried = crowded(net, 0);
  const parts = { net: tried.net, clock, random, logger: silentLogger, view: () => smallView };
  const server = new DnsServer(parts, { host: "0.0.0.0", port: 53 });
  const started = server.start();
  server.stop();
  await simulation.wait(started);
  assert.equal(tried.open(), 0);
  const again = new DnsServer(parts, { host: "0.0.0.0", port: 53 });
  await simulation.wait(again.start());
  again.stop();
});

test("dns server: options that cannot be are refused by name", async () => {
  const stage = await stageOf();
  const { net, clock, random } = stage.client;
  const parts = { net, clock, random, logger: silentLogger, view: () => smallView };
  const bad: Partial<DnsOptions>[] = [
    { domain: "" },
    { domain: "a b" },
    { domain: "covey." },
    { domain: `${"x".repeat(60)}.${"y".repeat(60)}` },
    { ttlSeconds: -1 },
    { ttlSeconds: 1.5 },
    { udpMembersMax: 0 },
    { bytesPerSecond: NaN },
    { tcpIdleMs: Infinity },
  ];
  for (const options of bad) {
    const [name] = Object.keys(options);
    assert.throws(() => new DnsServer(parts, options), (error: unknown) => {
      return error instanceof CoveyError && error.code === 3 &&
        error.rawMessage.startsWith(`dns: found ${name} `);
    });
  }
});

test("dns server: its numbers are in the registry", async () => {
  const stage = await stageOf();
  const registry = new MetricsRegistry();
  showDnsMetrics(registry, stage.server);
  const { ask } = await udpClient(stage);
  await ask(question("kv.service.covey", "A"));
  await ask(question("example.com", "A"));
  const text = registry.expose("prometheus");
  for (
    const line of [
      'covey_dns_questions_total{transport="udp",outcome="answered"} 1',
      'covey_dns_questions_total{transport="udp",outcome="refused"} 1',
      'covey_dns_questions_total{transport="tcp",outcome="garbage"} 0',
      "covey_dns_hidden 0",
      'covey_limit_hit_total{limit="dns_tcp_connections"} 0',
    ]
  ) assert.ok(text.includes(line), line);
});
