/** HTTP and WebSockets, between the port's own server and client. */
import assert from "node:assert/strict";
import { decodeText, encodeText } from "../../src/base/bytes.ts";
import { compliance, type Harness, kindOf, pass, pattern, sameBytes, within } from "./harness.ts";
import { stopCases } from "./http_stop.ts";
import { address, type Answer, host, Log, serve, upgradeTo } from "./http_support.ts";
import { connectTo, Probe, text } from "./probe.ts";

/** Declares the cases of this area. */
export function httpCompliance(harness: Harness): void {
  requestCases(harness);
  bodyCases(harness);
  stopCases(harness);
  webSocketCases(harness);
  refusalCases(harness);
}

async function bytesOf(message: Request | Response): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await message.arrayBuffer());
}

function requestCases(harness: Harness): void {
  compliance(harness, "http: a request with its headers, an answer with its own", async (world) => {
    const { runtime } = world;
    const server = await serve(runtime, (request, context) => {
      const url = new URL(request.url);
      const headers = { "x-answer": "yes", "x-asked": request.headers.get("x-question") ?? "" };
      const facts = [request.method, url.pathname, url.search, context.remoteHost];
      return new Response(facts.join(" "), { status: 202, headers });
    });
    assert.equal(server.host, host);
    assert.ok(server.port > 0);
    const request = new Request(address(server, "/path%20here?a=1&b=2"), {
      headers: { "x-question": "why" },
    });
    const response = await runtime.http.fetch(request);
    assert.equal(response.status, 202);
    assert.equal(response.headers.get("x-answer"), "yes");
    assert.equal(response.headers.get("x-asked"), "why");
    assert.equal(await response.text(), "GET /path%20here ?a=1&b=2 127.0.0.1");
    await server.stop(1000);
  }, "http");

  compliance(harness, "http: many requests, one after the other and at once", async (world) => {
    const { runtime } = world;
    const server = await serve(runtime, (request) => new Response(new URL(request.url).pathname));
    const ask = async (index: number): Promise<void> => {
      const response = await runtime.http.fetch(new Request(address(server, `/${index}`)));
      assert.equal(await response.text(), `/${index}`);
    };
    for (let index = 0; index < 10; index++) await ask(index);
    await Promise.all(Array.from({ length: 30 }, (_, index) => ask(index)));
    await server.stop(1000);
  }, "http");

  compliance(harness, "http: one port, one server", async ({ runtime }) => {
    const answer: Answer = () => new Response("one");
    const server = await serve(runtime, answer);
    assert.equal(await kindOf(serve(runtime, answer, { port: server.port })), "in-use");
    const response = await runtime.http.fetch(new Request(address(server)));
    assert.equal(await response.text(), "one");
    await server.stop(1000);
  }, "http");

  compliance(
    harness,
    "http: over TLS",
    async (world) => {
      const { runtime } = world;
      const { good, authorities } = await world.certificates!();
      const tls = { certificate: good.certificate, key: good.key };
      const server = await serve(runtime, () => new Response("secret"), { tls });
      // The port's fetch takes no authorities of its own, so the request is written by hand.
      const client = new Probe(runtime);
      const near = await connectTo(runtime, { kind: "tcp", host, port: server.port }, client, {
        tls: { ...tls, authorities },
      });
      near.connection.write(text("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
      await client.until("the end", () => near.count("end") + near.count("close") > 0);
      assert.match(decodeText(near.bytes()) ?? "", /^HTTP\/1\.1 200 [^]*secret/);
      near.connection.close();
      await server.stop(1000);
    },
    "http",
    "httpTls",
  );
}

function bodyCases(harness: Harness): void {
  compliance(harness, "http: a body there and back", async ({ runtime }) => {
    const server = await serve(runtime, async (request) => new Response(await bytesOf(request)));
    for (const size of [0, 1, 1000, 1 << 20]) {
      const body = pattern(size);
      const request = new Request(address(server), { method: "POST", body });
      sameBytes(await bytesOf(await runtime.http.fetch(request)), body, `${size} bytes`);
    }
    await server.stop(1000);
  }, "http");

  compliance(harness, "http: a body above the limit is answered 413", async ({ runtime }) => {
    let handled = 0;
    const server = await serve(runtime, async (request) => {
      const { length } = await bytesOf(request);
      handled++;
      return new Response(`${length}`);
    }, { bodyBytesMax: 10_000 });
    const post = (size: number): Promise<Response> => {
      const body = pattern(size);
      return runtime.http.fetch(new Request(address(server), { method: "POST", body }));
    };
    const fits = await post(10_000);
    assert.equal(await fits.text(), "10000");
    const tooLarge = await post(10_001);
    assert.equal(tooLarge.status, 413);
    await tooLarge.body?.cancel();
    assert.equal(handled, 1);
    const again = await post(5);
    assert.equal(await again.text(), "5");
    await server.stop(1000);
  }, "http");

  compliance(
    harness,
    "http: so is one that does not tell its length",
    async ({ runtime }) => {
      const server = await serve(runtime, async (request) => {
        return new Response(`${(await bytesOf(request)).length}`);
      }, { bodyBytesMax: 10_000 });
      // By hand: in chunks, as a client streams that does not know what comes.
      const client = new Probe(runtime);
      const near = await connectTo(runtime, { kind: "tcp", host, port: server.port }, client);
      const head = "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
      near.connection.write(encodeText(head));
      for (let chunk = 0; chunk < 11; chunk++) {
        near.connection.write(encodeText(`3e8\r\n${"x".repeat(1000)}\r\n`));
      }
      near.connection.write(encodeText("0\r\n\r\n"));
      await client.until("the answer", () => near.received > 0);
      assert.match(decodeText(near.bytes()) ?? "", /^HTTP\/1\.1 413 /);
      near.connection.abort();
      await server.stop(1000);
    },
    "http",
    "httpBytes",
  );

  compliance(harness, "http: a response streams", async ({ runtime }) => {
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
    const server = await serve(runtime, () => {
      const body = new ReadableStream<Uint8Array>({
        start(given) {
          controller = given;
          given.enqueue(text("first"));
        },
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    });
    const response = await runtime.http.fetch(new Request(address(server)));
    const reader = response.body!.getReader();
    // Each piece is sent only after the one before has arrived.
    for (const [expected, next] of [["first", "second"], ["second", "third"], ["third", ""]]) {
      const { value } = await within(runtime, expected, reader.read());
      assert.equal(decodeText(value!), expected);
      if (next !== "") controller!.enqueue(text(next));
    }
    controller!.close();
    assert.equal((await within(runtime, "the end", reader.read())).done, true);
    await server.stop(1000);
  }, "http");

  compliance(harness, "http: a client that leaves ends the stream", async ({ runtime }) => {
    let left: (() => void) | undefined;
    const gone = new Promise<void>((resolve) => left = resolve);
    const server = await serve(runtime, () => {
      let timer = runtime.clock.timer(0, () => {}, undefined);
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          const tick = (): void => {
            controller.enqueue(text("tick"));
            timer = runtime.clock.timer(10, tick, undefined);
          };
          tick();
        },
        cancel() {
          timer.cancel();
          left!();
        },
      });
      return new Response(body);
    });
    const response = await runtime.http.fetch(new Request(address(server)));
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await within(runtime, "the stream's cancel", gone);
    await server.stop(1000);
  }, "http");
}

function webSocketCases(harness: Harness): void {
  compliance(harness, "webSocket: text and bytes, both ways", async ({ runtime }) => {
    const there = new Log({ echo: true });
    const here = new Log();
    const server = await serve(runtime, upgradeTo(there));
    const peer = await runtime.http.webSocket(address(server, "/", "ws"), here, 5000);
    assert.deepEqual(here.events, ["open"]);
    assert.equal(here.peer, peer);
    const bytes = pattern(100_000);
    const array = bytes.slice();
    for (const message of ["hello wörld", "", array, new Uint8Array(0)]) {
      assert.ok(peer.send(message) >= 0);
    }
    array.fill(0);
    await here.until(runtime, 5);
    const expected = ["open", "text hello wörld", "text", "binary 100000", "binary 0"];
    assert.deepEqual(here.events.map((event) => event.trim()), expected);
    assert.deepEqual(there.events.map((event) => event.trim()), expected);
    sameBytes(here.binary[0], bytes, "echoed");
    there.peer!.send("on its own");
    await here.until(runtime, 6);
    assert.equal(here.events[5], "text on its own");
    peer.close(1000, "done");
    await there.until(runtime, 6);
    await here.until(runtime, 7);
    assert.equal(there.events[5], "close 1000 done");
    assert.equal(here.events[6], "close 1000 done");
    await server.stop(1000);
  }, "webSocket");

  compliance(harness, "webSocket: close codes from either side", async ({ runtime }) => {
    for (const closer of ["client", "server"]) {
      const there = new Log();
      const here = new Log();
      const server = await serve(runtime, upgradeTo(there));
      await runtime.http.webSocket(address(server, "/", "ws"), here, 5000);
      await there.until(runtime, 1);
      (closer === "client" ? here : there).peer!.close(4001, "because");
      await there.until(runtime, 2);
      await here.until(runtime, 2);
      assert.deepEqual(there.events, ["open", "close 4001 because"]);
      assert.deepEqual(here.events, ["open", "close 4001 because"]);
      // After the end nothing is sent and nothing breaks.
      here.peer!.send("late");
      there.peer!.send("late");
      here.peer!.close();
      there.peer!.close();
      await server.stop(1000);
    }
  }, "webSocket");

  compliance(
    harness,
    "webSocket: a code or a reason that none may send is mended",
    async (world) => {
      const { runtime } = world;
      const long = "ä".repeat(100);
      const closes: [code: number, reason: string, expected: RegExp][] = [
        [4001, long, /^close 4001 ä{61}$/],
        [99, "", /^close 1000$/],
        [1005, "x", /^close 1000 x$/],
      ];
      for (const closer of ["client", "server"]) {
        for (const [code, reason, expected] of closes) {
          const there = new Log();
          const here = new Log();
          const server = await serve(runtime, upgradeTo(there));
          await runtime.http.webSocket(address(server, "/", "ws"), here, 5000);
          await there.until(runtime, 1);
          (closer === "client" ? here : there).peer!.close(code, reason);
          const other = closer === "client" ? there : here;
          await other.until(runtime, 2);
          assert.match(other.events[1], expected);
          await server.stop(1000);
        }
      }
    },
    "webSocket",
  );

  compliance(harness, "webSocket: what waits to be sent is told", async ({ runtime }) => {
    const there = new Log();
    const server = await serve(runtime, upgradeTo(there));
    const here = new Log();
    const peer = await runtime.http.webSocket(address(server, "/", "ws"), here, 5000);
    const bytes = new Uint8Array(500_000);
    let most = 0;
    for (let count = 0; count < 20; count++) most = Math.max(most, peer.send(bytes));
    assert.ok(most > 0, "10 MB are on their way, and nothing waits");
    await there.until(runtime, 21);
    for (let round = 0; round < 100 && peer.bufferedBytes > 0; round++) await pass(runtime, 10);
    assert.equal(peer.bufferedBytes, 0);
    peer.close();
    await here.until(runtime, 2);
    await server.stop(1000);
  }, "webSocket");

  compliance(harness, "webSocket: what waits at the server is not lost", async ({ runtime }) => {
    const there = new Log();
    const here = new Log();
    const server = await serve(runtime, upgradeTo(there));
    const peer = await runtime.http.webSocket(address(server, "/", "ws"), here, 5000);
    await there.until(runtime, 1);
    const bytes = new Uint8Array(1 << 20);
    for (let count = 0; count < 40; count++) {
      bytes[0] = count;
      assert.ok(there.peer!.send(bytes) >= 0);
    }
    await here.until(runtime, 41);
    assert.deepEqual(here.binary.map((message) => message[0]), [...Array(40).keys()]);
    assert.equal(there.peer!.bufferedBytes, 0);
    peer.close();
    await there.until(runtime, 2);
    await server.stop(1000);
  }, "webSocket");

  compliance(harness, "webSocket: stop ends those that are open", async ({ runtime }) => {
    const there = new Log();
    const here = new Log();
    const server = await serve(runtime, upgradeTo(there));
    await runtime.http.webSocket(address(server, "/", "ws"), here, 5000);
    await there.until(runtime, 1);
    await within(runtime, "the stop", server.stop(2000));
    await here.until(runtime, 2);
    await there.until(runtime, 2);
    assert.match(here.events[1], /^close /);
  }, "webSocket");
}

function refusalCases(harness: Harness): void {
  compliance(harness, "webSocket: a request that asked for none is not upgraded", async (world) => {
    const { runtime } = world;
    const server = await serve(runtime, upgradeTo(new Log()));
    const response = await runtime.http.fetch(new Request(address(server)));
    assert.equal(response.status, 426);
    await response.body?.cancel();
    await server.stop(1000);
  }, "webSocket");

  compliance(harness, "webSocket: an answer that is none is other", async ({ runtime }) => {
    const here = new Log();
    const server = await serve(runtime, () => new Response("no", { status: 404 }));
    assert.equal(
      await kindOf(runtime.http.webSocket(address(server, "/", "ws"), here, 5000)),
      "other",
    );
    await server.stop(1000);
    assert.deepEqual(here.events, []);
  }, "webSocket");

  compliance(harness, "webSocket: refused where nobody listens", async ({ runtime }) => {
    const here = new Log();
    const server = await serve(runtime, upgradeTo(new Log()));
    await server.stop(0);
    assert.equal(
      await kindOf(runtime.http.webSocket(address(server, "/", "ws"), here, 5000)),
      "refused",
    );
    assert.deepEqual(here.events, []);
  }, "webSocket");

  compliance(harness, "webSocket: no answer is a timeout", async ({ runtime }) => {
    const here = new Log();
    const server = await serve(runtime, () => new Promise<Response>(() => {}));
    const opening = runtime.http.webSocket(address(server, "/", "ws"), here, 100);
    assert.equal(await kindOf(within(runtime, "the timeout", opening)), "timeout");
    await server.stop(0);
    await pass(runtime, 30);
    assert.deepEqual(here.events, []);
  }, "webSocket");
}
