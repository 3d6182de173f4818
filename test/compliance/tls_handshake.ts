/** TLS handshakes that do not come to an end, and sessions that are taken up again. */
import assert from "node:assert/strict";
import type { Address } from "../../src/base/address.ts";
import type { Listener } from "../../src/runtime/port.ts";
import { compliance, type Harness, kindOf, pass, within, type World } from "./harness.ts";
import { anyTcp, connectTo, listenOn, Probe, type Side, text } from "./probe.ts";
import { dialInVain, tlsOptions } from "./tls_support.ts";

/** Declares the cases of handshakes that hang. */
export function handshakeCases(harness: Harness): void {
  compliance(harness, "tls: who says nothing is cut, and holds up nobody", async (world) => {
    const { runtime } = world;
    const { tls, server, listener } = await listenSecurely(world, {
      handshakeMs: 300,
      connectionsMax: 4,
    });
    const silent = new Probe(runtime);
    const sides: Side[] = [];
    for (let index = 0; index < 3; index++) {
      sides.push(await connectTo(runtime, listener.address, silent));
    }
    // Three hang in the middle of it, and the fourth is served at once.
    const client = new Probe(runtime);
    const near = await connectTo(runtime, listener.address, client, { tls });
    near.connection.write(text("hello"));
    const far = await server.side();
    await server.until("the bytes", () => far.received === 5);
    // Those in the middle of it have their places, so that they cost no more than any others.
    const fifth = kindOf(connectTo(runtime, listener.address, client, { tls }));
    assert.notEqual(await fifth, "no error");
    assert.equal(listener.refused, 1);
    await silent.until("the cut", () => sides.every((side) => isOver(side)));
    for (const side of sides) side.connection.close();
    await failed(world, listener, 3);
    assert.equal(listener.connections, 1);
    const again = await connectTo(runtime, listener.address, client, { tls });
    await server.side(1);
    assert.equal(near.count("end") + near.count("close"), 0, "a good one was cut as well");
    for (const side of [near, again]) side.connection.abort();
    listener.stop();
  }, "tls");

  compliance(
    harness,
    "tls: a handshake that is spun out byte by byte is cut all the same",
    async (world) => {
      const { runtime } = world;
      const { server, listener } = await listenSecurely(world, { handshakeMs: 300 });
      const slow = new Probe(runtime);
      const side = await connectTo(runtime, listener.address, slow);
      // The head of a record that will hold a ClientHello of 16 KB (RFC 8446 section 5.1).
      const hello = new Uint8Array(0x4005);
      hello.set([22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]);
      let at = 0;
      const next = (): void => {
        if (isOver(side)) return;
        side.connection.write(hello, at++, 1);
        runtime.clock.timer(20, next, undefined);
      };
      next();
      await slow.until("the cut", () => isOver(side));
      side.connection.close();
      await failed(world, listener, 1);
      assert.equal(server.sides.length, 0);
      listener.stop();
    },
    "tls",
    "certificateless",
  );

  compliance(harness, "tls: rogues among good ones deliver nothing", async (world) => {
    const { runtime } = world;
    const set = await world.certificates!();
    const { tls, server, listener } = await listenSecurely(world, {});
    const rogues = new Probe(runtime);
    const client = new Probe(runtime);
    const dials: Promise<unknown>[] = [];
    for (let index = 0; index < 10; index++) {
      dials.push(dialInVain(world, rogues, tlsOptions(set, set.rogue), listener.address));
      dials.push(dialInVain(world, rogues, tlsOptions(set, set.expired), listener.address));
      dials.push(
        connectTo(runtime, listener.address, client, { tls }).then((side) => {
          side.connection.write(text("good"));
        }),
      );
    }
    await Promise.all(dials);
    await server.until("the good ones", () => {
      return server.sides.length === 10 && server.sides.every((side) => side.received === 4);
    });
    await failed(world, listener, 20);
    assert.equal(server.sides.length, 10);
    for (const side of rogues.sides) assert.equal(side.received, 0);
    for (const side of server.sides) {
      assert.equal(side.connection.peer.certificate?.commonName, "good");
    }
    for (const side of client.sides) side.connection.abort();
    listener.stop();
  }, "tls");
}

