/** Mutual TLS: only a peer whose certificate is good ever delivers or gets a byte. */
import assert from "node:assert/strict";
import type { PeerCertificate } from "../../src/runtime/port.ts";
import { compliance, type Harness, kindOf, pass, pattern, sameBytes } from "./harness.ts";
import {
  anyTcp,
  connectPair,
  connectTo,
  type Hooks,
  listenOn,
  Probe,
  type Side,
  text,
} from "./probe.ts";
import { handshakeCases, resumptionCases } from "./tls_handshake.ts";
import { materialCases, renewalCases } from "./tls_material.ts";
import { assertFacts, dialInVain, tlsOptions } from "./tls_support.ts";

/** Declares the cases of this area. */
export function tlsCompliance(harness: Harness): void {
  goodCases(harness);
  badClientCases(harness);
  badServerCases(harness);
  plainCases(harness);
  handshakeCases(harness);
  resumptionCases(harness);
  materialCases(harness);
  renewalCases(harness);
}

function goodCases(harness: Harness): void {
  compliance(harness, "tls: both sides are shown the other's certificate", async (world) => {
    const set = await world.certificates!();
    const seen: string[] = [];
    const check = (side: string) => (certificate: PeerCertificate): undefined => {
      seen.push(`${side} ${certificate.commonName}`);
    };
    const { near, far, listener } = await connectPair(world.runtime, anyTcp, {
      serverTls: tlsOptions(set, set.renewed, { verifyPeer: check("server sees") }),
      clientTls: tlsOptions(set, set.good, { verifyPeer: check("client sees") }),
    });
    assert.deepEqual(seen.sort(), ["client sees renewed", "server sees good"]);
    assertFacts(near.connection.peer.certificate, set.renewed);
    assertFacts(far.connection.peer.certificate, set.good);
    assert.notEqual(
      near.connection.peer.certificate?.fingerprint,
      far.connection.peer.certificate?.fingerprint,
    );
    assert.equal(listener.handshakesFailed, 0);
    near.connection.abort();
    listener.stop();
  }, "tls");

  compliance(harness, "tls: what is written in open arrives, from both sides", async (world) => {
    const set = await world.certificates!();
    const pair = await connectPair(world.runtime, anyTcp, {
      serverTls: tlsOptions(set, set.good),
      clientTls: tlsOptions(set, set.good),
      serverHooks: { open: (side) => void side.connection.write(text("from the server")) },
      clientHooks: { open: (side) => void side.connection.write(text("from the client")) },
    });
    await pair.client.until("the greeting", () => pair.near.received === 15);
    await pair.server.until("the greeting", () => pair.far.received === 15);
    sameBytes(pair.near.bytes(), text("from the server"), "greeting");
    sameBytes(pair.far.bytes(), text("from the client"), "greeting");
    pair.near.connection.close();
    pair.listener.stop();
  }, "tls");

  compliance(harness, "tls: the name to find can be told", async (world) => {
    const set = await world.certificates!();
    const { near, far, listener } = await connectPair(world.runtime, anyTcp, {
      serverTls: tlsOptions(set, set.wrongName),
      clientTls: tlsOptions(set, set.good, { serverName: "elsewhere.example" }),
    });
    assertFacts(near.connection.peer.certificate, set.wrongName);
    assertFacts(far.connection.peer.certificate, set.good);
    near.connection.abort();
    listener.stop();
  }, "tls");

  compliance(
    harness,
    "tls: over a unix socket, with a name to find",
    async (world) => {
      const set = await world.certificates!();
      const address = { kind: "unix", path: `${world.directory}/socket` } as const;
      const { near, listener } = await connectPair(world.runtime, address, {
        serverTls: tlsOptions(set, set.good),
        clientTls: tlsOptions(set, set.good, { serverName: "localhost" }),
      });
      assertFacts(near.connection.peer.certificate, set.good);
      near.connection.abort();
      const probe = new Probe(world.runtime);
      const tls = tlsOptions(set, set.good);
      assert.equal(await kindOf(connectTo(world.runtime, address, probe, { tls })), "invalid");
      listener.stop();
    },
    "tls",
    "unix",
  );

  compliance(harness, "tls: 8 MiB both ways at once, then half-close", async (world) => {
    const set = await world.certificates!();
    const out = pattern(8 << 20, 5);
    const back = pattern(8 << 20, 6);
    const pair = await connectPair(world.runtime, anyTcp, {
      serverTls: tlsOptions(set, set.good),
      clientTls: tlsOptions(set, set.good),
    });
    await Promise.all([
      pair.near.send(out).then(() => pair.near.connection.shutdown()),
      pair.far.send(back),
    ]);
    await pair.server.until("the end", () => pair.far.count("end") === 1);
    pair.far.connection.close();
    await pair.client.until("close", () => pair.near.count("close") === 1);
    sameBytes(pair.far.bytes(), out, "there");
    sameBytes(pair.near.bytes(), back, "back");
    assert.equal(pair.near.error, undefined);
    pair.listener.stop();
  }, "tls");
}

