/** The relay on real sockets: what passes, when, and what a cut holds back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAddress } from "../../src/base/address.ts";
import type { Connection, ConnectionHandler, Runtime } from "../../src/runtime/port.ts";
import { selectRuntime } from "../../src/start.ts";
import { TcpRelay } from "./tcp_relay.ts";

const any = parseAddress("tcp://127.0.0.1:0");

/** What one end has received, and who waits for it. */
class End {
  connection: Connection<End> | undefined = undefined;
  text = "";
  isEnded = false;
  isClosed = false;
  readonly #waiting: Set<() => void> = new Set();

  until(fits: (end: End) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!fits(this)) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  changed(): void {
    for (const look of [...this.#waiting]) look();
  }

  send(text: string): void {
    const bytes = new TextEncoder().encode(text);
    assert.equal(this.connection!.write(bytes), bytes.length, "the kernel has room");
  }
}

const handler: ConnectionHandler<End> = {
  open(connection) {
    connection.state.connection = connection;
    connection.state.changed();
  },
  data(connection, chunk) {
    connection.state.text += new TextDecoder().decode(chunk);
    connection.state.changed();
  },
  drain() {},
  end(connection) {
    connection.state.isEnded = true;
    connection.state.changed();
  },
  close(connection) {
    connection.state.isClosed = true;
    connection.state.changed();
  },
};

interface Pair {
  readonly relay: TcpRelay;
  readonly client: End;
  readonly server: End;
  readonly clock: Runtime["clock"];
}

/** A client and a server with the relay between them, connected through. */
async function withPair(
  work: (pair: Pair) => Promise<void>,
  source: (port: number) => string = () => "",
): Promise<void> {
  const runtime = await selectRuntime();
  const { net, clock } = runtime;
  const server = new End();
  const listener = await net.listen<End>({
    address: any,
    connectionsMax: 16,
    state: () => server,
    handler,
  });
  const relay = await TcpRelay.open({
    net,
    clock,
    listen: any,
    target: () => listener.address,
    seed: 2,
    source,
  });
  const client = new End();
  try {
    await net.connect({ address: relay.address, timeoutMs: 5000, state: client, handler });
    client.send("hello");
    await server.until((end) => end.text === "hello");
    server.send("welcome");
    await client.until((end) => end.text === "welcome");
    client.text = "";
    server.text = "";
    await work({ relay, client, server, clock });
  } finally {
    client.connection?.abort();
    server.connection?.abort();
    relay.close();
    listener.stop();
  }
}

test("a relay passes bytes both ways, the half-close and the close", () =>
  withPair(async ({ client, server, relay }) => {
    client.send("to the server");
    await server.until((end) => end.text === "to the server");
    client.connection!.shutdown();
    await server.until((end) => end.isEnded);
    server.send("still there");
    await client.until((end) => end.text === "still there");
    server.connection!.close();
    await client.until((end) => end.isEnded || end.isClosed);
    client.connection!.close();
    await client.until((end) => end.isClosed);
    assert.equal(relay.refused, 0);
  }));

test("a delay holds bytes at least so long, and keeps their order", () =>
  withPair(async ({ client, server, relay, clock }) => {
    relay.set({ delayMs: 60, jitterMs: 20 }, { direction: "forward" });
    const begunMs = clock.monotonicMs();
    for (let index = 0; index < 50; index++) client.send(`${index},`);
    const all = Array.from({ length: 50 }, (_, index) => `${index},`).join("");
    await server.until((end) => end.text.length >= all.length);
    assert.equal(server.text, all);
    assert.ok(clock.monotonicMs() - begunMs >= 39, "not before the delay less its jitter");
  }));

test("a loss is a stall: nothing is missing, and it comes later", () =>
  withPair(async ({ client, server, relay, clock }) => {
    relay.set({ loss: 0.5 }, { direction: "forward" });
    const begunMs = clock.monotonicMs();
    client.send("one");
    await server.until((end) => end.text === "one");
    // The seed loses it once, so that the retransmission timer has to run.
    assert.ok(clock.monotonicMs() - begunMs >= 199);
  }));

test("a cut of one direction holds that direction alone, until it is healed", () =>
  withPair(async ({ client, server, relay }) => {
    relay.cut({ direction: "back" });
    server.send("held");
    client.send("passes");
    await server.until((end) => end.text === "passes");
    client.send(" again");
    await server.until((end) => end.text === "passes again");
    assert.equal(client.text, "");
    relay.heal();
    await client.until((end) => end.text === "held");
  }));

test("conditions of one source do not hold for another", () =>
  withPair(async ({ client, server, relay }) => {
    relay.set({ cut: true }, { source: "b" });
    client.send("from a");
    await server.until((end) => end.text === "from a");
    relay.set({ cut: true }, { source: "a" });
    assert.equal(relay.conditionsOf("a", "forward").cut, true);
    assert.equal(relay.conditionsOf("c", "forward").cut, false);
    server.send("held");
    relay.heal("a");
    await client.until((end) => end.text === "held");
  }, () => "a"));

test("little bandwidth takes its time for many bytes", () =>
  withPair(async ({ client, server, relay, clock }) => {
    relay.set({ bytesPerSecond: 100_000 });
    const begunMs = clock.monotonicMs();
    client.send("x".repeat(10_000));
    await server.until((end) => end.text.length === 10_000);
    assert.ok(clock.monotonicMs() - begunMs >= 99);
  }));

test("a target that is not there ends the dialler's connection", async () => {
  const { net, clock } = await selectRuntime();
  const gone = await net.listen<End>({
    address: any,
    connectionsMax: 1,
    state: () => new End(),
    handler,
  });
  gone.stop();
  const target = (): typeof gone.address => gone.address;
  const relay = await TcpRelay.open({ net, clock, listen: any, target, seed: 1 });
  const client = new End();
  await net.connect({ address: relay.address, timeoutMs: 5000, state: client, handler });
  await client.until((end) => end.isEnded || end.isClosed);
  client.connection!.close();
  assert.equal(relay.refused, 1);
  assert.equal(relay.connections, 0);
  relay.close();
});
