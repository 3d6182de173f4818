import { create, fromBinary, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { type Client, Code, ConnectError } from "npm:@connectrpc/connect@2.2.0";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorReport } from "../../src/admin/schema.ts";
import {
  EchoRequestSchema,
  EchoResponseSchema,
  SumRequestSchema,
  TestService,
} from "../gen/covey/test/v1/test_pb.ts";
import { connectClient } from "./connect_client.ts";
import { createFixture, type Fixture, httpContext, json, running } from "./support.ts";

const base = "/covey.test.v1.TestService";
const encode = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(new TextEncoder().encode(text));

/** A Connect client whose requests go straight into the app. */
function clientOf(fixture: Fixture, useBinaryFormat: boolean): Client<typeof TestService> {
  return connectClient(
    "http://localhost",
    useBinaryFormat,
    (request) => fixture.admin.app.fetch(request, { covey: httpContext() }),
  );
}

function post(
  fixture: Fixture,
  method: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Response | Promise<Response> {
  return fixture.admin.app.request(`${base}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  }, { covey: httpContext() });
}

const callsActive = (fixture: Fixture): string =>
  /^covey_admin_calls_active (\d+)$/m.exec(fixture.metrics.expose("prometheus"))?.[1] ?? "?";

test("connect: a call with curl's means, JSON in and out", async () => {
  const fixture = createFixture();
  const response = await post(fixture, "Echo", '{"payload":"aGVsbG8=","metadataKey":"X-Team"}', {
    "x-team": "north",
    "connect-timeout-ms": "5000",
  });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(response.headers.get("served-by"), "loopback");
  assert.deepEqual(await json(response), {
    payload: "aGVsbG8=",
    metadataValues: ["north"],
    hasDeadline: true,
  });
  assert.equal(callsActive(fixture), "0");
});

test("connect: the same in binary", async () => {
  const fixture = createFixture();
  const request = create(EchoRequestSchema, { payload: encode("hi") });
  const body = Uint8Array.from(toBinary(EchoRequestSchema, request));
  const response = await post(fixture, "Echo", body, { "content-type": "application/proto" });
  const answer = fromBinary(EchoResponseSchema, new Uint8Array(await response.arrayBuffer()));
  assert.deepEqual([...answer.payload], [...encode("hi")]);
});

for (const useBinaryFormat of [true, false]) {
  const form = useBinaryFormat ? "binary" : "JSON";
  test(`connect: all four kinds with Connect's own client, ${form}`, async () => {
    const fixture = createFixture();
    const client = clientOf(fixture, useBinaryFormat);
    const echo = await client.echo({ payload: encode("x") });
    assert.deepEqual([...echo.payload], [120]);
    const indexes: number[] = [];
    let trailers = new Headers();
    const onTrailer = (trailer: Headers) => {
      trailers = trailer;
    };
    for await (const { index } of client.count({ count: 5, bytes: 10 }, { onTrailer })) {
      indexes.push(index);
    }
    assert.deepEqual(indexes, [0, 1, 2, 3, 4]);
    assert.equal(trailers.get("counted"), "5");
    const sum = await client.sum((async function* () {
      for (const value of [1n, 2n, 39n]) yield { value };
    })());
    assert.deepEqual([sum.sum, sum.count], [42n, 3]);
    const answers: number[] = [];
    const chat = client.chat((async function* () {
      for (const letter of [7, 8, 9]) yield { payload: Uint8Array.of(letter) };
    })());
    for await (const { payload } of chat) answers.push(payload[0]);
    assert.deepEqual(answers, [7, 8, 9]);
    assert.equal(callsActive(fixture), "0");
  });
}

test("connect: codes, messages and details come through, in unary and streaming calls", async () => {
  const fixture = createFixture();
  const client = clientOf(fixture, true);
  const statuses: Record<number, number> = {
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
  };
  for (let code = 1; code <= 16; code++) {
    const unary = await client.fail({ code, message: "no 🐦" }).then(() => undefined, (e) => e);
    assert.ok(unary instanceof ConnectError);
    assert.deepEqual([unary.code, unary.rawMessage], [code, "no 🐦"]);
    assert.equal(unary.findDetails(SumRequestSchema)[0].value, 7n);
    const response = await post(fixture, "Fail", JSON.stringify({ code, message: "m" }));
    assert.equal(response.status, statuses[code], Code[code]);
    await response.body?.cancel();
    let got = 0;
    const stream = await (async () => {
      for await (const _ of client.failStream({ code, message: "later", after: 3 })) got++;
    })().then(() => undefined, (e) => e);
    assert.ok(stream instanceof ConnectError);
    assert.deepEqual([stream.code, stream.rawMessage, got], [code, "later", 3]);
    assert.equal(stream.findDetails(SumRequestSchema)[0].value, 7n);
  }
});

