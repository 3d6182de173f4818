/** Dials that fail, and the names that unix sockets leave in a folder. */
import assert from "node:assert/strict";
import type { Address } from "../../src/base/address.ts";
import { dialsPerAddressMax, NetError, type Runtime } from "../../src/runtime/port.ts";
import { compliance, type Harness, kindOf, pass } from "./harness.ts";
import { anyTcp, connectTo, listenOn, Probe, text } from "./probe.ts";

/** Declares the cases of this area. */
export function dialCompliance(harness: Harness): void {
  refusalCases(harness);
  silenceCases(harness);
  unixCases(harness);
  featureCases(harness);
}

/** An address of loopback where nobody listens, because its listener has just stopped. */
async function deadTcp(runtime: Runtime): Promise<Address> {
  const listener = await runtime.net.listen(listenOn(anyTcp, new Probe(runtime)));
  listener.stop();
  return listener.address;
}

function refusalCases(harness: Harness): void {
  compliance(harness, "dial: refused where nobody listens", async ({ runtime }) => {
    const probe = new Probe(runtime);
    const address = await deadTcp(runtime);
    for (let round = 0; round < 3; round++) {
      await assert.rejects(connectTo(runtime, address, probe), (error) => {
        assert.ok(error instanceof NetError);
        assert.equal(error.kind, "refused");
        return true;
      });
    }
    await pass(runtime, 30);
    assert.equal(probe.sides.length, 0);
  });

  compliance(harness, "dial: a unix path that is not there is not-found", async (world) => {
    const probe = new Probe(world.runtime);
    const address: Address = { kind: "unix", path: `${world.directory}/none` };
    assert.equal(await kindOf(connectTo(world.runtime, address, probe)), "not-found");
  }, "unix");

  compliance(harness, "dial: a signal that fired before ends it", async ({ runtime }) => {
    const probe = new Probe(runtime);
    const listener = await runtime.net.listen(listenOn(anyTcp, probe));
    const signal = AbortSignal.abort();
    assert.equal(await kindOf(connectTo(runtime, listener.address, probe, { signal })), "aborted");
    await pass(runtime, 30);
    assert.equal(probe.sides.length, 0);
    listener.stop();
  });

  compliance(harness, "dial: a signal that fires after it changes nothing", async ({ runtime }) => {
    const server = new Probe(runtime);
    const client = new Probe(runtime);
    const listener = await runtime.net.listen(listenOn(anyTcp, server));
    const controller = new AbortController();
    const near = await connectTo(runtime, listener.address, client, { signal: controller.signal });
    controller.abort();
    near.connection.write(text("still here"));
    const far = await server.side();
    await server.until("data", () => far.received === 10);
    assert.deepEqual(near.events, ["open"]);
    near.connection.abort();
    listener.stop();
  });

  compliance(harness, "dial: aborted at once, nothing opens later", async ({ runtime }) => {
    // The connection may well come to be, and must then be closed without a word.
    const server = new Probe(runtime);
    const client = new Probe(runtime);
    const listener = await runtime.net.listen(listenOn(anyTcp, server));
    const controller = new AbortController();
    const dial = connectTo(runtime, listener.address, client, { signal: controller.signal });
    controller.abort();
    assert.equal(await kindOf(dial), "aborted");
    await pass(runtime, 50);
    assert.equal(client.sides.length, 0);
    for (const side of server.sides) {
      await server.until("the end", () => side.count("end") + side.count("close") > 0);
      side.connection.close();
      await server.until("close", () => side.count("close") === 1);
    }
    assert.equal(listener.connections, 0);
    listener.stop();
  });

  compliance(harness, "dial: open comes before connect resolves", async ({ runtime }) => {
    const listener = await runtime.net.listen(listenOn(anyTcp, new Probe(runtime)));
    const order: string[] = [];
    const client = new Probe(runtime, { open: () => void order.push("open") });
    const dial = connectTo(runtime, listener.address, client);
    await dial.then(() => order.push("resolved"));
    assert.deepEqual(order, ["open", "resolved"]);
    client.sides[0].connection.abort();
    listener.stop();
  });

  compliance(
    harness,
    "dial: an address of no machine here cannot be listened on",
    async (world) => {
      // RFC 5737: an address for documentation, which no interface has.
      const address: Address = { kind: "tcp", host: "192.0.2.1", port: 0 };
      const { net } = world.runtime;
      assert.equal(
        await kindOf(net.listen(listenOn(address, new Probe(world.runtime)))),
        "invalid",
      );
    },
  );

  compliance(
    harness,
    "dial: a port that is none is invalid everywhere",
    async ({ runtime }) => {
      const { net, http } = runtime;
      const probe = new Probe(runtime);
      const handler = { message() {}, error() {} };
      for (const port of [70_000, -1, 1.5]) {
        const address: Address = { kind: "tcp", host: "127.0.0.1", port };
        const local = { host: "127.0.0.1", port };
        const fetch = () => new Response();
        assert.equal(await kindOf(net.listen(listenOn(address, probe))), "invalid", `${port}`);
        assert.equal(await kindOf(connectTo(runtime, address, probe)), "invalid", `${port}`);
        assert.equal(await kindOf(net.bindUdp({ ...local, handler })), "invalid", `${port}`);
        assert.equal(await kindOf(http.serve({ ...local, bodyBytesMax: 0, fetch })), "invalid");
      }
    },
    "udp",
    "http",
  );

  compliance(
    harness,
    "dial: a folder that is not there is not-found to listen in",
    async (world) => {
      const address: Address = { kind: "unix", path: `${world.directory}/none/socket` };
      const probe = new Probe(world.runtime);
      assert.equal(await kindOf(world.runtime.net.listen(listenOn(address, probe))), "not-found");
    },
    "unixFiles",
  );

  compliance(harness, "dial: IPv6 on loopback", async ({ runtime }) => {
    const server = new Probe(runtime);
    const client = new Probe(runtime);
    const listener = await runtime.net.listen(
      listenOn({ kind: "tcp", host: "::1", port: 0 }, server),
    );
    const near = await connectTo(runtime, listener.address, client);
    const far = await server.side();
    assert.deepEqual(near.connection.peer.address, listener.address);
    assert.deepEqual(far.connection.peer.address, near.connection.peer.local);
    near.connection.abort();
    listener.stop();
  }, "ipv6");

  compliance(harness, "dial: a name is looked up", async ({ runtime }) => {
    const server = new Probe(runtime);
    const client = new Probe(runtime);
    const listener = await runtime.net.listen(listenOn(anyTcp, server));
    assert.ok(listener.address.kind === "tcp");
    const near = await connectTo(runtime, { ...listener.address, host: "localhost" }, client);
    assert.deepEqual(near.connection.peer.address, listener.address);
    near.connection.abort();
    listener.stop();
  }, "names");

  compliance(harness, "dial: a name that does not exist is not-found", async ({ runtime }) => {
    // RFC 6761: the name never resolves. Without a resolver at hand the answer comes late or else.
    const probe = new Probe(runtime);
    const address: Address = { kind: "tcp", host: "no-such-host.invalid", port: 1 };
    const kind = await kindOf(connectTo(runtime, address, probe, { timeoutMs: 5000 }));
    assert.ok(kind === "not-found" || kind === "timeout", kind);
  }, "names");
}

