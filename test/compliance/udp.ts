/** Datagrams, unicast and multicast. */
import assert from "node:assert/strict";
import type { NetError, Runtime, UdpHandler, UdpSocket } from "../../src/runtime/port.ts";
import { compliance, type Harness, kindOf, pass, pattern, sameBytes, within } from "./harness.ts";
import { text } from "./probe.ts";

/** Declares the cases of this area. */
export function udpCompliance(harness: Harness): void {
  unicastCases(harness);
  multicastCases(harness);
}

/** Keeps what comes. */
class Inbox implements UdpHandler {
  readonly messages: { bytes: Uint8Array; host: string; port: number }[] = [];
  readonly errors: NetError[] = [];
  #waiters: (() => void)[] = [];

  message(_socket: UdpSocket, datagram: Uint8Array, host: string, port: number): void {
    this.messages.push({ bytes: datagram.slice(), host, port });
    this.#wake();
  }

  error(_socket: UdpSocket, error: NetError): void {
    this.errors.push(error);
    this.#wake();
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }

  until(runtime: Runtime, what: string, condition: () => boolean): Promise<void> {
    const wait = async (): Promise<void> => {
      while (!condition()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    };
    return within(runtime, what, wait());
  }
}

const host = "127.0.0.1";

function unicastCases(harness: Harness): void {
  compliance(harness, "udp: there and back, with the sender's address", async ({ runtime }) => {
    const left = new Inbox();
    const right = new Inbox();
    const a = await runtime.net.bindUdp({ host, port: 0, handler: left });
    const b = await runtime.net.bindUdp({ host, port: 0, handler: right });
    assert.equal(a.host, host);
    assert.ok(a.port > 0 && a.port !== b.port);
    for (const bytes of [text("hello"), pattern(1400), new Uint8Array(1), new Uint8Array(0)]) {
      const { length } = right.messages;
      a.send(bytes, host, b.port);
      await right.until(runtime, "the datagram", () => right.messages.length > length);
      sameBytes(right.messages[length].bytes, bytes, "datagram");
      assert.equal(right.messages[length].host, host);
      assert.equal(right.messages[length].port, a.port);
    }
    b.send(text("back"), right.messages[0].host, right.messages[0].port);
    await left.until(runtime, "the answer", () => left.messages.length === 1);
    a.close();
    b.close();
  }, "udp");

  compliance(harness, "udp: the array may be reused once send returns", async ({ runtime }) => {
    const inbox = new Inbox();
    const a = await runtime.net.bindUdp({ host, port: 0, handler: new Inbox() });
    const b = await runtime.net.bindUdp({ host, port: 0, handler: inbox });
    const array = new Uint8Array(100);
    for (let seed = 1; seed <= 10; seed++) {
      array.set(pattern(100, seed));
      a.send(array, host, b.port);
      array.fill(0xee);
    }
    await inbox.until(runtime, "ten datagrams", () => inbox.messages.length === 10);
    // Datagrams may overtake each other.
    const came = inbox.messages.map(({ bytes }) => bytes.join()).sort();
    const sent = Array.from({ length: 10 }, (_, index) => pattern(100, index + 1).join()).sort();
    assert.deepEqual(came, sent);
    a.close();
    b.close();
  }, "udp");

  compliance(
    harness,
    "udp: one port, one socket, unless both are multicast",
    async ({ runtime }) => {
      const handler = new Inbox();
      const a = await runtime.net.bindUdp({ host, port: 0, handler });
      assert.equal(await kindOf(runtime.net.bindUdp({ host, port: a.port, handler })), "in-use");
      a.close();
      a.close();
      // The port is free again soon, though not within close.
      let again: UdpSocket | undefined;
      for (let round = 0; round < 100 && again === undefined; round++) {
        await pass(runtime, 5);
        again = await runtime.net.bindUdp({ host, port: a.port, handler }).catch(() => undefined);
      }
      assert.equal(again?.port, a.port);
      again?.close();
    },
    "udp",
  );

  compliance(harness, "udp: a closed socket neither sends nor receives", async ({ runtime }) => {
    const left = new Inbox();
    const right = new Inbox();
    const a = await runtime.net.bindUdp({ host, port: 0, handler: left });
    const b = await runtime.net.bindUdp({ host, port: 0, handler: right });
    b.close();
    b.send(text("late"), host, a.port);
    a.send(text("to nobody"), host, b.port);
    await pass(runtime, 30);
    assert.equal(right.messages.length, 0);
    assert.equal(left.messages.length, 0);
    // The socket goes on although its last datagram met a closed port.
    const again = await runtime.net.bindUdp({ host, port: 0, handler: right });
    a.send(text("on"), host, again.port);
    await right.until(runtime, "the datagram", () => right.messages.length === 1);
    a.close();
    again.close();
  }, "udp");

  compliance(
    harness,
    "udp: a burst of names that nobody has is survived",
    async ({ runtime }) => {
      const left = new Inbox();
      const right = new Inbox();
      const a = await runtime.net.bindUdp({ host, port: 0, handler: left });
      const b = await runtime.net.bindUdp({ host, port: 0, handler: right });
      // What waits for its name is bounded; the rest is dropped, which datagrams may be.
      for (let index = 0; index < 5000; index++) a.send(text("x"), "no-such-host.invalid", b.port);
      await left.until(runtime, "an error", () => left.errors.length > 0);
      assert.equal(left.errors[0].kind, "not-found");
      for (let round = 0; round < 2000 && right.messages.length === 0; round++) {
        a.send(text("on"), host, b.port);
        await pass(runtime, 10);
      }
      sameBytes(right.messages[0].bytes, text("on"), "datagram");
      a.close();
      b.close();
    },
    "udp",
    "names",
  );

  compliance(harness, "udp: a datagram that is too large is an error", async ({ runtime }) => {
    const left = new Inbox();
    const right = new Inbox();
    const a = await runtime.net.bindUdp({ host, port: 0, handler: left });
    const b = await runtime.net.bindUdp({ host, port: 0, handler: right });
    a.send(new Uint8Array(70_000), host, b.port);
    await left.until(runtime, "the error", () => left.errors.length === 1);
    assert.equal(left.errors[0].name, "NetError");
    a.send(text("on"), host, b.port);
    await right.until(runtime, "the datagram", () => right.messages.length === 1);
    sameBytes(right.messages[0].bytes, text("on"), "datagram");
    a.close();
    b.close();
  }, "udp");
}

function multicastCases(harness: Harness): void {
  const group = "239.255.79.46";
  const multicast = { group, interface: host };

  compliance(
    harness,
    "udp: multicast reaches every socket of the port",
    async ({ runtime }) => {
      const inboxes = [new Inbox(), new Inbox(), new Inbox()];
      const first = await runtime.net.bindUdp({
        host: "0.0.0.0",
        port: 0,
        multicast,
        handler: inboxes[0],
      });
      const { port } = first;
      const sockets = [first];
      for (const handler of inboxes.slice(1)) {
        sockets.push(await runtime.net.bindUdp({ host: "0.0.0.0", port, multicast, handler }));
      }
      first.send(text("who is there"), group, port);
      for (const inbox of inboxes) {
        await inbox.until(runtime, "the datagram", () => inbox.messages.length === 1);
        sameBytes(inbox.messages[0].bytes, text("who is there"), "datagram");
        assert.equal(inbox.messages[0].port, port);
      }
      for (const socket of sockets) socket.close();
    },
    "udp",
    "multicast",
  );

  compliance(
    harness,
    "udp: without loopback the own machine hears nothing",
    async ({ runtime }) => {
      const loud = new Inbox();
      const quiet = new Inbox();
      const a = await runtime.net.bindUdp({
        host: "0.0.0.0",
        port: 0,
        multicast: { ...multicast, loopback: false, ttl: 2 },
        handler: quiet,
      });
      const { port } = a;
      const b = await runtime.net.bindUdp({ host: "0.0.0.0", port, multicast, handler: loud });
      a.send(text("silent"), group, port);
      b.send(text("loud"), group, port);
      await loud.until(runtime, "the datagram", () => loud.messages.length === 1);
      await quiet.until(runtime, "the datagram", () => quiet.messages.length === 1);
      await pass(runtime, 30);
      for (const inbox of [loud, quiet]) {
        assert.equal(inbox.messages.length, 1);
        sameBytes(inbox.messages[0].bytes, text("loud"), "datagram");
      }
      a.close();
      b.close();
    },
    "udp",
    "multicast",
    "quietMulticast",
  );
}