function badClientCases(harness: Harness): void {
  const greeting: Hooks = { open: (side) => void side.connection.write(text("a secret")) };

  for (const kind of ["rogue", "expired"] as const) {
    compliance(
      harness,
      `tls: a client with a certificate that is ${kind} gets nothing`,
      async (world) => {
        const set = await world.certificates!();
        const server = new Probe(world.runtime, greeting);
        const tls = tlsOptions(set, set.good);
        const listener = await world.runtime.net.listen(listenOn(anyTcp, server, { tls }));
        const client = new Probe(world.runtime);
        await dialInVain(world, client, tlsOptions(set, set[kind]), listener.address);
        await pass(world.runtime, 30);
        assert.equal(server.sides.length, 0, "opened for a bad client");
        assert.equal(listener.handshakesFailed, 1);
        assert.equal(listener.connections, 0);
        // The listener goes on.
        const good = await connectTo(world.runtime, listener.address, client, { tls });
        await client.until("the greeting", () => good.received === 8);
        good.connection.abort();
        listener.stop();
      },
      "tls",
    );
  }

  compliance(harness, "tls: a client that verifyPeer refuses gets nothing", async (world) => {
    const set = await world.certificates!();
    const server = new Probe(world.runtime, greeting);
    const tls = tlsOptions(set, set.good, { verifyPeer: () => "not on the list" });
    const listener = await world.runtime.net.listen(listenOn(anyTcp, server, { tls }));
    const client = new Probe(world.runtime);
    await dialInVain(world, client, tlsOptions(set, set.good), listener.address);
    await pass(world.runtime, 30);
    assert.equal(server.sides.length, 0, "opened for a refused client");
    assert.equal(listener.handshakesFailed, 1);
    listener.stop();
  }, "tls");

  compliance(
    harness,
    "tls: a client without a certificate gets nothing",
    async (world) => {
      const set = await world.certificates!();
      const server = new Probe(world.runtime, greeting);
      const tls = tlsOptions(set, set.good);
      const listener = await world.runtime.net.listen(listenOn(anyTcp, server, { tls }));
      const bytes = await world.connectWithoutCertificate!(listener.address, set.authorities);
      assert.equal(bytes.length, 0, "a client without a certificate got bytes");
      await pass(world.runtime, 30);
      assert.equal(server.sides.length, 0, "opened without a certificate");
      assert.equal(listener.handshakesFailed, 1);
      listener.stop();
    },
    "tls",
    "certificateless",
  );
}

function badServerCases(harness: Harness): void {
  for (const kind of ["rogue", "expired", "wrongName", "trickyName"] as const) {
    compliance(
      harness,
      `tls: a server with a certificate that is ${kind} is refused`,
      async (world) => {
        const set = await world.certificates!();
        const server = new Probe(world.runtime);
        const listener = await world.runtime.net.listen(
          listenOn(anyTcp, server, { tls: tlsOptions(set, set[kind]) }),
        );
        const client = new Probe(world.runtime, {
          open: (side) => void side.connection.write(text("a secret")),
        });
        const tls = tlsOptions(set, set.good);
        for (const serverName of [undefined, "localhost"]) {
          const dial = connectTo(world.runtime, listener.address, client, {
            tls: { ...tls, serverName },
          });
          assert.equal(await kindOf(dial), "tls");
          // The engines' own words leave out the names that are no addresses.
          if (kind === "wrongName" && world.runtime.name !== "sim") {
            await assert.rejects(
              dial,
              /certificate is for DNS:elsewhere\.example, not (127|local)/,
            );
          }
        }
        await pass(world.runtime, 30);
        assert.equal(client.sides.length, 0, "opened to a bad server");
        for (const side of server.sides) assert.equal(side.received, 0, "a bad server got bytes");
        assert.equal(listener.connections, 0);
        listener.stop();
      },
      "tls",
    );
  }

  compliance(harness, "tls: a server that verifyPeer refuses gets nothing", async (world) => {
    const set = await world.certificates!();
    const server = new Probe(world.runtime);
    const listener = await world.runtime.net.listen(
      listenOn(anyTcp, server, { tls: tlsOptions(set, set.good) }),
    );
    const client = new Probe(world.runtime);
    const tls = tlsOptions(set, set.good, { verifyPeer: () => "another cluster's node" });
    await assert.rejects(connectTo(world.runtime, listener.address, client, { tls }), {
      name: "NetError",
      kind: "tls",
      message: /another cluster's node/,
    });
    await pass(world.runtime, 30);
    assert.equal(client.sides.length, 0);
    for (const side of server.sides) assert.equal(side.received, 0);
    listener.stop();
  }, "tls");
}

