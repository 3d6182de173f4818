import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventSocket } from "../../src/admin/event_socket.ts";
import type { ErrorReport } from "../../src/admin/schema.ts";
import type { WebSocketPeer } from "../../src/runtime/port.ts";
import { createFixture, type Fixture, httpContext, json } from "./support.ts";

/** Reads a stream of events piece by piece. */
class Follower {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();

  constructor(response: Response) {
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
    this.#reader = response.body!.getReader();
  }

  /** What is there now; undefined at the end. */
  async next(): Promise<string | undefined> {
    const { done, value } = await this.#reader.read();
    return done ? undefined : this.#decoder.decode(value, { stream: true });
  }

  /** Until the end. */
  async rest(): Promise<string> {
    let text = "";
    for (let piece = await this.next(); piece !== undefined; piece = await this.next()) {
      text += piece;
    }
    return text;
  }

  leave(): Promise<void> {
    return this.#reader.cancel();
  }
}

async function follow(
  fixture: Fixture,
  path = "/v1/events",
  headers: Record<string, string> = {},
): Promise<Follower> {
  const follower = new Follower(await fixture.admin.app.request(path, { headers }));
  assert.equal(await follower.next(), "retry: 2000\n\n");
  return follower;
}

function metric(fixture: Fixture, name: string): number {
  const line = fixture.metrics.expose("prometheus").split("\n").find((one) =>
    one.startsWith(`${name} `)
  );
  return Number(line?.slice(name.length + 1));
}

const idOf = (text: string | undefined): string => /^id: (.*)$/m.exec(text ?? "")?.[1] ?? "";

test("events: topics are chosen, events arrive with id, name and JSON", async () => {
  const fixture = createFixture();
  const views = fixture.admin.topic("views", "each view that is installed");
  const all = await follow(fixture);
  const some = await follow(fixture, "/v1/events?topic=views");
  fixture.log("one");
  views.publish({ id: 7, members: ["a"] });
  const first = await all.next();
  assert.match(first ?? "", /^id: [0-9a-z]+-1\nevent: log\ndata: \{.*"message":"one"\}\n\n/);
  const wanted = await some.next();
  assert.match(
    wanted ?? "",
    /^id: [0-9a-z]+-2\nevent: views\ndata: \{"id":7,"members":\["a"\]\}\n\n$/,
  );
  await all.leave();
  await some.leave();
  assert.equal(metric(fixture, "covey_admin_event_clients"), 0);
});

test("events: unknown topics and parameters are refused by name", async () => {
  const fixture = createFixture();
  fixture.admin.topic("views", "each view that is installed");
  const topic = await fixture.admin.app.request("/v1/events?topic=log,vievs");
  assert.equal(topic.status, 400);
  assert.deepEqual(await json(topic), {
    code: "invalid_argument",
    message: 'no topic "vievs"',
    hint: "topics: log, views",
  });
  const parameter = await fixture.admin.app.request("/v1/events?topics=log");
  assert.equal(parameter.status, 400);
  assert.match((await json<ErrorReport>(parameter)).message, /no parameter "topics"/);
  const socket = await fixture.admin.app.request("/v1/socket?x=1");
  assert.equal(socket.status, 400);
});

test("events: a topic has a name of its own", () => {
  const { admin } = createFixture();
  admin.topic("views", "each view that is installed");
  for (const name of ["views", "log", "gap", "dropped", "end", "", "Two", "a\nb", "a,b"]) {
    assert.throws(() => admin.topic(name, "x"), /topic/, name);
  }
});

test("events: nothing is made while nobody follows", async () => {
  const fixture = createFixture();
  const topic = fixture.admin.topic("views", "each view that is installed");
  assert.equal(topic.wanted, false);
  topic.publish(1);
  assert.equal(metric(fixture, "covey_admin_events_total"), 0);
  const follower = await follow(fixture);
  assert.equal(topic.wanted, true);
  topic.publish(2);
  assert.equal(metric(fixture, "covey_admin_events_total"), 1);
  await follower.leave();
  // It may come back for a while.
  assert.equal(topic.wanted, true);
  fixture.clock.advance(121_000);
  assert.equal(topic.wanted, false);
});

test("events: a client that comes back continues where it was", async () => {
  const fixture = createFixture();
  const before = await follow(fixture);
  fixture.log("one");
  const id = idOf(await before.next());
  await before.leave();
  fixture.log("two");
  fixture.log("three");
  for (
    const [path, headers] of [
      ["/v1/events", { "last-event-id": id }],
      [`/v1/events?after=${id}`, {}],
    ] as const
  ) {
    const after = new Follower(await fixture.admin.app.request(path, { headers }));
    const text = await after.next() ?? "";
    assert.deepEqual([...text.matchAll(/"message":"(\w+)"/g)].map((match) => match[1]), [
      "two",
      "three",
    ]);
    assert.ok(!text.includes("event: gap"));
    await after.leave();
  }
});

