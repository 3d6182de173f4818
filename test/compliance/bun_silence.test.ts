/**
 * Bun tells an accepted socket of 120 s of silence though nobody asked. A connection that is open
 * must outlive that: how long it may be silent is for the modules above to say.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { selectRuntime } from "../../src/start.ts";
import { connectTo, listenOn, Probe, text } from "./probe.ts";

type Listen = (options: { socket: Record<string, unknown> }) => unknown;

const bun = (globalThis as unknown as { Bun?: { listen: Listen } }).Bun;

test("bun: silence ends no open connection", { skip: bun === undefined }, async () => {
  assert.ok(bun !== undefined);
  const original = bun.listen;
  const told = Promise.withResolvers<void>();
  // The same sockets and the same callbacks, with a second instead of two minutes.
  bun.listen = (options) => {
    const { open, timeout } = options.socket as Record<string, (socket: unknown) => void>;
    const socket = {
      ...options.socket,
      open: (one: { timeout(seconds: number): void }) => {
        open(one);
        one.timeout(1);
      },
      timeout: (one: unknown) => {
        timeout(one);
        told.resolve();
      },
    };
    return original.call(bun, { ...options, socket });
  };
  try {
    const runtime = await selectRuntime();
    const server = new Probe(runtime);
    const listener = await runtime.net.listen(
      listenOn({ kind: "tcp", host: "127.0.0.1", port: 0 }, server),
    );
    const client = new Probe(runtime);
    const side = await connectTo(runtime, listener.address, client);
    await told.promise;
    const accepted = await server.side(0);
    side.connection.write(text("still here"));
    await server.until("data", () => accepted.received === 10 || accepted.count("close") > 0);
    assert.deepEqual(accepted.events, ["open", "data"]);
    side.connection.close();
    await server.until("the end", () => accepted.count("end") === 1);
    accepted.connection.close();
    listener.stop();
  } finally {
    bun.listen = original;
  }
});
