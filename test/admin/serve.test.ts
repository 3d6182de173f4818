/// <reference types="npm:bun-types@1.4.5" />
import { ConnectError } from "npm:@connectrpc/connect@2.2.0";
import { Hono } from "npm:hono@4.13.19";
import { hc } from "npm:hono@4.13.19/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AdminApp } from "../../src/admin/schema.ts";
import type { Address } from "../../src/base/address.ts";
import { concatBytes, encodeText } from "../../src/base/bytes.ts";
import { Code, CoveyError } from "../../src/base/error.ts";
import type {
  Connection,
  ConnectionHandler,
  Runtime,
  WebSocketHandler,
  WebSocketPeer,
} from "../../src/runtime/port.ts";
import { connectClient } from "./connect_client.ts";
import { createFixture, type Fixture, type FixtureOptions, running } from "./support.ts";

const runtime = await (async (): Promise<Runtime> => {
  if ("Bun" in globalThis) return (await import("../../src/runtime/bun.ts")).createBunRuntime();
  return (await import("../../src/runtime/deno.ts")).createDenoRuntime();
})();

interface Served {
  readonly fixture: Fixture;
  readonly port: number;
  readonly url: string;
}

async function serving(
  options: FixtureOptions,
  work: (served: Served) => Promise<void>,
): Promise<void> {
  const { name: runtimeName, http, clock } = runtime;
  const fixture = createFixture({ ...options, http, clock, runtimeName });
  await fixture.admin.start();
  const { address } = fixture.admin;
  assert.ok(address?.kind === "tcp");
  try {
    await work({ fixture, port: address.port, url: `http://127.0.0.1:${address.port}` });
  } finally {
    await fixture.admin.stop(200);
    assert.equal(fixture.admin.address, undefined);
  }
}

/** A client that speaks HTTP by hand, and can turn deaf. */
class RawClient implements ConnectionHandler<undefined> {
  /** What came, as text. */
  answer = "";
  closed = false;
  #connection!: Connection<undefined>;
  #unsent: Uint8Array = new Uint8Array(0);

  static async open(port: number, request: string, deaf = false): Promise<RawClient> {
    const client = new RawClient();
    client.#connection = await runtime.net.connect({
      address: { kind: "tcp", host: "127.0.0.1", port },
      handler: client,
      state: undefined,
      timeoutMs: 5000,
    });
    if (deaf) client.#connection.pause();
    client.send(request);
    return client;
  }

  send(part: string | Uint8Array): void {
    const bytes = typeof part === "string" ? encodeText(part) : part;
    this.#unsent = concatBytes([this.#unsent, bytes]);
    this.drain(this.#connection);
  }

  leave(): void {
    this.#connection.abort();
  }

  open(): void {}
  data(_connection: Connection<undefined>, chunk: Uint8Array): void {
    this.answer += new TextDecoder().decode(chunk);
  }
  drain(connection: Connection<undefined>): void {
    this.#unsent = this.#unsent.slice(connection.write(this.#unsent));
  }
  end(connection: Connection<undefined>): void {
    connection.close();
  }
  close(): void {
    this.closed = true;
  }
}

/** The answer to a request that is sent as it is, once `enough` of it came or the server closed. */
async function raw(
  port: number,
  request: string,
  enough: (answer: string) => boolean,
): Promise<string> {
  const client = await RawClient.open(port, request);
  await until("an answer", () => enough(client.answer) || client.closed);
  client.leave();
  return client.answer;
}

/** Opens a request and never reads the answer. */
function deaf(port: number, request: string): Promise<RawClient> {
  return RawClient.open(port, request, true);
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let at = 0; at < 1000; at++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`never came: ${what}`);
}

/** True once the number was the same for ten questions in a row. */
function stalls(value: () => number): () => boolean {
  let last = -1;
  let same = 0;
  return () => {
    const now = value();
    same = now === last ? same + 1 : 0;
    last = now;
    return now > 0 && same >= 10;
  };
}

