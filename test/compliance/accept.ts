/** Listeners: their limits, their counts, and how they end. */
import assert from "node:assert/strict";
import type { Address } from "../../src/base/address.ts";
import { keepAliveMs, type Runtime, type TlsOptions } from "../../src/runtime/port.ts";
import { compliance, type Harness, pass } from "./harness.ts";
import { connectTo, listenOn, Probe, type Side, text } from "./probe.ts";
import { pairOn, type Transport } from "./transport.ts";

/** A connection over the limit: the listener closes it before it opened there. */
async function refusedOnce(
  runtime: Runtime,
  address: Address,
  tls: TlsOptions | undefined,
): Promise<void> {
  const client = new Probe(runtime);
  let side: Side;
  try {
    side = await connectTo(runtime, address, client, { tls });
  } catch {
    // With TLS the close comes in the middle of the handshake.
    return;
  }
  await client.until("the end", () => side.count("end") + side.count("close") > 0);
  side.connection.close();
}

/** Declares the cases of a listener. */
export function acceptCases(harness: Harness, transport: Transport): void {
  const { needs } = transport;
  const label = `net ${transport.name}`;

  compliance(harness, `${label}: connectionsMax is kept and counted`, async (world) => {
    const { runtime } = world;
    const tls = await transport.tls?.(world);
    const server = new Probe(runtime);
    const listener = await runtime.net.listen(
      listenOn(transport.address(world), server, { connectionsMax: 2, tls }),
    );
    const client = new Probe(runtime);
    const first = await connectTo(runtime, listener.address, client, { tls });
    await connectTo(runtime, listener.address, client, { tls });
    await server.side(1);
    await refusedOnce(runtime, listener.address, tls);
    assert.equal(listener.connections, 2);
    assert.equal(listener.refused, 1);
    assert.equal(server.sides.length, 2, "the refused one opened");
    first.connection.close();
    await server.until("a free place", () => server.sides[0].count("end") === 1);
    server.sides[0].connection.close();
    await server.until("a free place", () => server.sides[0].count("close") === 1);
    assert.equal(listener.connections, 1);
    await connectTo(runtime, listener.address, client, { tls });
    await server.side(2);
    assert.equal(listener.connections, 2);
    assert.equal(listener.refused, 1);
    for (const side of server.sides) side.connection.abort();
    listener.stop();
  }, ...needs);

  compliance(harness, `${label}: 100 connections, one open and one close each`, async (world) => {
    const { runtime } = world;
    const server = new Probe(runtime, {
      data: (side, chunk) => void side.connection.write(chunk),
      end: (side) => side.connection.close(),
    });
    const client = new Probe(runtime, {
      open: (side) => void side.connection.write(text(`hello ${client.sides.length}`)),
      data: (side) => side.connection.shutdown(),
    });
    const tls = await transport.tls?.(world);
    const listener = await runtime.net.listen(listenOn(transport.address(world), server, { tls }));
    const dials: Promise<unknown>[] = [];
    for (let wave = 0; wave < 4; wave++) {
      for (let index = 0; index < 25; index++) {
        dials.push(connectTo(runtime, listener.address, client, { tls }));
      }
      await Promise.all(dials);
    }
    await client.until("all closed", () => client.sides.every((side) => side.count("close") === 1));
    await server.until("all closed", () => server.sides.every((side) => side.count("close") === 1));
    assert.equal(client.sides.length, 100);
    assert.equal(server.sides.length, 100);
    for (const side of [...client.sides, ...server.sides]) {
      assert.deepEqual(side.events, ["open", "data", "end", "close"]);
      assert.equal(side.error, undefined);
    }
    assert.equal(listener.connections, 0);
    assert.equal(listener.refused, 0);
    listener.stop();
  }, ...needs);

  compliance(harness, `${label}: stop ends accepting, not connections`, async (world) => {
    const { runtime } = world;
    const pair = await pairOn(transport, world);
    pair.listener.stop();
    pair.listener.stop();
    await pair.near.send(text("still here"));
    await pair.server.until("data", () => pair.far.received === 10);
    const again = new Probe(runtime);
    await assert.rejects(connectTo(runtime, pair.listener.address, again), { name: "NetError" });
    const listener = await runtime.net.listen(listenOn(pair.listener.address, again));
    assert.deepEqual(listener.address, pair.listener.address);
    listener.stop();
    pair.near.connection.close();
  }, ...needs);

  compliance(harness, `${label}: one address, one listener`, async (world) => {
    const { runtime } = world;
    const tls = await transport.tls?.(world);
    const probe = new Probe(runtime);
    const listener = await runtime.net.listen(listenOn(transport.address(world), probe, { tls }));
    await assert.rejects(runtime.net.listen(listenOn(listener.address, probe)), { kind: "in-use" });
    // The one that was first must not have suffered.
    const client = new Probe(runtime);
    const near = await connectTo(runtime, listener.address, client, { tls });
    assert.deepEqual(near.events, ["open"]);
    near.connection.abort();
    listener.stop();
  }, ...needs);

  if (transport.name !== "unix") {
    compliance(
      harness,
      `${label}: the kernel looks for a peer that is gone`,
      async (world) => {
        const { near, listener } = await pairOn(transport, world);
        assert.ok(listener.address.kind === "tcp");
        let { restsMs, systemMs } = world.keepAlive!(listener.address.port);
        // While bytes wait for their acknowledgement, another timer runs.
        for (let round = 0; round < 100 && restsMs.length < 2; round++) {
          await pass(world.runtime, 10);
          ({ restsMs, systemMs } = world.keepAlive!(listener.address.port));
        }
        assert.equal(restsMs.length, 2);
        const mostMs = world.runtime.name === "deno" ? systemMs : keepAliveMs;
        // The kernel's timers are coarse: the longer, the coarser.
        for (const restMs of restsMs) {
          assert.ok(restMs > 0 && restMs <= mostMs * 1.02, `${restMs} of ${mostMs}`);
        }
        near.connection.abort();
        listener.stop();
      },
      ...needs,
      "kernelTimers",
    );
  }

  compliance(harness, `${label}: both ends know the addresses`, async (world) => {
    const { near, far, listener, server } = await pairOn(transport, world);
    assert.deepEqual(near.connection.peer.address, listener.address);
    assert.deepEqual(far.connection.peer.local, listener.address);
    assert.deepEqual(far.connection.peer.address, near.connection.peer.local);
    const secured = transport.tls !== undefined;
    assert.equal(far.connection.peer.certificate !== undefined, secured);
    assert.equal(near.connection.peer.certificate !== undefined, secured);
    assert.equal(far.connection.peer.credentials, undefined);
    if (listener.address.kind === "tcp") assert.ok(listener.address.port > 0);
    const { address } = far.connection.peer;
    near.connection.abort();
    await server.until("the end", () => far.count("end") + far.count("close") > 0);
    far.connection.close();
    await server.until("close", () => far.count("close") === 1);
    assert.deepEqual(far.connection.peer.address, address, "forgotten after the end");
    listener.stop();
  }, ...needs);
}
