/**
 * Go's own client, which reads more slowly than covey's server produces: streams and answers of a
 * megabyte, many at a time on one connection. Skipped visibly where Go, or its module, is missing.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseAddress } from "../../src/base/address.ts";
import { createRpcServer } from "../../src/standalone.ts";
import { selectRuntime } from "../../src/start.ts";
import type { Handlers } from "../../src/ttrpc/service.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { buildGoPeer, runGoLines } from "../support/go_peer.ts";
import { testHandlers } from "../support/test_service.ts";

const go = await buildGoPeer();
const skip = go.skip ?? false;
const limitMs = 60_000;
const bytes = 1 << 20;

type TestHandlers = Handlers<typeof TestService>;

/** Serves, runs the Go program's load generator and looks at what the server counted. */
async function load(
  handlers: Partial<TestHandlers>,
  flags: readonly string[],
): Promise<Awaited<ReturnType<typeof createRpcServer>>> {
  const folder = await mkdtemp(join(tmpdir(), "covey-interop-"));
  const runtime = await selectRuntime();
  const server = await createRpcServer({ runtime });
  try {
    server.registry.add(TestService, { ...testHandlers(runtime.clock), ...handlers });
    await server.listen({ address: parseAddress(`unix:${folder}/s.sock`) });
    const args = ["bench-client", `${folder}/s.sock`, "--seconds", "1", "--warmup", "0", ...flags];
    // The program ends with an error as soon as one call fails or one answer is short.
    await runGoLines(go.program!, args, limitMs);
  } finally {
    await server.stop(0);
    await rm(folder, { recursive: true, force: true });
  }
  return server;
}

test("40 streams of 1 MiB messages to Go's client", { skip }, async () => {
  const streams = 40;
  const asking: (() => void)[] = [];
  const { counters } = await load({
    // In rounds: Go's client stops for a stream that is two messages ahead of its reader, and at
    // the end of the measurement some of the readers leave a message earlier than others.
    async *count(request) {
      const payload = new Uint8Array(request.bytes);
      while (true) {
        yield { payload };
        const together = new Promise<void>((resolve) => asking.push(resolve));
        if (asking.length === streams) { for (const go of asking.splice(0)) go(); }
        await together;
      }
    },
  }, ["--inflight", `${streams}`, "--stream", `${bytes}`]);
  assert.equal(counters.callsTotal, streams);
  assert.ok(counters.limitHits.connection_queue > 0, "they did wait");
  assert.equal(counters.connectionsBrokenTotal, 0);
});

test("64 answers of 1 MiB at once to Go's client", { skip }, async () => {
  const waiting: (() => void)[] = [];
  const release = () => {
    for (const answer of waiting.splice(0)) answer();
  };
  const { clock } = await selectRuntime();
  const { counters } = await load({
    // All answers at once, and those of the last round when no more requests come.
    async echo({ payload }) {
      const together = new Promise<void>((resolve) => waiting.push(resolve));
      if (waiting.length === 64) release();
      else if (waiting.length === 1) clock.timer(2000, release, undefined);
      await together;
      return { payload };
    },
  }, ["--inflight", "64", "--payload", `${bytes}`]);
  assert.ok(counters.callsTotal >= 64);
  assert.equal(counters.callsByCode[8], 0);
  assert.ok(counters.limitHits.connection_queue > 0, "they did wait");
  assert.equal(counters.connectionsBrokenTotal, 0);
});