const metric = (fixture: Fixture, line: string): number =>
  Number(
    fixture.metrics.expose("prometheus").split("\n").find((one) => one.startsWith(`${line} `))
      ?.slice(line.length + 1) ?? 0,
  );

const upgrade = (host: string, more = ""): string =>
  `GET /v1/socket HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${more}\r\n`;

test("admin serve: routes answer over a real socket, Hono's client included", async () => {
  await serving({}, async ({ fixture, url }) => {
    const client = hc<AdminApp>(url);
    assert.deepEqual(await (await client.livez.$get()).json(), { alive: true });
    const status = await (await client.v1.status.$get()).json();
    assert.equal(status.services[0].name, "covey.test.v1.TestService");
    const page = await fetch(`${url}/`);
    assert.match(await page.text(), /<h1>gate-1<\/h1>/);
    assert.equal(metric(fixture, 'covey_admin_requests_total{route="/livez",status="200"}'), 1);
  });
});

test("admin serve: mounted in a program's own server, as Bun and Deno users write it", async () => {
  const { admin } = createFixture();
  const userApp = new Hono().get("/", (context) => context.text("mine")).route("/covey", admin.app);
  let port: number;
  let stop: () => Promise<void>;
  if ("Bun" in globalThis) {
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: userApp.fetch });
    port = server.port!;
    stop = () => server.stop(true);
  } else {
    const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
    const server = Deno.serve(options, userApp.fetch);
    port = server.addr.port;
    stop = () => server.shutdown();
  }
  const client = hc<typeof userApp>(`http://127.0.0.1:${port}`);
  assert.equal(await (await client.index.$get()).text(), "mine");
  const status = await (await client.covey.v1.status.$get()).json();
  assert.equal(status.name, "gate-1");
  const socket = await client.covey.v1.socket.$get();
  assert.equal(Number(socket.status), 501);
  await socket.body?.cancel();
  const call = await connectClient(`http://127.0.0.1:${port}/covey`, true, fetch).echo({
    payload: Uint8Array.of(5),
  });
  assert.equal(call.payload[0], 5);
  await stop();
});

test("admin serve: beyond loopback it refuses to start, and says why", async () => {
  const beyond: Address[] = [
    { kind: "tcp", host: "0.0.0.0", port: 0 },
    { kind: "tcp", host: "::", port: 0 },
    { kind: "tcp", host: "192.168.1.5", port: 7980 },
    { kind: "tcp", host: "gateway.example", port: 7980 },
    { kind: "tcp", host: "127.0.0.1.evil.example", port: 7980 },
    { kind: "unix", path: "/tmp/admin.sock" },
  ];
  for (const listen of beyond) {
    const { admin } = createFixture({ listen, http: runtime.http });
    await assert.rejects(admin.start(), (error) => {
      assert.ok(error instanceof CoveyError);
      assert.equal(error.code, Code.failedPrecondition);
      assert.match(error.message, /admin\.listen is .*TLS and tokens do not exist.*127\.0\.0\.1/);
      return true;
    });
  }
});

test("admin serve: a port in use is one clear error", async () => {
  await serving({}, async ({ port }) => {
    const listen: Address = { kind: "tcp", host: "127.0.0.1", port };
    const second = createFixture({ listen, http: runtime.http, clock: runtime.clock });
    await assert.rejects(second.admin.start(), (error) => {
      assert.ok(error instanceof CoveyError);
      assert.equal(error.code, Code.alreadyExists);
      assert.match(
        error.message,
        /admin\.listen: cannot serve on tcp:\/\/127\.0\.0\.1:\d+: another process listens there already$/,
      );
      return true;
    });
  });
});