function silenceCases(harness: Harness): void {
  compliance(harness, "dial: no answer is a timeout, and nothing follows", async (world) => {
    const { runtime } = world;
    const address = await world.silentAddress!();
    const probe = new Probe(runtime);
    const before = runtime.clock.monotonicMs();
    assert.equal(await kindOf(connectTo(runtime, address, probe, { timeoutMs: 120 })), "timeout");
    const tookMs = runtime.clock.monotonicMs() - before;
    assert.ok(tookMs >= 119 && tookMs < 5000, `took ${tookMs} ms`);
    await pass(runtime, 50);
    assert.equal(probe.sides.length, 0);
  }, "silentAddress");

  compliance(harness, "dial: a signal ends the wait for an answer", async (world) => {
    const { runtime } = world;
    const address = await world.silentAddress!();
    const probe = new Probe(runtime);
    const controller = new AbortController();
    runtime.clock.timer(30, () => controller.abort(new Error("enough")), undefined);
    const dial = connectTo(runtime, address, probe, { signal: controller.signal });
    await assert.rejects(dial, (error) => {
      assert.ok(error instanceof NetError);
      assert.equal(error.kind, "aborted");
      assert.equal((error.cause as Error).message, "enough");
      return true;
    });
    assert.equal(probe.sides.length, 0);
  }, "silentAddress");

  compliance(harness, "dial: one too many in flight to one address is limit", async (world) => {
    const { runtime } = world;
    const address = await world.silentAddress!();
    const probe = new Probe(runtime);
    const controller = new AbortController();
    const waiting: Promise<string>[] = [];
    for (let index = 0; index < dialsPerAddressMax; index++) {
      const more = { signal: controller.signal, timeoutMs: 60_000 };
      waiting.push(kindOf(connectTo(runtime, address, probe, more)));
    }
    assert.equal(await kindOf(connectTo(runtime, address, probe)), "limit");
    // Another address has places of its own.
    const server = new Probe(runtime);
    const listener = await runtime.net.listen(listenOn(anyTcp, server));
    const near = await connectTo(runtime, listener.address, new Probe(runtime));
    near.connection.abort();
    listener.stop();
    controller.abort();
    assert.deepEqual(new Set(await Promise.all(waiting)), new Set(["aborted"]));
    assert.equal(probe.sides.length, 0);
  }, "silentAddress");
}