test("events: what cannot be resumed is said", async () => {
  const fixture = createFixture({ limits: { eventRingMax: 3 } });
  const follower = await follow(fixture);
  fixture.log("0");
  const id = idOf(await follower.next());
  for (let at = 1; at <= 10; at++) fixture.log(String(at));
  const resume = async (after: string): Promise<string> => {
    const back = new Follower(await fixture.admin.app.request(`/v1/events?after=${after}`));
    const text = await back.next() ?? "";
    await back.leave();
    return text;
  };
  assert.match(await resume(id), /event: gap\ndata: \{"missed":7,"reason":"too long ago"\}\n\n/);
  assert.match(await resume(id), /"message":"8"[^]*"message":"9"[^]*"message":"10"/);
  for (const odd of ["abc-5", `${id}000`, "nonsense", "-1"]) {
    assert.match(await resume(odd), /event: gap\ndata: \{"reason":"the node restarted since"\}/);
  }
  // After a time without clients nothing is kept, and nobody knows how much was lost.
  await follower.leave();
  fixture.clock.advance(121_000);
  fixture.log("unseen");
  assert.match(await resume(id), /event: gap\ndata: \{"reason":"too long ago"\}/);
});

test("events: the ring is bounded in bytes too", async () => {
  const fixture = createFixture({ limits: { eventRingBytesMax: 10_000 } });
  const topic = fixture.admin.topic("big", "large things");
  const follower = await follow(fixture);
  topic.publish("first");
  const id = idOf(await follower.next());
  for (let at = 0; at < 20; at++) topic.publish("x".repeat(3000));
  const back = new Follower(await fixture.admin.app.request(`/v1/events?after=${id}`));
  const text = await back.next() ?? "";
  assert.equal(text.match(/event: big/g)?.length, 3);
  assert.match(text, /"missed":17/);
  await back.leave();
  await follower.leave();
});

test("events: an event of unreasonable size is replaced by a note", async () => {
  const fixture = createFixture();
  const topic = fixture.admin.topic("big", "large things");
  const follower = await follow(fixture);
  topic.publish("x".repeat(70_000));
  assert.match(await follower.next() ?? "", /data: \{"tooLarge":true,"characters":70002\}/);
  await follower.leave();
});