test("connect: an error that nobody foresaw is unknown, and logged with its method", async () => {
  const fixture = createFixture();
  const response = await post(fixture, "Fail", '{"code":0,"message":"bug"}');
  assert.equal(response.status, 500);
  assert.deepEqual(await json(response), { code: "unknown", message: "bug" });
  assert.deepEqual(fixture.complaints, ["handler failed"]);
});

test("connect: a handler that ignores its deadline does not hold the answer", async () => {
  const fixture = createFixture();
  const before = running.aborted;
  const response = await post(fixture, "Echo", '{"delayMillis":60000}', {
    "connect-timeout-ms": "20",
  });
  assert.equal(response.status, 504);
  assert.equal((await json<ErrorReport>(response)).code, "deadline_exceeded");
  assert.equal(running.aborted, before + 1, "the handler saw its signal");
  assert.equal(callsActive(fixture), "0");
});

test("connect: a client that leaves ends the handler", async () => {
  const fixture = createFixture();
  const client = clientOf(fixture, true);
  const before = running.ended;
  let got = 0;
  const enough = new AbortController();
  const counted = client.count({ count: 1_000_000, bytes: 100 }, { signal: enough.signal });
  // Connect's client goes on reading after a `break`; only its signal ends the call.
  await assert.rejects(async () => {
    for await (const _ of counted) if (++got === 3) enough.abort();
  }, /canceled/);
  const leaving = new AbortController();
  const call = client.echo({ delayMillis: 60_000 }, { signal: leaving.signal });
  setTimeout(() => leaving.abort(), 10);
  await assert.rejects(call, /canceled/);
  for (let at = 0; at < 100 && callsActive(fixture) !== "0"; at++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(callsActive(fixture), "0");
  assert.equal(running.ended, before + 1);
});

test("connect: what a handler may not set is not sent", async () => {
  const response = await post(createFixture(), "Echo", "{}");
  assert.equal(response.headers.get("set-cookie"), null);
  assert.equal(response.headers.get("access-control-allow-origin"), null);
  assert.equal(response.headers.get("x-content-type-options"), "nosniff");
});

test("connect: headers of HTTP, of browsers and of tokens are not metadata", async () => {
  const fixture = createFixture();
  for (
    const key of ["authorization", "cookie", "host", "user-agent", "sec-fetch-mode", "content-type"]
  ) {
    const response = await post(fixture, "Echo", JSON.stringify({ metadataKey: key }), {
      authorization: "Bearer x",
      cookie: "a=b",
      "user-agent": "test",
    });
    assert.deepEqual(
      (await json<{ metadataValues?: string[] }>(response)).metadataValues,
      undefined,
      key,
    );
  }
});

test("connect: bad input is named", async () => {
  const fixture = createFixture();
  const cases: [
    string | Uint8Array<ArrayBuffer>,
    Record<string, string>,
    number,
    string,
    RegExp,
  ][] = [
    ["{", {}, 400, "invalid_argument", /JSON/],
    ["", {}, 400, "invalid_argument", /JSON/],
    ["[]", {}, 400, "invalid_argument", /EchoRequest/],
    ['{"payload":5}', {}, 400, "invalid_argument", /payload/],
    ['{"delayMillis":-1}', {}, 400, "invalid_argument", /delay_millis/],
    ['{"paylod":"aGk="}', {}, 400, "invalid_argument", /paylod/],
    [Uint8Array.of(0x22, 0xff, 0x22), {}, 400, "invalid_argument", /./],
    ["{}", { "connect-timeout-ms": "soon" }, 400, "invalid_argument", /timeout/],
    ["{}", { "connect-timeout-ms": "99999999999" }, 400, "invalid_argument", /timeout/],
    ["{}", { "content-encoding": "gzip" }, 501, "unimplemented", /gzip/],
    ["{}", { "content-type": "application/connect+json" }, 415, "invalid_argument", /does not fit/],
    [
      "{}",
      { "content-type": "application/json; charset=latin1" },
      415,
      "invalid_argument",
      /latin1/,
    ],
  ];
  for (const [body, headers, status, code, message] of cases) {
    const response = await post(fixture, "Echo", body, headers);
    const what = JSON.stringify([body, headers]);
    assert.equal(response.status, status, what);
    const report = await json<ErrorReport>(response);
    assert.equal(report.code, code, what);
    assert.match(report.message, message, what);
  }
  const proto = await post(fixture, "Echo", Uint8Array.of(0xff), {
    "content-type": "application/proto",
  });
  assert.ok(proto.status >= 400);
  assert.match((await json<ErrorReport>(proto)).message, /parse binary/);
});

test("connect: a newer client's unknown JSON field is no error", async () => {
  const response = await post(createFixture(), "Echo", '{"fieldOfTomorrow":1}', {
    "connect-protocol-version": "1",
  });
  assert.equal(response.status, 200);
});

test("connect: bodies and messages beyond the limit", async () => {
  const fixture = createFixture({ limits: { bodyBytesMax: 1000 } });
  const large = JSON.stringify({ payload: btoa("x".repeat(2000)) });
  const declared = await post(fixture, "Echo", large, { "content-length": String(large.length) });
  assert.equal(declared.status, 413);
  const report = await json<ErrorReport>(declared);
  assert.equal(report.code, "resource_exhausted");
  assert.match(report.hint ?? "", /admin\.body_bytes_max/);
  // Without a length the body is counted while it is read.
  const undeclared = await fixture.admin.app.fetch(
    new Request(`http://localhost${base}/Echo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: new Blob([large]).stream(),
      duplex: "half",
    } as RequestInit),
  );
  assert.equal(undeclared.status, 413);
  const counted = await json<ErrorReport>(undeclared);
  assert.equal(counted.code, "resource_exhausted");
  assert.equal(counted.message, "the body is larger than 1000 bytes");
  assert.match(counted.hint ?? "", /admin\.body_bytes_max/);
  assert.match(
    fixture.metrics.expose("prometheus"),
    /^covey_limit_hit_total\{limit="admin_body_bytes"\} 2$/m,
  );
  const client = clientOf(fixture, true);
  const chat = client.chat((async function* () {
    yield { payload: new Uint8Array(500) };
    yield { payload: new Uint8Array(5000) };
  })());
  await assert.rejects(async () => {
    for await (const _ of chat);
  }, (error) => error instanceof ConnectError && error.code === Code.ResourceExhausted);
  assert.equal(callsActive(fixture), "0");
});

test("connect: a request that never arrives as a whole gives up its place", async () => {
  const fixture = createFixture();
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(encode("{")),
    cancel: () => {
      cancelled = true;
    },
  });
  const call = fixture.admin.app.fetch(
    new Request(`http://localhost${base}/Echo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      duplex: "half",
    } as RequestInit),
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(callsActive(fixture), "1");
  fixture.clock.advance(30_000);
  const response = await call;
  assert.equal(response.status, 504);
  assert.match((await json<ErrorReport>(response)).message, /did not arrive within 30000 ms/);
  assert.equal(callsActive(fixture), "0");
  assert.ok(cancelled);
});

test("connect: unknown services and methods, wrong verbs", async () => {
  const fixture = createFixture();
  const service = await fixture.admin.app.request("/covey.test.v1.Nope/Echo", { method: "POST" });
  assert.equal(service.status, 404);
  const method = await post(fixture, "Ecco", "{}");
  assert.equal(method.status, 404);
  const report = await json<ErrorReport>(method);
  assert.equal(report.code, "unimplemented");
  assert.match(report.hint ?? "", /methods: Echo, Count/);
  for (const verb of ["GET", "HEAD", "PUT", "DELETE"]) {
    const response = await fixture.admin.app.request(`${base}/Echo`, {
      method: verb,
      headers: { "content-type": "application/json" },
    });
    assert.equal(response.status, 405, verb);
    assert.equal(response.headers.get("allow"), "POST");
    if (verb === "HEAD") continue;
    assert.match((await json<ErrorReport>(response)).hint ?? "", /^curl -H .*TestService\/Echo$/);
  }
  const stream = await post(fixture, "Count", "{}");
  assert.equal(stream.status, 415);
  assert.match((await json<ErrorReport>(stream)).hint ?? "", /this method streams/);
});

test("connect: services come and go while the endpoint runs", async () => {
  const fixture = createFixture();
  assert.equal((await post(fixture, "Nothing", "{}")).status, 200);
  fixture.registry.remove(TestService);
  assert.equal((await post(fixture, "Nothing", "{}")).status, 404);
  const other = () => {
    throw new ConnectError("passed on", Code.AlreadyExists);
  };
  const methods = TestService.methods.map(({ localName }) => [localName, other]);
  fixture.registry.add(TestService, Object.fromEntries(methods));
  const again = await post(fixture, "Nothing", "{}");
  assert.equal(again.status, 409);
  assert.deepEqual(await json(again), { code: "already_exists", message: "passed on" });
});

test("connect: calls in flight are bounded", async () => {
  const fixture = createFixture({ limits: { callsMax: 2 } });
  const leaving = new AbortController();
  const client = clientOf(fixture, true);
  const calls = [1, 2].map(() =>
    client.echo({ delayMillis: 60_000 }, { signal: leaving.signal }).catch(() => {})
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(callsActive(fixture), "2");
  const third = await post(fixture, "Nothing", "{}");
  assert.equal(third.status, 429);
  assert.equal(third.headers.get("retry-after"), "1");
  leaving.abort();
  await Promise.all(calls);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await post(fixture, "Nothing", "{}")).status, 200);
  assert.match(fixture.metrics.expose("prometheus"), /limit="admin_calls"\} 1$/m);
});

test("connect: a stop ends calls that would go on for ever, with a reason", async () => {
  const fixture = createFixture();
  const call = clientOf(fixture, true).echo({ delayMillis: 60_000 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  const stopped = fixture.admin.stop(1000);
  fixture.clock.advance(1000);
  await assert.rejects(
    call,
    (error) => error instanceof ConnectError && error.code === Code.Unavailable,
  );
  await stopped;
});