function unixCases(harness: Harness): void {
  compliance(harness, "dial unix: a path that a dead process left is taken over", async (world) => {
    const { runtime } = world;
    const path = await world.staleUnixPath!();
    const address: Address = { kind: "unix", path };
    assert.equal((await runtime.disk.stat(path)).kind, "other");
    const server = new Probe(runtime);
    assert.equal(await kindOf(connectTo(runtime, address, server)), "refused");
    const listener = await runtime.net.listen(listenOn(address, server));
    const near = await connectTo(runtime, address, new Probe(runtime));
    await server.side();
    near.connection.abort();
    listener.stop();
  }, "unixFiles");

  compliance(
    harness,
    "dial unix: the file has the mode asked for and goes with stop",
    async (world) => {
      const { runtime } = world;
      for (const mode of [undefined, 0o660]) {
        const path = `${world.directory}/socket`;
        const options = listenOn({ kind: "unix", path }, new Probe(runtime), { mode });
        const listener = await runtime.net.listen(options);
        assert.equal((await runtime.disk.stat(path)).mode, mode ?? 0o600);
        listener.stop();
        assert.equal(await kindOf(runtime.disk.stat(path)), "not-found");
      }
    },
    "unixFiles",
  );

  compliance(harness, "dial unix: a file that is no socket is left alone", async (world) => {
    const { runtime } = world;
    const path = `${world.directory}/file`;
    await runtime.disk.replaceFile(path, text("precious"));
    const options = listenOn({ kind: "unix", path }, new Probe(runtime));
    assert.equal(await kindOf(runtime.net.listen(options)), "in-use");
    assert.deepEqual(await runtime.disk.readFile(path, 100), text("precious"));
  }, "unixFiles");

  compliance(harness, "dial unix: stop leaves a file that took the place alone", async (world) => {
    const { runtime, directory } = world;
    const path = `${directory}/socket`;
    const listener = await runtime.net.listen(listenOn({ kind: "unix", path }, new Probe(runtime)));
    await runtime.disk.remove(path);
    await runtime.disk.replaceFile(path, text("precious"));
    await runtime.disk.replaceFile(`${path}.aside`, text("beside"));
    listener.stop();
    // When the name is free again, the next one to listen finds what is there.
    const next = listenOn({ kind: "unix", path }, new Probe(runtime));
    assert.equal(await kindOf(runtime.net.listen(next)), "in-use");
    assert.deepEqual(await runtime.disk.list(directory), ["socket", "socket.aside"]);
    assert.deepEqual(await runtime.disk.readFile(path, 100), text("precious"));
    assert.deepEqual(await runtime.disk.readFile(`${path}.aside`, 100), text("beside"));
  }, "unixFiles");

  compliance(harness, "dial unix: stop leaves a successor's socket alone", async (world) => {
    const { runtime } = world;
    const path = `${world.directory}/socket`;
    const address: Address = { kind: "unix", path };
    const first = await runtime.net.listen(listenOn(address, new Probe(runtime)));
    await runtime.disk.remove(path);
    const server = new Probe(runtime);
    const second = await runtime.net.listen(listenOn(address, server));
    first.stop();
    const near = await connectTo(runtime, address, new Probe(runtime));
    await server.side();
    near.connection.abort();
    second.stop();
  }, "unixFiles");
}

function featureCases(harness: Harness): void {
  compliance(harness, "dial: vsock works or is unsupported", async ({ runtime }) => {
    if (runtime.features.vsock) return;
    const address: Address = { kind: "vsock", cid: 1, port: 1024 };
    const probe = new Probe(runtime);
    assert.equal(await kindOf(runtime.net.listen(listenOn(address, probe))), "unsupported");
    assert.equal(await kindOf(connectTo(runtime, address, probe)), "unsupported");
  });

  compliance(harness, "dial: abstract sockets work or are unsupported", async ({ runtime }) => {
    const name = `covey-compliance-${Math.floor(runtime.clock.wallMs())}-${runtime.host.pid}`;
    const address: Address = { kind: "abstract", name };
    const server = new Probe(runtime);
    const client = new Probe(runtime);
    if (!runtime.features.abstractSockets) {
      assert.equal(await kindOf(runtime.net.listen(listenOn(address, server))), "unsupported");
      assert.equal(await kindOf(connectTo(runtime, address, client)), "unsupported");
      return;
    }
    assert.equal(await kindOf(connectTo(runtime, address, client)), "refused");
    const listener = await runtime.net.listen(listenOn(address, server));
    assert.deepEqual(listener.address, address);
    assert.equal(await kindOf(runtime.net.listen(listenOn(address, server))), "in-use");
    const near = await connectTo(runtime, address, client);
    near.connection.write(text("hello"));
    const far = await server.side();
    await server.until("data", () => far.received === 5);
    near.connection.close();
    listener.stop();
    assert.equal(await kindOf(connectTo(runtime, address, client)), "refused");
  });

  compliance(harness, "dial: peer credentials are true or unsupported", async (world) => {
    const { runtime } = world;
    const address: Address = { kind: "unix", path: `${world.directory}/socket` };
    const server = new Probe(runtime);
    const listening = runtime.net.listen(listenOn(address, server, { credentials: true }));
    if (!runtime.features.peerCredentials) {
      assert.equal(await kindOf(listening), "unsupported");
      return;
    }
    const listener = await listening;
    const near = await connectTo(runtime, address, new Probe(runtime));
    const { credentials } = (await server.side()).connection.peer;
    assert.equal(credentials?.pid, runtime.host.pid);
    assert.ok(Number.isInteger(credentials?.uid) && Number.isInteger(credentials?.gid));
    near.connection.abort();
    listener.stop();
  }, "unix");
}
