/** How an HTTP server stops: what it waits for, and what it ends. */
import assert from "node:assert/strict";
import { concatBytes, decodeText, encodeText } from "../../src/base/bytes.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { compliance, type Harness, pass, pattern, sameBytes, within } from "./harness.ts";
import { address, host, Log, serve, upgradeTo } from "./http_support.ts";
import { connectTo, Probe, type Side, text } from "./probe.ts";

/** Declares the cases of this area. */
export function stopCases(harness: Harness): void {
  requestCases(harness);
  streamCases(harness);
  connectionCases(harness);
  webSocketCases(harness);
}

/** A plain connection to a server, for what no client of HTTP does. */
async function connect(
  runtime: Runtime,
  server: { readonly port: number },
  hooks = {},
): Promise<{ probe: Probe; side: Side }> {
  const probe = new Probe(runtime, hooks);
  const side = await connectTo(runtime, { kind: "tcp", host, port: server.port }, probe);
  return { probe, side };
}

async function ended({ probe, side }: { probe: Probe; side: Side }): Promise<void> {
  await probe.until("the end", () => side.count("end") + side.count("close") > 0);
  side.connection.close();
}

function requestCases(harness: Harness): void {
  compliance(harness, "http: stop waits for requests in flight", async ({ runtime }) => {
    let answer: ((response: Response) => void) | undefined;
    let arrived: (() => void) | undefined;
    const here = new Promise<void>((resolve) => arrived = resolve);
    const server = await serve(runtime, () => {
      arrived!();
      return new Promise<Response>((resolve) => answer = resolve);
    });
    const asked = runtime.http.fetch(new Request(address(server)));
    await within(runtime, "the request", here);
    let stopped = false;
    const stopping = server.stop(10_000).then(() => stopped = true);
    await pass(runtime, 50);
    assert.equal(stopped, false, "stop did not wait");
    await assert.rejects(runtime.http.fetch(new Request(address(server, "/new"))));
    answer!(new Response("late"));
    assert.equal(await (await within(runtime, "the answer", asked)).text(), "late");
    await within(runtime, "the stop", stopping);
    const again = await serve(runtime, () => new Response("new"), { port: server.port });
    await again.stop(0);
  }, "http");

  compliance(harness, "http: stop waits no longer than its grace", async ({ runtime }) => {
    let arrived: (() => void) | undefined;
    const here = new Promise<void>((resolve) => arrived = resolve);
    const server = await serve(runtime, () => {
      arrived!();
      return new Promise<Response>(() => {});
    });
    const asked = runtime.http.fetch(new Request(address(server))).then(
      (response) => response.ok,
      () => false,
    );
    await within(runtime, "the request", here);
    const before = runtime.clock.monotonicMs();
    await within(runtime, "the stop", server.stop(100));
    const tookMs = runtime.clock.monotonicMs() - before;
    assert.ok(tookMs >= 99 && tookMs < 5000, `${tookMs} ms`);
    // Broken off, or told that the service is gone.
    assert.equal(await within(runtime, "the client's end", asked), false);
  }, "http");

  compliance(harness, "http: stop ends an idle kept connection and a stream", async (world) => {
    const { runtime } = world;
    const server = await serve(runtime, (request) => {
      if (!request.url.endsWith("/stream")) return new Response("x");
      return new Response(new ReadableStream({ start: (given) => given.enqueue(text("open")) }));
    });
    await (await runtime.http.fetch(new Request(address(server)))).text();
    const response = await runtime.http.fetch(new Request(address(server, "/stream")));
    const reader = response.body!.getReader();
    await reader.read();
    await within(runtime, "the stop", server.stop(50));
    const ended = reader.read().then(({ done }) => done, () => true);
    assert.equal(await within(runtime, "the stream's end", ended), true);
  }, "http");
}

