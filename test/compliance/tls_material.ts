/** TLS: one's own certificate and key, and their renewal. */
import assert from "node:assert/strict";
import type { TlsOptions } from "../../src/runtime/port.ts";
import { compliance, type Harness, kindOf, pass } from "./harness.ts";
import { anyTcp, connectPair, connectTo, listenOn, Probe, text } from "./probe.ts";
import { dialInVain, tlsOptions } from "./tls_support.ts";

/** Declares the cases of certificates, keys and authorities of one's own. */
export function materialCases(harness: Harness): void {
  compliance(
    harness,
    "tls: own material that is none is refused at once",
    async (world) => {
      const { runtime } = world;
      const set = await world.certificates!();
      const server = new Probe(runtime);
      const client = new Probe(runtime);
      const tls = tlsOptions(set, set.good);
      const listener = await runtime.net.listen(listenOn(anyTcp, server, { tls }));
      const { address } = listener;
      const wrong: Record<string, TlsOptions> = {
        "no certificate": { ...tls, certificate: "not a certificate" },
        "no key": { ...tls, key: "not a key" },
        "another's key": { ...tls, key: set.renewed.key },
        "no authority": { ...tls, authorities: "" },
      };
      for (const [what, bad] of Object.entries(wrong)) {
        const listening = runtime.net.listen(listenOn(anyTcp, server, { tls: bad }));
        assert.equal(await kindOf(listening), "invalid", `listen: ${what}`);
        const dialling = connectTo(runtime, address, client, { tls: bad });
        assert.equal(await kindOf(dialling), "invalid", `connect: ${what}`);
        assert.throws(() => listener.renewTls(bad), { name: "NetError", kind: "invalid" }, what);
      }
      // What was there before still is.
      const near = await connectTo(runtime, address, client, { tls });
      assert.equal(near.connection.peer.certificate?.commonName, "good");
      near.connection.abort();
      listener.stop();
    },
    "tls",
    "tlsMaterial",
  );
}

/** Declares the cases of renewal. */
export function renewalCases(harness: Harness): void {
  compliance(harness, "tls: renewal serves new connections, old ones go on", async (world) => {
    const { runtime } = world;
    const set = await world.certificates!();
    const pair = await connectPair(runtime, anyTcp, {
      serverTls: tlsOptions(set, set.good),
      clientTls: tlsOptions(set, set.good),
      serverHooks: { data: (side, chunk) => void side.connection.write(chunk) },
    });
    assert.equal(pair.near.connection.peer.certificate?.commonName, "good");
    const { address } = pair.listener;
    const tls = tlsOptions(set, set.good);
    pair.listener.renewTls(tlsOptions(set, set.renewed));
    assert.deepEqual(pair.listener.address, address);
    const second = await connectTo(runtime, address, pair.client, { tls });
    assert.equal(second.connection.peer.certificate?.commonName, "renewed");
    pair.near.connection.write(text("still here"));
    second.connection.write(text("here too"));
    await pair.client.until("both echoes", () => pair.near.received + second.received === 18);
    assert.equal(pair.listener.connections, 2);
    pair.near.connection.close();
    second.connection.close();
    pair.listener.stop();
    await assert.rejects(connectTo(runtime, address, pair.client, { tls }), { kind: "refused" });
  }, "tls");

  compliance(harness, "tls: dials during renewals are all served", async (world) => {
    const { runtime } = world;
    const set = await world.certificates!();
    const server = new Probe(runtime);
    const tls = tlsOptions(set, set.good);
    const listener = await runtime.net.listen(listenOn(anyTcp, server, { tls }));
    const client = new Probe(runtime);
    const dials: Promise<unknown>[] = [];
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 4; index++) {
        dials.push(connectTo(runtime, listener.address, client, { tls }));
      }
      // In the same turn as the dials, which are in the backlog then, and a little later.
      if (round % 2 === 0) await pass(runtime, 3);
      listener.renewTls(tlsOptions(set, round % 2 === 0 ? set.renewed : set.good));
    }
    await Promise.all(dials);
    assert.equal(client.sides.length, 20);
    await server.side(19);
    for (const side of client.sides) side.connection.abort();
    listener.stop();
  }, "tls");

  compliance(
    harness,
    "tls: renewal on a unix socket keeps the path",
    async (world) => {
      const { runtime } = world;
      const set = await world.certificates!();
      const address = { kind: "unix", path: `${world.directory}/socket` } as const;
      const client = new Probe(runtime);
      const tls = tlsOptions(set, set.good, { serverName: "localhost" });
      const listener = await runtime.net.listen(listenOn(address, new Probe(runtime), { tls }));
      const seen: (string | undefined)[] = [];
      for (const pair of [set.renewed, set.good, set.renewed]) {
        listener.renewTls(tlsOptions(set, pair));
        const side = await connectTo(runtime, address, client, { tls });
        seen.push(side.connection.peer.certificate?.commonName);
        side.connection.abort();
      }
      assert.deepEqual(seen, ["renewed", "good", "renewed"]);
      assert.deepEqual(await runtime.disk.list(world.directory), ["socket"]);
      listener.stop();
      assert.deepEqual(await runtime.disk.list(world.directory), []);
    },
    "tls",
    "unixFiles",
  );

  compliance(harness, "tls: renewal brings its own verifyPeer, and needs TLS", async (world) => {
    const { runtime } = world;
    const set = await world.certificates!();
    const server = new Probe(runtime);
    const tls = tlsOptions(set, set.good);
    const listener = await runtime.net.listen(listenOn(anyTcp, server, { tls }));
    const client = new Probe(runtime);
    listener.renewTls({ ...tls, verifyPeer: () => "closed for everybody" });
    await dialInVain(world, client, tls, listener.address);
    await pass(runtime, 30);
    assert.equal(server.sides.length, 0);
    assert.equal(listener.handshakesFailed, 1);
    listener.stop();
    const plain = await runtime.net.listen(listenOn(anyTcp, server));
    assert.throws(() => plain.renewTls(tls), { name: "NetError", kind: "invalid" });
    plain.stop();
  }, "tls");
}