test("admin serve: rebinding with everything a client can send", async () => {
  await serving({}, async ({ fixture, port }) => {
    const whole = (answer: string) => answer.endsWith("}\n") || answer.endsWith("}\n\r\n0\r\n\r\n");
    const refused = [
      "GET /v1/config HTTP/1.1\r\nHost: evil.example\r\n\r\n",
      `GET /v1/config HTTP/1.1\r\nHost: evil.example:${port}\r\n\r\n`,
      "GET /livez HTTP/1.1\r\nHost: rebind.network\r\n\r\n",
      "GET http://localhost/v1/config HTTP/1.1\r\nHost: evil.example\r\n\r\n",
      "GET /v1/config HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n",
      upgrade("evil.example"),
      upgrade(`127.0.0.1:${port}`, "Origin: http://evil.example\r\n"),
      upgrade(`localhost:${port}`, "Origin: null\r\n"),
      `GET /v1/events HTTP/1.1\r\nHost: localhost:${port}\r\nOrigin: http://evil.example\r\n\r\n`,
      `GET /v1/config HTTP/1.1\r\nHost: localhost:${port}\r\nSec-Fetch-Site: cross-site\r\n\r\n`,
    ];
    for (const request of refused) {
      const answer = await raw(port, request, whole);
      assert.match(answer, /^HTTP\/1\.1 403 /, request);
      assert.match(answer, /"code":"permission_denied"/, request);
      assert.ok(!answer.includes("tcp://127.0.0.1:7980"), "no configuration leaks");
    }
    // Two Host headers, or none where one must be: refused by the runtime or by us, never served.
    for (
      const request of [
        `GET /v1/config HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n`,
        `GET /v1/config HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n`,
        `GET /v1/config HTTP/1.1\r\nHost:\r\n\r\n`,
      ]
    ) {
      const answer = await raw(port, request, (text) => text.includes("\r\n\r\n"));
      assert.ok(!answer.startsWith("HTTP/1.1 200"), answer);
    }
    assert.ok(fixture.asked.length === 0);
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`, "LOCALHOST"]) {
      const answer = await raw(port, `GET /livez HTTP/1.1\r\nHost: ${host}\r\n\r\n`, whole);
      assert.match(answer, /^HTTP\/1\.1 200 /, host);
    }
  });
});

test("admin serve: a body that is too large is refused before it is sent", async () => {
  await serving({ limits: { bodyBytesMax: 1000 } }, async ({ port }) => {
    const answer = await raw(
      port,
      `POST /covey.test.v1.TestService/Echo HTTP/1.1\r\nHost: localhost\r\n` +
        `Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{`,
      (text) => text.includes("}"),
    );
    assert.match(answer, /^HTTP\/1\.1 413 /);
    assert.match(answer, /"hint":"send less, or raise admin\.body_bytes_max"/);
  });
});

test("admin serve: events reach a reader at once; a slow one is dropped, memory stays", async () => {
  await serving({ limits: { eventQueueBytesMax: 100_000 } }, async ({ fixture, port, url }) => {
    const topic = fixture.admin.topic("load", "a lot");
    const slow = await deaf(port, `GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const response = await fetch(`${url}/v1/events?topic=load`);
    const reader = response.body!.getReader();
    const decoder = new TextDecoder();
    await until("both clients", () => metric(fixture, "covey_admin_event_clients") === 2);
    let seen = 0;
    let last = "";
    const reading = (async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        last = decoder.decode(value, { stream: true });
        seen += last.match(/^event: load$/gm)?.length ?? 0;
      }
    })();
    const before = runtime.host.memory().rssBytes;
    const text = "x".repeat(10_000);
    const total = 1200;
    for (let at = 0; at < total; at++) {
      topic.publish({ at, text });
      // The quick one keeps up; 12 MB are more than the kernel buffers for the slow one.
      await until("the quick reader", () => seen >= at - 5);
    }
    await until("the last event", () => seen === total);
    await until("the slow one to be dropped", () => {
      return metric(fixture, 'covey_admin_event_clients_dropped_total{transport="events"}') === 1;
    });
    assert.equal(metric(fixture, "covey_admin_event_clients"), 1);
    const grown = runtime.host.memory().rssBytes - before;
    assert.ok(grown < 60_000_000, `grew by ${grown} bytes`);
    slow.leave();
    await fixture.admin.stop(100);
    await reading;
    assert.match(last, /event: end/);
  });
});