function streamCases(harness: Harness): void {
  const types = [
    undefined,
    "text/event-stream",
    "application/x-ndjson",
    "application/connect+json",
    "application/octet-stream",
    "text/plain",
  ];
  for (const type of types) {
    compliance(harness, `http: stop ends a stream of ${type ?? "no type"}`, async (world) => {
      const { runtime } = world;
      let canceled: () => void;
      const cancellation = new Promise<void>((resolve) => canceled = resolve);
      const headers: Record<string, string> = type === undefined ? {} : { "content-type": type };
      // Whoever streams text says so, as Hono does: otherwise it is taken for a document.
      if (type === "text/plain") headers["transfer-encoding"] = "chunked";
      const server = await serve(runtime, () => {
        const body = new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(text("open")),
          cancel: () => canceled(),
        });
        return new Response(body, { headers });
      });
      const response = await runtime.http.fetch(new Request(address(server)));
      const reader = response.body!.getReader();
      await reader.read();
      await within(runtime, "the stop", server.stop(50));
      const end = reader.read().then(({ done }) => done, () => true);
      assert.equal(await within(runtime, "the stream's end", end), true);
      // Whoever produces it learns that nobody listens any more.
      await within(runtime, "the producer's end", cancellation);
    }, "http");
  }

  compliance(harness, "http: stop lets a slow reader have all of it", async ({ runtime }) => {
    const body = pattern(8 << 20);
    const server = await serve(runtime, () => new Response(body));
    const response = await runtime.http.fetch(new Request(address(server)));
    const reader = response.body!.getReader();
    const chunks = [(await reader.read()).value!];
    const stopping = server.stop(10_000);
    await pass(runtime, 100);
    for (;;) {
      const { done, value } = await within(runtime, "the rest", reader.read());
      if (done) break;
      chunks.push(value);
    }
    await within(runtime, "the stop", stopping);
    sameBytes(concatBytes(chunks), body, "body");
  }, "http");
}

function connectionCases(harness: Harness): void {
  const requests: Readonly<Record<string, string>> = {
    "that asks nothing": "",
    "in the middle of a head": "GET / HTTP/1.1\r\nhost: loc",
    "in the middle of a body": "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nabc",
  };
  for (const [what, request] of Object.entries(requests)) {
    compliance(
      harness,
      `http: stop ends a connection ${what}`,
      async ({ runtime }) => {
        let asked = 0;
        const server = await serve(runtime, async (request) => {
          await request.arrayBuffer();
          asked++;
          return new Response("answered");
        });
        // The answer to another one shows that the server has accepted the first.
        const client = await connect(runtime, server);
        client.side.connection.write(encodeText(request));
        await (await runtime.http.fetch(new Request(address(server)))).text();
        await within(runtime, "the stop", server.stop(100));
        // Asked too late.
        client.side.connection.write(encodeText("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        await ended(client);
        assert.equal(asked, 1);
      },
      "http",
      "httpBytes",
    );
  }

  compliance(harness, "http: stop twice is stop once", async ({ runtime }) => {
    const server = await serve(runtime, () => new Response("x"));
    await within(runtime, "both", Promise.all([server.stop(1000), server.stop(1000)]));
    await within(runtime, "one more", server.stop(0));
    const again = await serve(runtime, () => new Response("new"), { port: server.port });
    await again.stop(0);
  }, "http");
}

function webSocketCases(harness: Harness): void {
  compliance(harness, "webSocket: stop ends one that opens too late", async ({ runtime }) => {
    const there = new Log();
    const here = new Log();
    let go: (() => void) | undefined;
    let arrived: (() => void) | undefined;
    const asked = new Promise<void>((resolve) => arrived = resolve);
    const server = await serve(runtime, async (request, context) => {
      arrived!();
      await new Promise<void>((resolve) => go = resolve);
      return upgradeTo(there)(request, context);
    });
    const opening = runtime.http.webSocket(address(server, "/", "ws"), here, 5000);
    await within(runtime, "the request", asked);
    const stopping = server.stop(5000);
    go!();
    // Refused or closed at once, as the runtime has it.
    await within(runtime, "the answer", opening.catch(() => {}));
    await within(runtime, "the stop", stopping);
    for (const log of [here, there]) if (log.events.length > 0) await log.until(runtime, 2);
    for (const log of [here, there]) assert.ok(log.events.length === 0 || log.events.length === 2);
  }, "webSocket");

  compliance(
    harness,
    "webSocket: stop ends one whose client answers nothing",
    async ({ runtime }) => {
      const there = new Log();
      const server = await serve(runtime, upgradeTo(there));
      const client = await connect(runtime, server);
      const lines = [
        "GET / HTTP/1.1",
        "host: localhost",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
      ];
      client.side.connection.write(encodeText(`${lines.join("\r\n")}\r\n\r\n`));
      await there.until(runtime, 1);
      await within(runtime, "the stop", server.stop(200));
      await ended(client);
      await there.until(runtime, 2);
      assert.match(decodeText(client.side.bytes().subarray(0, 12)) ?? "", /^HTTP\/1\.1 101/);
    },
    "webSocket",
    "httpBytes",
  );
}