function plainCases(harness: Harness): void {
  compliance(
    harness,
    "tls: a record that was tampered with ends both sides",
    async (world) => {
      const { runtime } = world;
      const set = await world.certificates!();
      const tls = tlsOptions(set, set.good, { serverName: "localhost" });
      const server = new Probe(runtime);
      const listener = await runtime.net.listen(listenOn(anyTcp, server, { tls }));
      // Somebody in the middle passes everything on, and at some time flips a bit.
      let tamper = false;
      const forward = (to: () => Side, flip: boolean) => (_side: Side, chunk: Uint8Array): void => {
        const bytes = chunk.slice();
        if (flip && tamper) bytes[bytes.length - 1] ^= 1;
        to().connection.write(bytes);
      };
      const outer: Probe = new Probe(runtime, { data: forward(() => inner.sides[0], true) });
      const inner: Probe = new Probe(runtime, { data: forward(() => outer.sides[0], false) });
      const middle = await runtime.net.listen(listenOn(anyTcp, outer));
      await connectTo(runtime, listener.address, inner);
      const client = new Probe(runtime);
      const near = await connectTo(runtime, middle.address, client, { tls });
      const far = await server.side();
      near.connection.write(text("whole"));
      await server.until("the bytes", () => far.received === 5);
      tamper = true;
      near.connection.write(text("tampered"));
      await server.until("close", () => far.count("close") === 1);
      assert.equal(far.received, 5, "tampered bytes were delivered");
      assert.ok(far.error?.kind === "tls" || far.error?.kind === "reset", `${far.error?.kind}`);
      for (const side of [near, inner.sides[0], outer.sides[0]]) side.connection.abort();
      middle.stop();
      listener.stop();
    },
    "tls",
    "certificateless",
  );

  compliance(harness, "tls: plain bytes to a TLS listener open nothing", async (world) => {
    const set = await world.certificates!();
    const server = new Probe(world.runtime);
    const tls = tlsOptions(set, set.good);
    const listener = await world.runtime.net.listen(listenOn(anyTcp, server, { tls }));
    const client = new Probe(world.runtime);
    const near = await connectTo(world.runtime, listener.address, client);
    near.connection.write(text("GET / HTTP/1.1\r\n\r\n and more that is no handshake at all"));
    await client.until("the end", () => near.count("end") + near.count("close") > 0);
    near.connection.close();
    await pass(world.runtime, 30);
    assert.equal(server.sides.length, 0);
    assert.equal(listener.handshakesFailed, 1);
    assert.equal(listener.connections, 0);
    listener.stop();
  }, "tls");

  compliance(harness, "tls: a server that answers plainly is refused", async (world) => {
    const set = await world.certificates!();
    const server = new Probe(world.runtime, {
      data: (side) => void side.connection.write(text("HTTP/1.1 400 Bad Request\r\n\r\n")),
    });
    const listener = await world.runtime.net.listen(listenOn(anyTcp, server));
    const client = new Probe(world.runtime);
    const tls = tlsOptions(set, set.good);
    assert.equal(
      await kindOf(connectTo(world.runtime, listener.address, client, { tls })),
      "tls",
    );
    assert.equal(client.sides.length, 0);
    const far = await server.side();
    await server.until("the end", () => far.count("end") + far.count("close") > 0);
    far.connection.close();
    listener.stop();
  }, "tls");

  compliance(harness, "tls: a server that closes in the handshake is refused", async (world) => {
    const set = await world.certificates!();
    const server = new Probe(world.runtime, { open: (side) => side.connection.close() });
    const listener = await world.runtime.net.listen(listenOn(anyTcp, server));
    const client = new Probe(world.runtime);
    const tls = tlsOptions(set, set.good);
    const kind = await kindOf(connectTo(world.runtime, listener.address, client, { tls }));
    assert.ok(kind === "tls" || kind === "reset", kind);
    assert.equal(client.sides.length, 0);
    listener.stop();
  }, "tls");

  compliance(harness, "tls: a server that never shakes hands is a timeout", async (world) => {
    const { runtime } = world;
    const set = await world.certificates!();
    const server = new Probe(runtime);
    const listener = await runtime.net.listen(listenOn(anyTcp, server));
    const client = new Probe(runtime);
    const tls = tlsOptions(set, set.good);
    const dial = connectTo(runtime, listener.address, client, { tls, timeoutMs: 100 });
    assert.equal(await kindOf(dial), "timeout");
    const controller = new AbortController();
    const aborted = connectTo(runtime, listener.address, client, {
      tls,
      signal: controller.signal,
    });
    await server.side(1);
    controller.abort();
    assert.equal(await kindOf(aborted), "aborted");
    // Both descriptors are given back.
    for (const far of server.sides) {
      await server.until("the end", () => far.count("end") + far.count("close") > 0);
      far.connection.close();
    }
    assert.equal(client.sides.length, 0);
    listener.stop();
  }, "tls");
}
