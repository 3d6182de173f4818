/** Processes, their surroundings, and HTTP between machines on the simulator. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { decodeText, encodeText } from "../../src/base/bytes.ts";
import type { HttpServer, NetError, Runtime, WebSocketPeer } from "../../src/runtime/port.ts";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "./ban.ts";

before(armBan);
after(liftBan);

test("a program is spawned with its surroundings, is fed, prints and ends", async () => {
  const simulation = createSimulation({ seed: 1 });
  simulation.program("upper", async (runtime) => {
    const { host } = runtime;
    host.stderr(`${host.args.join()} ${host.environment("NAME")} ${host.environmentNames("N")}\n`);
    for await (const chunk of host.stdin()) await host.stdout(decodeText(chunk)!.toUpperCase());
    return 7;
  });
  const { host } = simulation.machine("a", { environment: { NAME: "parent" } }).runtime;
  const output = { stdout: "", stderr: "" };
  const exit = await simulation.wait((async () => {
    const child = await host.spawn({
      command: "upper",
      args: ["x", "y"],
      environment: { NAME: "child", NUMBER: "1" },
      stdin: true,
      stdout: (chunk) => output.stdout += decodeText(chunk),
      stderr: (chunk) => output.stderr += decodeText(chunk),
    });
    await child.write(encodeText("some "));
    await child.write(encodeText("text"));
    child.closeStdin();
    return await child.exit;
  })());
  assert.deepEqual(exit, { code: 7, signal: null });
  assert.deepEqual(output, { stdout: "SOME TEXT", stderr: "x,y child NAME,NUMBER\n" });
  const missing = host.spawn({ command: "no such", args: [] });
  await assert.rejects(simulation.wait(missing), { name: "DiskError", kind: "not-found" });
});

test("signals reach handlers, or end a program that has none; SIGKILL always does", async () => {
  const simulation = createSimulation({ seed: 1 });
  const forEver = () => new Promise<void>(() => {});
  simulation.program("deaf", forEver);
  simulation.program("polite", (runtime) => {
    runtime.host.onSignal("SIGTERM", () => runtime.host.exit(3));
    return forEver();
  });
  const { host } = simulation.machine("a").runtime;
  const ends = [];
  for (
    const [command, signal] of [["deaf", "SIGTERM"], ["polite", "SIGTERM"], ["polite", "SIGKILL"]]
  ) {
    const child = await simulation.wait(host.spawn({ command, args: [] }));
    await simulation.run({ forMs: 5 });
    child.kill(signal as "SIGTERM");
    ends.push(await simulation.wait(child.exit));
  }
  assert.deepEqual(ends, [
    { code: null, signal: "SIGTERM" },
    { code: 3, signal: null },
    { code: null, signal: "SIGKILL" },
  ]);
});

test("exit ends the node; signals from the test, output and restart", async () => {
  const simulation = createSimulation({ seed: 1 });
  let boots = 0;
  const machine = simulation.machine("a", {
    args: ["agent"],
    boot: async (runtime) => {
      boots++;
      const ended = new Promise<number>((resolve) =>
        runtime.host.onSignal("SIGTERM", () => resolve(4))
      );
      runtime.clock.timer(1000, () => runtime.host.exit(5), undefined);
      await runtime.host.stdout(`boot ${boots} ${runtime.host.args}`);
      return await ended;
    },
  });
  const exits: (number | null)[] = [];
  machine.process.onExit((exit) => exits.push(exit.code));
  await simulation.run({ forMs: 100 });
  assert.equal(machine.stdout, "boot 1 agent");
  machine.signal("SIGTERM");
  await simulation.run({ forMs: 10 });
  assert.ok(!machine.running);
  machine.restart();
  machine.process.onExit((exit) => exits.push(exit.code));
  await simulation.run({ forMs: 2000 });
  assert.deepEqual(exits, [4, 5]);
  assert.equal(boots, 2);
});

async function serveEcho(simulation: Simulation, runtime: Runtime): Promise<HttpServer> {
  return await simulation.wait(runtime.http.serve({
    host: "0.0.0.0",
    port: 80,
    bodyBytesMax: 1000,
    async fetch(request, context) {
      const url = new URL(request.url);
      if (url.pathname === "/ws") {
        const upgraded = context.upgrade({
          open: (peer) => void peer.send("welcome"),
          message: (peer, message) => {
            if (message === "bye") peer.close(4001, "as you wish");
            else peer.send(message);
          },
          close: (_peer, code) => simulation.mark(`server socket closed ${code}`),
        });
        return upgraded ?? new Response("no", { status: 400 });
      }
      if (url.pathname === "/stream") {
        let index = 0;
        const { clock } = runtime;
        const body = new ReadableStream<Uint8Array>({
          async pull(controller) {
            await new Promise<void>((resolve) => clock.timer(100, resolve, undefined));
            controller.enqueue(encodeText(`event ${index++}\n`));
            if (index === 5) controller.close();
          },
          cancel: () => simulation.mark("stream cancelled"),
        });
        return new Response(body);
      }
      const text = await request.text();
      return Response.json({ method: request.method, text, from: context.remoteHost });
    },
  }));
}

test("HTTP: requests, bodies, limits, streams and refusals between machines", async () => {
  const simulation = createSimulation({ seed: 1, splitChance: 0.3, partialWriteChance: 0.3 });
  const a = simulation.machine("a").runtime;
  const server = await serveEcho(simulation, simulation.machine("b").runtime);
  const url = `http://b:${server.port}`;
  const json = await simulation.wait(
    a.http.fetch(new Request(`${url}/x`, { method: "POST", body: "hello" })).then((answer) =>
      answer.json()
    ),
  );
  assert.deepEqual(json, { method: "POST", text: "hello", from: "10.0.0.1" });
  const large = new Request(url, { method: "POST", body: "x".repeat(1001) });
  assert.equal((await simulation.wait(a.http.fetch(large))).status, 413);
  const arrivals: number[] = [];
  let streamed = "";
  await simulation.wait((async () => {
    const answer = await a.http.fetch(new Request(`${url}/stream`));
    for await (const chunk of answer.body!) {
      streamed += decodeText(chunk);
      arrivals.push(simulation.nowMs);
    }
  })());
  assert.equal(streamed, "event 0\nevent 1\nevent 2\nevent 3\nevent 4\n");
  assert.ok(arrivals[4] - arrivals[0] > 390, "a stream arrives as it is made");
  const aborted = new AbortController();
  simulation.machine("a").runtime.clock.timer(250, () => aborted.abort(), undefined);
  const request = new Request(`${url}/stream`, { signal: aborted.signal });
  const work = a.http.fetch(request).then((answer) => answer.text());
  await assert.rejects(simulation.wait(work), { name: "AbortError" });
  await simulation.run({ forMs: 1000 });
  assert.equal(simulation.coverage.count("stream cancelled"), 1);
  const refused = a.http.fetch(new Request("http://b:81/")).catch((error: NetError) => error.kind);
  assert.equal(await simulation.wait(refused), "refused");
  await simulation.wait(server.stop(100));
  const stopped = a.http.fetch(new Request(url)).catch((error: NetError) => error.kind);
  assert.equal(await simulation.wait(stopped), "refused");
});

test("HTTP: a server that crashes fails the request", async () => {
  const simulation = createSimulation({ seed: 1 });
  const a = simulation.machine("a").runtime;
  const b = simulation.machine("b");
  await serveEcho(simulation, b.runtime);
  const request = a.http.fetch(new Request("http://b/stream")).then((answer) => answer.text());
  const kind = request.catch((error: NetError) => error.kind);
  simulation.at(250, () => b.crash());
  assert.equal(await simulation.wait(kind), "reset");
});

test("WebSockets: both ways, both closes, and an end without one", async () => {
  const simulation = createSimulation({ seed: 1, splitChance: 0.3 });
  const a = simulation.machine("a").runtime;
  await serveEcho(simulation, simulation.machine("b").runtime);
  const seen: string[] = [];
  const open = (): Promise<WebSocketPeer> =>
    simulation.wait(a.http.webSocket("ws://b/ws", {
      open: () => seen.push("open"),
      message: (_peer, message) => seen.push(typeof message === "string" ? message : "bytes"),
      close: (_peer, code, reason) => seen.push(`close ${code} ${reason}`),
    }, 1000));
  const first = await open();
  first.send("text");
  first.send(new Uint8Array([1, 2]));
  first.send("bye");
  await simulation.run({ forMs: 100 });
  assert.deepEqual(seen, ["open", "welcome", "text", "bytes", "close 4001 as you wish"]);
  seen.length = 0;
  const second = await open();
  second.close(1000, "done");
  await simulation.run({ forMs: 100 });
  assert.equal(seen.at(-1), "close 1000 done");
  seen.length = 0;
  await open();
  await simulation.run({ forMs: 100 });
  simulation.resetConnections("a");
  await simulation.run({ forMs: 100 });
  assert.equal(seen.at(-1), "close 1006 ");
  const plain = a.http.webSocket("ws://b/", { open() {}, message() {}, close() {} }, 1000);
  await assert.rejects(simulation.wait(plain), { kind: "other" });
  simulation.machine("c");
  simulation.partition("a", "b");
  const cut = a.http.webSocket("ws://b/ws", { open() {}, message() {}, close() {} }, 1000);
  await assert.rejects(simulation.wait(cut), { kind: "timeout" });
});

test("TLS between machines: verified names, and a clock that says expired", async () => {
  const simulation = createSimulation({ seed: 1 });
  const a = simulation.machine("a");
  const b = simulation.machine("b");
  const forNode = (name: string) => simulation.identity({ names: [`DNS:${name}`] });
  const handler = { open() {}, data() {}, drain() {}, end() {}, close() {} };
  const address = { kind: "tcp", host: "b", port: 1 } as const;
  const listener = await simulation.wait(b.runtime.net.listen({
    address,
    handler,
    state: () => null,
    tls: forNode("b"),
    connectionsMax: 10,
  }));
  const connect = () =>
    a.runtime.net.connect({ address, handler, state: null, tls: forNode("a"), timeoutMs: 1000 });
  const connection = await simulation.wait(connect());
  assert.deepEqual(connection.peer.certificate?.names, ["DNS:b"]);
  // The dialler's clock is two years ahead: for it, the listener's certificate is over.
  a.jumpWallClock(2 * 365 * 86_400_000);
  await assert.rejects(simulation.wait(connect()), { kind: "tls" });
  await simulation.run({ forMs: 100 });
  assert.equal(listener.connections, 1);
  assert.equal(listener.handshakesFailed, 1);
});
