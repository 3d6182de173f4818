/** Byte streams: what `Net.connect` and `Connection` promise on every transport. */
import assert from "node:assert/strict";
import { acceptCases } from "./accept.ts";
import { compliance, type Harness, pass, pattern, sameBytes } from "./harness.ts";
import { connectTo, listenOn, Probe, text } from "./probe.ts";
import { pairOn, type Transport, transports } from "./transport.ts";

const mebibyte = 1 << 20;

/** Declares the cases of this area. */
export function netCompliance(harness: Harness): void {
  for (const transport of transports) {
    streamCases(harness, transport);
    halfCloseCases(harness, transport);
    endCases(harness, transport);
    acceptCases(harness, transport);
  }
}

function streamCases(harness: Harness, transport: Transport): void {
  const { needs } = transport;
  const label = `net ${transport.name}`;

  compliance(harness, `${label}: short writes, drain, and 8 MiB byte for byte`, async (world) => {
    const { runtime } = world;
    const pair = await pairOn(transport, world);
    const { near, far } = pair;
    far.connection.pause();
    const bytes = pattern(8 * mebibyte);
    // Offered again and again, a connection whose peer does not read must stop taking.
    let taken = 0;
    for (;;) {
      const more = near.connection.write(bytes, taken);
      taken += more;
      if (more === 0) break;
      assert.ok(taken < bytes.length, "a connection that nobody reads takes all that is offered");
      await pass(runtime, 20);
    }
    far.connection.resume();
    await near.send(bytes.subarray(taken));
    await pair.server.until("all bytes", () => far.received === bytes.length);
    sameBytes(far.bytes(), bytes, "received");
    assert.ok(near.count("drain") > 0, "a short write is followed by drain");
    near.connection.close();
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: the array may be reused once write returns`, async (world) => {
    const pair = await pairOn(transport, world);
    const whole = pattern(3 * mebibyte);
    const array = new Uint8Array(70_000);
    for (let at = 0; at < whole.length;) {
      const piece = whole.subarray(at, at + array.length);
      array.set(piece);
      const taken = pair.near.connection.write(array, 0, piece.length);
      array.fill(0xee);
      at += taken;
      if (taken === piece.length) continue;
      const drains = pair.near.count("drain");
      await pair.client.until("drain", () => pair.near.count("drain") > drains);
    }
    await pair.server.until("all bytes", () => pair.far.received === whole.length);
    sameBytes(pair.far.bytes(), whole, "received");
    pair.near.connection.close();
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: write takes a part of an array that is a view`, async (world) => {
    const pair = await pairOn(transport, world);
    const bytes = pattern(100).subarray(10, 90);
    assert.equal(pair.near.connection.write(bytes, 80), 0);
    assert.equal(pair.near.connection.write(bytes, 5, 0), 0);
    assert.equal(pair.near.connection.write(new Uint8Array(0)), 0);
    assert.equal(pair.near.connection.write(bytes, 70), 10);
    assert.equal(pair.near.connection.write(bytes, 5, 20), 20);
    assert.equal(pair.near.connection.write(bytes), 80);
    await pair.server.until("the bytes", () => pair.far.received === 110);
    const expected = [...bytes.subarray(70), ...bytes.subarray(5, 25), ...bytes];
    sameBytes(pair.far.bytes(), new Uint8Array(expected), "received");
    assert.equal(pair.near.count("drain"), 0, "drain without a short write");
    pair.near.connection.close();
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: both directions at once`, async (world) => {
    const pair = await pairOn(transport, world);
    const out = pattern(3 * mebibyte, 2);
    const back = pattern(3 * mebibyte, 3);
    await Promise.all([pair.near.send(out), pair.far.send(back)]);
    await pair.server.until("bytes there", () => pair.far.received === out.length);
    await pair.client.until("bytes back", () => pair.near.received === back.length);
    sameBytes(pair.far.bytes(), out, "there");
    sameBytes(pair.near.bytes(), back, "back");
    pair.near.connection.close();
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: pause stops data, resume brings all of it`, async (world) => {
    const { runtime } = world;
    const pair = await pairOn(transport, world);
    const { near, far } = pair;
    const bytes = pattern(2 * mebibyte);
    far.connection.pause();
    const sent = near.send(bytes);
    await pass(runtime, 50);
    const before = far.received;
    await pass(runtime, 100);
    assert.equal(far.received, before, "data while paused");
    assert.ok(before < bytes.length, "pause held nothing back");
    far.connection.resume();
    await sent;
    await pair.server.until("the rest", () => far.received === bytes.length);
    sameBytes(far.bytes(), bytes, "received");
    near.connection.close();
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: pause from within data, many times`, async (world) => {
    const { runtime } = world;
    let pauses = 0;
    const pair = await pairOn(transport, world, {
      serverHooks: {
        data(side) {
          pauses++;
          side.connection.pause();
          runtime.clock.timer(1, () => side.connection.resume(), undefined);
        },
      },
    });
    const bytes = pattern(mebibyte);
    await pair.near.send(bytes);
    await pair.server.until("all bytes", () => pair.far.received === bytes.length);
    sameBytes(pair.far.bytes(), bytes, "received");
    assert.ok(pauses > 1);
    pair.near.connection.close();
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: no callback runs inside a method`, async (world) => {
    let inside = false;
    const calledInside: string[] = [];
    const watch = (event: string) => () => {
      if (inside) calledInside.push(event);
    };
    const hooks = { data: watch("data"), end: watch("end") };
    const pair = await pairOn(transport, world, { clientHooks: hooks });
    const { near, far } = pair;
    const during = (work: () => void): void => {
      const events = near.events.length;
      inside = true;
      work();
      inside = false;
      assert.equal(near.events.length, events, `callbacks within a method: ${near.events}`);
    };
    far.connection.write(text("hello"));
    during(() => near.connection.pause());
    during(() => near.connection.write(pattern(mebibyte)));
    during(() => near.connection.resume());
    await pair.client.until("data", () => near.received === 5);
    during(() => near.connection.shutdown());
    during(() => near.connection.close());
    during(() => near.connection.abort());
    await pair.client.until("close", () => near.count("close") === 1);
    assert.deepEqual(calledInside, []);
    pair.listener.stop();
  }, ...needs);
}

function halfCloseCases(harness: Harness, transport: Transport): void {
  const { needs } = transport;
  const label = `net ${transport.name}`;

  compliance(
    harness,
    `${label}: the dialler half-closes, the answer still comes`,
    async (world) => {
      const answer = pattern(mebibyte);
      const pair = await pairOn(transport, world, {
        serverHooks: { end: (side) => void side.send(answer).then(() => side.connection.close()) },
      });
      const { near, far } = pair;
      await near.send(text("question"));
      near.connection.shutdown();
      assert.equal(near.connection.write(text("late")), 0, "write after shutdown");
      await pair.client.until("the end", () => near.count("close") === 1);
      sameBytes(near.bytes(), answer, "answer");
      sameBytes(far.bytes(), text("question"), "question");
      assert.deepEqual(near.events.filter((event) => event !== "drain"), [
        "open",
        "data",
        "end",
        "close",
      ]);
      assert.equal(near.error, undefined, "an orderly end has no error");
      await pair.server.until("close", () => far.count("close") === 1);
      assert.equal(far.error, undefined);
      pair.listener.stop();
    },
    ...needs,
  );

  compliance(harness, `${label}: the listener half-closes first`, async (world) => {
    const pair = await pairOn(transport, world);
    const { near, far } = pair;
    far.connection.write(text("greeting"));
    far.connection.shutdown();
    await pair.client.until("the peer's end", () => near.count("end") === 1);
    sameBytes(near.bytes(), text("greeting"), "greeting");
    await pass(world.runtime, 30);
    assert.equal(near.count("close"), 0, "a half-closed connection stays open");
    const bytes = pattern(mebibyte);
    await near.send(bytes);
    near.connection.close();
    await pair.server.until("close", () => far.count("close") === 1);
    sameBytes(far.bytes(), bytes, "after the own end");
    assert.equal(far.error, undefined);
    assert.equal(far.count("end"), 1);
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: both half-close, then both are closed`, async (world) => {
    const pair = await pairOn(transport, world);
    const { near, far } = pair;
    near.connection.shutdown();
    near.connection.shutdown();
    await pair.server.until("end", () => far.count("end") === 1);
    far.connection.shutdown();
    await pair.client.until("close", () => near.count("close") === 1);
    await pair.server.until("close", () => far.count("close") === 1);
    assert.deepEqual(near.events, ["open", "end", "close"]);
    assert.deepEqual(far.events, ["open", "end", "close"]);
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: half-close after a short write loses nothing`, async (world) => {
    const pair = await pairOn(transport, world);
    const { near, far } = pair;
    far.connection.pause();
    const bytes = pattern(16 * mebibyte);
    const taken = near.connection.write(bytes);
    assert.ok(taken > 0 && taken < bytes.length, `took ${taken}`);
    near.connection.shutdown();
    await pass(world.runtime, 20);
    assert.equal(far.count("end"), 0, "the end overtakes the bytes");
    far.connection.resume();
    await pair.server.until("end", () => far.count("end") === 1);
    sameBytes(far.bytes(), bytes.subarray(0, taken), "taken");
    assert.equal(near.count("drain"), 0, "drain after shutdown");
    far.connection.close();
    await pair.client.until("close", () => near.count("close") === 1);
    pair.listener.stop();
  }, ...needs);
}

function endCases(harness: Harness, transport: Transport): void {
  const { needs } = transport;
  const label = `net ${transport.name}`;

  compliance(harness, `${label}: close delivers what was taken`, async (world) => {
    const pair = await pairOn(transport, world);
    const { near, far } = pair;
    far.connection.pause();
    const bytes = pattern(16 * mebibyte);
    const taken = near.connection.write(bytes);
    assert.ok(taken > 0 && taken < bytes.length, `took ${taken}`);
    near.connection.close();
    assert.equal(near.connection.write(bytes), 0, "write after close");
    far.connection.resume();
    await pair.server.until("end", () => far.count("end") + far.count("close") > 0);
    sameBytes(far.bytes(), bytes.subarray(0, taken), "taken");
    far.connection.close();
    await pair.client.until("close", () => near.count("close") === 1);
    await pair.server.until("close", () => far.count("close") === 1);
    assert.equal(near.error, undefined, "an own close is no error");
    assert.equal(far.error, undefined, "the peer's close is no error");
    assert.equal(near.count("drain"), 0, "drain after close");
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: abort ends a close that nobody reads`, async (world) => {
    const pair = await pairOn(transport, world);
    const { near, far } = pair;
    far.connection.pause();
    for (const bytes = pattern(mebibyte); near.connection.write(bytes) > 0;);
    near.connection.close();
    near.connection.abort();
    await pair.client.until("close", () => near.count("close") === 1);
    assert.equal(near.error, undefined);
    far.connection.abort();
    await pair.server.until("close", () => far.count("close") === 1);
    pair.listener.stop();
  }, ...needs);

  compliance(harness, `${label}: abort ends both sides`, async (world) => {
    const pair = await pairOn(transport, world);
    const { near, far } = pair;
    near.connection.write(text("some"));
    await pair.server.until("data", () => far.received === 4);
    near.connection.abort();
    near.connection.abort();
    near.connection.close();
    assert.equal(near.connection.write(text("late")), 0);
    await pair.client.until("close", () => near.count("close") === 1);
    assert.equal(near.error, undefined, "an own abort is no error");
    await pair.server.until("the end", () => far.count("close") + far.count("end") > 0);
    far.connection.close();
    await pair.server.until("close", () => far.count("close") === 1);
    await pass(world.runtime, 30);
    assert.equal(near.count("close"), 1);
    assert.equal(far.count("close"), 1);
    assert.equal(near.count("open"), 1);
    pair.listener.stop();
  }, ...needs);

  compliance(
    harness,
    `${label}: what is written to a peer that is gone ends with close`,
    async (world) => {
      const pair = await pairOn(transport, world);
      const { near, far } = pair;
      near.connection.close();
      await pair.server.until("the peer's end", () => far.count("end") + far.count("close") > 0);
      // The first write may still be taken; the answer to it is what tells.
      const until = pair.server.until("close", () => far.count("close") === 1);
      for (let round = 0; round < 50 && far.count("close") === 0; round++) {
        far.connection.write(pattern(10_000));
        await pass(world.runtime, 10);
      }
      await until;
      assert.ok(far.error === undefined || far.error.kind === "reset", `${far.error?.kind}`);
      assert.equal(far.connection.write(text("late")), 0);
      pair.listener.stop();
    },
    ...needs,
  );

  compliance(harness, `${label}: close from within open and data`, async (world) => {
    const { runtime } = world;
    const tls = await transport.tls?.(world);
    const server = new Probe(runtime, { open: (side) => side.connection.close() });
    const client = new Probe(runtime);
    const listener = await runtime.net.listen(listenOn(transport.address(world), server, { tls }));
    await connectTo(runtime, listener.address, client, { tls });
    const near = await client.side();
    await client.until("end", () => near.count("end") + near.count("close") > 0);
    near.connection.close();
    await client.until("close", () => near.count("close") === 1);
    const far = await server.side();
    await server.until("close", () => far.count("close") === 1);
    assert.deepEqual(far.events, ["open", "close"]);
    assert.equal(listener.connections, 0);
    listener.stop();
  }, ...needs);
}