test("admin serve: a client that disconnects is forgotten", async () => {
  await serving({}, async ({ fixture, port }) => {
    const topic = fixture.admin.topic("tick", "ticks");
    const request = `GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    const clients = await Promise.all(Array.from({ length: 5 }, () => deaf(port, request)));
    await until("all clients", () => metric(fixture, "covey_admin_event_clients") === 5);
    for (const client of clients) client.leave();
    await until("no client", () => {
      topic.publish(1);
      return metric(fixture, "covey_admin_event_clients") === 0;
    });
  });
});

class Recorder implements WebSocketHandler {
  readonly messages: Record<string, unknown>[] = [];
  code: number | undefined = undefined;
  open(): void {}
  message(_peer: WebSocketPeer, message: string | Uint8Array): void {
    this.messages.push(JSON.parse(message as string));
  }
  close(_peer: WebSocketPeer, code: number): void {
    this.code = code;
  }
}

test("admin serve: the WebSocket carries events, answers pings and ends with the node", async () => {
  await serving({}, async ({ fixture, port }) => {
    const recorder = new Recorder();
    const peer = await runtime.http.webSocket(`ws://127.0.0.1:${port}/v1/socket`, recorder, 2000);
    peer.send('{"type":"subscribe","topics":["log"]}');
    await until("the subscription", () => recorder.messages.length === 1);
    fixture.log("hello");
    peer.send('{"type":"ping","data":1}');
    peer.send("garbage");
    await until("the answers", () => recorder.messages.length === 4);
    assert.deepEqual(recorder.messages.map(({ type }) => type), [
      "topics",
      "event",
      "pong",
      "error",
    ]);
    await fixture.admin.stop(200);
    await until("the close", () => recorder.code !== undefined);
    assert.equal(recorder.code, 1001);
    assert.equal(recorder.messages.at(-1)?.type, "end");
  });
});

test("admin serve: a WebSocket that does not read is dropped, memory stays", async () => {
  await serving({ limits: { eventQueueBytesMax: 100_000 } }, async ({ fixture, port }) => {
    const topic = fixture.admin.topic("load", "a lot");
    const client = await deaf(port, upgrade("localhost"));
    await until("the upgrade", () => metric(fixture, "covey_admin_event_clients") === 1);
    // {"type":"subscribe"} as one masked frame with the mask 0.
    const text = encodeText('{"type":"subscribe"}');
    client.send(Uint8Array.of(0x81, 0x80 | text.length, 0, 0, 0, 0, ...text));
    const before = runtime.host.memory().rssBytes;
    const large = "x".repeat(10_000);
    let published = 0;
    await until("the client to be dropped", () => {
      for (let at = 0; at < 20; at++) topic.publish({ at: published++, large });
      return metric(fixture, 'covey_admin_event_clients_dropped_total{transport="socket"}') === 1;
    });
    const grown = runtime.host.memory().rssBytes - before;
    assert.ok(grown < 60_000_000, `grew by ${grown} bytes after ${published} events`);
    assert.equal(metric(fixture, "covey_admin_event_clients"), 0);
    client.leave();
  });
});

test("admin serve: Connect calls of all kinds over a real socket", async () => {
  await serving({}, async ({ fixture, url }) => {
    const client = connectClient(url, true, fetch);
    assert.deepEqual([...(await client.echo({ payload: Uint8Array.of(1) })).payload], [1]);
    let count = 0;
    for await (const { payload } of client.count({ count: 200, bytes: 50_000 })) {
      count += payload.length;
    }
    assert.equal(count, 10_000_000);
    const sum = await client.sum((async function* () {
      for (let value = 1n; value <= 100n; value++) yield { value };
    })());
    assert.equal(sum.sum, 5050n);
    const answers: number[] = [];
    const chat = client.chat((async function* () {
      for (const letter of [7, 8, 9]) yield { payload: Uint8Array.of(letter) };
    })());
    for await (const { payload } of chat) answers.push(payload[0]);
    assert.deepEqual(answers, [7, 8, 9]);
    const failed = await client.fail({ code: 9, message: "no" }).then(() => undefined, (e) => e);
    assert.ok(failed instanceof ConnectError && failed.code === 9);
    assert.equal(metric(fixture, "covey_admin_calls_active"), 0);
  });
});