/** Declares the cases of session tickets. */
export function resumptionCases(harness: Harness): void {
  for (const version of ["TLSv1.3", "TLSv1.2"] as const) {
    compliance(
      harness,
      `tls: a session is not resumed with a certificate that has expired, ${version}`,
      async (world) => {
        const { server, listener } = await listenSecurely(world, {}, greeting);
        const resume = await sessionOf(world, listener.address, version);
        const { now } = Date;
        // The certificate is good for a day. The TLS library has a clock of its own, and does not
        // look at it when a session is resumed.
        Date.now = () => now.call(Date) + 2 * 86_400_000;
        try {
          assert.deepEqual(await resume(listener.address), { greeted: false });
        } finally {
          Date.now = now;
        }
        await failed(world, listener, 1);
        assert.equal(server.sides.length, 2);
        listener.stop();
      },
      "tls",
      "resumption",
    );

    compliance(
      harness,
      `tls: a session is not resumed under other authorities, ${version}`,
      async (world) => {
        const set = await world.certificates!();
        const { server, listener } = await listenSecurely(world, {}, greeting);
        const resume = await sessionOf(world, listener.address, version);
        // Of another listener of the process, and of the same one after its renewal.
        const tls = { ...tlsOptions(set, set.good), authorities: set.otherAuthorities };
        const strict = new Probe(world.runtime, greeting);
        const other = await world.runtime.net.listen(listenOn(anyTcp, strict, { tls }));
        assert.deepEqual(await resume(other.address), { greeted: false });
        listener.renewTls(tls);
        assert.deepEqual(await resume(listener.address), { greeted: false });
        await failed(world, listener, 1);
        await failed(world, other, 1);
        assert.equal(server.sides.length, 2);
        assert.equal(strict.sides.length, 0);
        other.stop();
        listener.stop();
      },
      "tls",
      "resumption",
    );
  }
}

const greeting = { open: (side: Side) => void side.connection.write(text("greeting\n")) };

async function listenSecurely(
  world: World,
  more: { handshakeMs?: number; connectionsMax?: number },
  hooks = {},
) {
  const set = await world.certificates!();
  const tls = tlsOptions(set, set.good);
  const server = new Probe(world.runtime, hooks);
  const listener = await world.runtime.net.listen(listenOn(anyTcp, server, { tls, ...more }));
  return { tls, server, listener };
}

function isOver(side: Side): boolean {
  return side.count("end") + side.count("close") > 0;
}

/** Waits until the listener has counted so many; it tells nobody when it does. */
async function failed({ runtime }: World, listener: Listener, count: number): Promise<void> {
  const wait = async (): Promise<void> => {
    while (listener.handshakesFailed < count) await pass(runtime, 10);
  };
  await within(runtime, `${count} handshakes to fail`, wait());
  assert.equal(listener.handshakesFailed, count);
}

/** Makes a session and sees that it can be resumed. The answer resumes it elsewhere, or later. */
async function sessionOf(
  world: World,
  address: Address,
  version: "TLSv1.3" | "TLSv1.2",
): Promise<(address: Address) => Promise<{ greeted: boolean }>> {
  const set = await world.certificates!();
  const client = await world.resumingClient!(set, version);
  const first = await within(world.runtime, "the first session", client(address));
  assert.deepEqual(first, { greeted: true, resumed: false });
  const second = await within(world.runtime, "the second", client(address));
  // Were it not resumed here, the cases would show nothing.
  assert.deepEqual(second, { greeted: true, resumed: true });
  return async (where) => {
    const { greeted } = await within(world.runtime, "the answer", client(where));
    return { greeted };
  };
}