test("events: a slow reader is told what it missed and dropped; others see everything", async () => {
  const fixture = createFixture({ limits: { eventQueueBytesMax: 20_000 } });
  const slow = await follow(fixture);
  const quick = await follow(fixture);
  let seen = 0;
  const text = "x".repeat(1000);
  for (let at = 0; at < 50; at++) {
    fixture.log(`${at} ${text}`);
    seen += (await quick.next() ?? "").match(/^event: log$/gm)?.length ?? 0;
  }
  assert.equal(seen, 50);
  const rest = await slow.rest();
  const missed = Number(/event: dropped\ndata: \{"missed":(\d+)/.exec(rest)?.[1]);
  // The first went to the pull that was waiting; then 17 fitted, and the 18th was too much.
  const got = rest.match(/^event: log$/gm)?.length ?? 0;
  assert.equal(got, 0);
  assert.ok(missed > 10 && missed < 20, String(missed));
  assert.match(rest, /reads slower than events come/);
  const text2 = fixture.metrics.expose("prometheus");
  assert.match(text2, /^covey_admin_event_clients_dropped_total\{transport="events"\} 1$/m);
  assert.equal(metric(fixture, "covey_admin_events_missed_total"), missed);
  assert.equal(metric(fixture, "covey_admin_event_clients"), 1);
  await quick.leave();
});

test("events: one that does not even take its notice is cut off", async () => {
  const fixture = createFixture({ limits: { eventQueueBytesMax: 2000 } });
  const response = await fixture.admin.app.request("/v1/events");
  for (let at = 0; at < 50; at++) fixture.log("x".repeat(100));
  fixture.clock.advance(10_000);
  await assert.rejects(response.text(), /does not read/);
});

test("events: a silent stream has a heartbeat, and no timer runs without clients", async () => {
  const fixture = createFixture();
  const follower = await follow(fixture);
  for (let at = 0; at < 3; at++) {
    const piece = follower.next();
    fixture.clock.advance(15_000);
    assert.equal(await piece, ":\n\n");
  }
  // A client that is behind gets no more to read.
  fixture.log("a");
  fixture.log("b");
  fixture.clock.advance(60_000);
  const text = await follower.next() ?? "";
  assert.match(text, /"message":"a"[^]*"message":"b"/);
  assert.ok(!text.includes("\n:\n"), text);
  await follower.leave();
  let ran = 0;
  const { clock } = fixture;
  const timer = clock.timer.bind(clock);
  clock.timer = (...rest) => {
    ran++;
    return timer(...rest);
  };
  clock.advance(600_000);
  assert.equal(ran, 0);
});

test("events: one client too many is turned away", async () => {
  const fixture = createFixture({ limits: { eventClientsMax: 2 } });
  const first = await follow(fixture);
  await follow(fixture);
  for (const path of ["/v1/events", "/v1/socket"]) {
    const response = await fixture.admin.app.request(path, {}, { covey: httpContext() });
    assert.equal(response.status, 503);
    assert.equal(response.headers.get("retry-after"), "5");
    const report = await json<ErrorReport>(response);
    assert.equal(report.code, "resource_exhausted");
    assert.match(report.hint ?? "", /admin\.event_clients_max/);
  }
  assert.match(
    fixture.metrics.expose("prometheus"),
    /^covey_limit_hit_total\{limit="admin_event_clients"\} 2$/m,
  );
  await first.leave();
  await (await follow(fixture)).leave();
});

test("events: a stop ends every stream and refuses new ones", async () => {
  const fixture = createFixture();
  const follower = await follow(fixture);
  await fixture.admin.stop(0);
  assert.match(await follower.rest(), /^event: end\ndata: \{"reason":"the node stops"\}\n\n$/);
  assert.equal((await fixture.admin.app.request("/v1/events")).status, 503);
  // The app is still mounted wherever it was mounted.
  assert.equal((await fixture.admin.app.request("/livez")).status, 200);
});

/** A WebSocket whose buffer the test fills and empties. */
class FakePeer implements WebSocketPeer {
  readonly sent: Record<string, unknown>[] = [];
  bufferedBytes = 0;
  closed: { code?: number; reason?: string } | undefined = undefined;
  stuck = false;

  send(message: string | Uint8Array): number {
    this.sent.push(JSON.parse(message as string));
    if (this.stuck) this.bufferedBytes += message.length;
    return this.bufferedBytes;
  }

  close(code?: number, reason?: string): void {
    this.closed = { code, reason };
  }
}

async function openSocket(fixture: Fixture): Promise<{ socket: EventSocket; peer: FakePeer }> {
  let socket: EventSocket | undefined;
  const upgraded = new Response(null);
  const response = await fixture.admin.app.request("/v1/socket", {}, {
    covey: httpContext({
      upgrade: (handler) => {
        socket = handler as EventSocket;
        return upgraded;
      },
    }),
  });
  assert.equal(response, upgraded, "the runtime's answer is returned as it is");
  assert.equal([...response.headers].length, 0);
  const peer = new FakePeer();
  socket!.open(peer);
  return { socket: socket!, peer };
}

test("socket: subscribe, unsubscribe, resume and ping", async () => {
  const fixture = createFixture();
  const views = fixture.admin.topic("views", "each view that is installed");
  const { socket, peer } = await openSocket(fixture);
  fixture.log("nobody asked");
  const say = (value: unknown) => socket.message(peer, JSON.stringify(value));
  say({ type: "subscribe", topics: ["views"] });
  fixture.log("still nobody");
  views.publish({ id: 1 });
  say({ type: "subscribe" });
  fixture.log("now");
  say({ type: "unsubscribe", topics: ["log"] });
  fixture.log("no more");
  say({ type: "ping", data: { at: 5 } });
  say({ type: "ping" });
  fixture.clock.advance(15_000);
  const id = peer.sent[1].id;
  assert.deepEqual(peer.sent.map(({ id: _, data, ...rest }) => ({ ...rest, has: typeof data })), [
    { type: "topics", topics: ["views"], has: "undefined" },
    { type: "event", topic: "views", has: "object" },
    { type: "topics", topics: ["log", "views"], has: "undefined" },
    { type: "event", topic: "log", has: "object" },
    { type: "topics", topics: ["views"], has: "undefined" },
    { type: "pong", has: "object" },
    { type: "pong", has: "undefined" },
    { type: "beat", has: "undefined" },
  ]);
  assert.deepEqual(peer.sent[1].data, { id: 1 });
  peer.sent.length = 0;
  say({ type: "subscribe", topics: ["log"], after: id });
  assert.deepEqual(
    peer.sent.slice(1).map((message) => (message.data as { message: string }).message),
    ["now", "no more"],
  );
  socket.close();
  fixture.log("gone");
  assert.equal(metric(fixture, "covey_admin_event_clients"), 0);
});

test("socket: every bad message gets an answer, and the client stays", async () => {
  const fixture = createFixture();
  const { socket, peer } = await openSocket(fixture);
  const bad: [string, RegExp][] = [
    ["", /not JSON/],
    ["{", /not JSON/],
    ["null", /not an object/],
    ["[]", /the type undefined is not known/],
    ['{"type":"sub"}', /the type "sub" is not known/],
    ['{"type":"subscribe","topics":"log"}', /list of names/],
    ['{"type":"subscribe","topics":[1]}', /list of names/],
    ['{"type":"subscribe","topics":["lgo"]}', /no topic "lgo"/],
    ['{"type":"subscribe","after":5}', /must be an event's id/],
    ['{"type":"unsubscribe","topics":["lgo"]}', /no topic "lgo"/],
  ];
  for (const [text, message] of bad) {
    peer.sent.length = 0;
    socket.message(peer, text);
    assert.equal(peer.sent.length, 1, text);
    assert.equal(peer.sent[0].type, "error");
    assert.equal(peer.sent[0].code, "invalid_argument");
    assert.match(String(peer.sent[0].message), message);
    assert.ok(String(peer.sent[0].hint).length > 5);
  }
  assert.equal(peer.closed, undefined);
  socket.message(peer, '{"type":"subscribe","after":"zz-1"}');
  assert.equal(peer.sent.at(-1)?.type, "gap");
});

test("socket: large and binary messages end it", async () => {
  const fixture = createFixture();
  for (
    const [message, code] of [["x".repeat(16 * 1024 + 1), 1009], [new Uint8Array(4), 1003]] as const
  ) {
    const { socket, peer } = await openSocket(fixture);
    socket.message(peer, message);
    assert.equal(peer.closed?.code, code);
    assert.equal(metric(fixture, "covey_admin_event_clients"), 0);
    socket.message(peer, '{"type":"ping"}');
    assert.equal(peer.sent.length, 0);
  }
});

test("socket: a client whose buffer grows is dropped, whatever fills it", async () => {
  const fixture = createFixture({ limits: { eventQueueBytesMax: 5000 } });
  const events = await openSocket(fixture);
  events.socket.message(events.peer, '{"type":"subscribe"}');
  events.peer.stuck = true;
  for (let at = 0; at < 100; at++) fixture.log("x".repeat(200));
  assert.equal(events.peer.closed?.code, 1013);
  assert.ok(events.peer.bufferedBytes <= 5000);
  const pings = await openSocket(fixture);
  pings.peer.stuck = true;
  for (let at = 0; at < 100; at++) {
    pings.socket.message(pings.peer, JSON.stringify({ type: "ping", data: "x".repeat(1000) }));
  }
  assert.equal(pings.peer.closed?.code, 1013);
  assert.ok(pings.peer.bufferedBytes <= 5000);
  assert.match(
    fixture.metrics.expose("prometheus"),
    /^covey_admin_event_clients_dropped_total\{transport="socket"\} 2$/m,
  );
});

test("socket: a plain request and a mounted app are told what to do instead", async () => {
  const fixture = createFixture();
  const plain = await fixture.admin.app.request("/v1/socket", {}, { covey: httpContext() });
  assert.equal(plain.status, 426);
  assert.equal(plain.headers.get("upgrade"), "websocket");
  const mounted = await fixture.admin.app.request("/v1/socket");
  assert.equal(mounted.status, 501);
  assert.match((await json<ErrorReport>(mounted)).hint ?? "", /v1\/events/);
});

test("socket: the last place may go to somebody else during the upgrade", async () => {
  const fixture = createFixture({ limits: { eventClientsMax: 1 } });
  let late: EventSocket | undefined;
  await fixture.admin.app.request("/v1/socket", {}, {
    covey: httpContext({
      upgrade: (handler) => {
        late = handler as EventSocket;
        return new Response(null);
      },
    }),
  });
  const follower = await follow(fixture);
  const peer = new FakePeer();
  late!.open(peer);
  assert.equal(peer.closed?.code, 1013);
  assert.equal(metric(fixture, "covey_admin_event_clients"), 1);
  await follower.leave();
});

test("socket: a stop says so and closes", async () => {
  const fixture = createFixture();
  const { peer } = await openSocket(fixture);
  await fixture.admin.stop(0);
  assert.deepEqual(peer.sent, [{ type: "end", reason: "the node stops" }]);
  assert.equal(peer.closed?.code, 1001);
});