/** One enveloped JSON message of a Connect stream, as a chunk of a chunked body. */
function chunk(message: unknown): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(message));
  const head = new TextEncoder().encode(`${(text.length + 5).toString(16)}\r\n`);
  const length = [0, text.length >> 24, text.length >> 16, text.length >> 8, text.length & 255];
  return Uint8Array.of(...head, ...length, ...text, 13, 10);
}

test("admin serve: a bidirectional call answers, at once where the runtime can", async () => {
  await serving({ limits: { bodyBytesMax: 1000 } }, async ({ port }) => {
    const head = "POST /covey.test.v1.TestService/Chat HTTP/1.1\r\nHost: localhost\r\n" +
      "Content-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n";
    const talk = await RawClient.open(port, head);
    const answered = (payload: string) => talk.answer.includes(`"payload":"${payload}"`);
    for (const payload of ["AQ==", "Ag==", "Aw==", "BA=="]) {
      talk.send(chunk({ payload }));
      // Deno reads nothing more once an answer began, so there the answers wait for the end.
      if (runtime.name === "bun") await until(`answer ${payload}`, () => answered(payload));
      else await new Promise((resolve) => setTimeout(resolve, 20));
    }
    talk.send("0\r\n\r\n");
    await until("the end of the stream", () => talk.answer.endsWith("0\r\n\r\n"));
    assert.ok(["AQ==", "Ag==", "Aw==", "BA=="].every(answered), talk.answer);
    talk.leave();
    if (runtime.name === "bun") return;
    // What waits for the end is bounded.
    const large = await RawClient.open(port, head);
    for (let at = 0; at < 3; at++) large.send(chunk({ payload: btoa("x".repeat(300)) }));
    await until("the refusal", () => large.answer.includes("call by ttrpc"));
    assert.match(large.answer, /^HTTP\/1\.1 413 /);
    large.leave();
  });
});

test("admin serve: a client that disconnects ends its stream's handler", async () => {
  await serving({}, async ({ fixture, port }) => {
    const before = running.ended;
    const client = await deaf(
      port,
      "POST /covey.test.v1.TestService/Count HTTP/1.1\r\nHost: localhost\r\n" +
        "Content-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    client.send(chunk({ count: 1_000_000, bytes: 60_000 }));
    client.send("0\r\n\r\n");
    await until("the call", () => metric(fixture, "covey_admin_calls_active") === 1);
    await until("the stream to stall", stalls(() => running.counted));
    // It is held back, not buffered: the handler waits for the reader.
    assert.equal(running.ended, before);
    assert.equal(metric(fixture, "covey_admin_calls_active"), 1);
    client.leave();
    await until("the handler's end", () => running.ended === before + 1);
    await until("the call's end", () => metric(fixture, "covey_admin_calls_active") === 0);
  });
});

test("admin serve: a stop lets a call finish, and ends the one that does not", async () => {
  await serving({}, async ({ fixture, url }) => {
    const client = connectClient(url, true, fetch);
    const short = client.echo({ delayMillis: 50, payload: Uint8Array.of(1) });
    const long = client.echo({ delayMillis: 60_000 }).then(() => undefined, (error) => error);
    await until("both calls", () => metric(fixture, "covey_admin_calls_active") === 2);
    const started = performance.now();
    await fixture.admin.stop(300);
    assert.ok(performance.now() - started < 3000);
    assert.equal((await short).payload[0], 1);
    const error = await long;
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, Code.unavailable);
    await assert.rejects(fetch(`${url}/livez`));
  });
});
