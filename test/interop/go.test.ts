/**
 * covey against the public Go module `github.com/containerd/ttrpc`, both ways: Go's client checks
 * covey's server over a unix socket and TCP, covey's client checks Go's server. Skipped visibly
 * where Go, or its module, is missing; the recorded sessions of test/ttrpc always run.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { formatAddress, parseAddress } from "../../src/base/address.ts";
import { CoveyError } from "../../src/base/error.ts";
import { createRpcServer, openChannel } from "../../src/standalone.ts";
import { selectRuntime } from "../../src/start.ts";
import { createClient } from "../../src/ttrpc/client.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { buildGoPeer, runGoCheck, startGoServer } from "../support/go_peer.ts";
import { testHandlers } from "../support/test_service.ts";

const go = await buildGoPeer();
const skip = go.skip ?? false;

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "covey-interop-"));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

for (const transport of ["unix", "tcp"] as const) {
  test(
    `Go's client checks covey's server over ${transport}`,
    { skip },
    () =>
      inFolder(async (folder) => {
        const runtime = await selectRuntime();
        const server = await createRpcServer({ runtime });
        server.registry.add(TestService, testHandlers(runtime.clock));
        const listener = await server.listen({
          address: parseAddress(
            transport === "unix" ? `unix:${folder}/s.sock` : "tcp://127.0.0.1:0",
          ),
        });
        const checked = await runGoCheck(go.program!, formatAddress(listener.address));
        await server.stop(0);
        const failed = checked.cases.filter((one) => !one.ok);
        assert.deepEqual(failed, []);
        assert.equal(checked.code, 0, checked.stderr);
        assert.ok(checked.cases.length >= 80, `only ${checked.cases.length} cases ran`);
      }),
  );
}

test(
  "covey's client calls Go's server with all four kinds",
  { skip },
  () =>
    inFolder(async (folder) => {
      const server = await startGoServer(go.program!, `${folder}/s.sock`);
      const channel = await openChannel(`unix:${server.address}`);
      try {
        const client = createClient(TestService, channel);
        const payload = new Uint8Array([1, 2, 3]);
        const answer = await client.echo(
          { payload, metadataKey: "Key" },
          { metadata: { KEY: ["a", ""], other: "b" }, timeoutMs: 10_000 },
        );
        assert.deepEqual(answer.payload, payload);
        assert.deepEqual(answer.metadataValues, ["a", ""]);
        assert.equal(answer.hasDeadline, true);
        assert.equal((await client.echo({})).hasDeadline, false);
        await client.nothing({});

        const indexes: number[] = [];
        for await (const message of client.count({ count: 5000, bytes: 100 })) {
          indexes.push(message.index);
        }
        assert.deepEqual(indexes, Array.from({ length: 5000 }, (_, index) => index));

        const sum = await client.sum(async function* () {
          for (let value = 1; value <= 5000; value++) yield { value: BigInt(value) };
        }());
        assert.deepEqual([sum.sum, sum.count], [12_502_500n, 5000]);
        assert.equal((await client.sum(async function* () {}())).count, 0);

        let echoed = 0;
        const chat = client.chat(async function* () {
          for (let index = 0; index < 500; index++) {
            yield { payload: new Uint8Array([index & 255]) };
          }
        }());
        for await (const message of chat) assert.equal(message.payload[0], echoed++ & 255);
        assert.equal(echoed, 500);
      } finally {
        channel.close();
        await server.stop();
      }
    }),
);

test(
  "covey's client meets Go's errors, deadlines and limits",
  { skip },
  () =>
    inFolder(async (folder) => {
      const server = await startGoServer(go.program!, `${folder}/s.sock`);
      const channel = await openChannel(`unix:${server.address}`);
      const fails = async (body: () => Promise<unknown>): Promise<CoveyError> => {
        try {
          await body();
        } catch (error) {
          assert.ok(error instanceof CoveyError);
          return error;
        }
        throw new Error("the call did not fail");
      };
      try {
        const client = createClient(TestService, channel);
        for (let code = 1; code <= 16; code++) {
          const error = await fails(() => client.fail({ code, message: `m${code}` }));
          assert.deepEqual([error.code, error.rawMessage], [code, `m${code}`]);
        }
        const detailed = await fails(() => client.fail({ code: 5, message: "m", after: 2 }));
        assert.equal(detailed.details.length, 2);
        const seen: number[] = [];
        const late = await fails(async () => {
          for await (const message of client.failStream({ code: 9, message: "late", after: 3 })) {
            seen.push(message.payload.length);
          }
        });
        assert.deepEqual([seen.length, late.code], [3, 9]);
        const slow = await fails(() => client.echo({ delayMillis: 5000 }, { timeoutMs: 50 }));
        assert.equal(slow.code, 4);
        const abort = new AbortController();
        const canceled = fails(() => client.echo({ delayMillis: 5000 }, { signal: abort.signal }));
        abort.abort();
        assert.equal((await canceled).code, 1);
        const large = await fails(() => client.echo({ payload: new Uint8Array((4 << 20) + 1) }));
        assert.deepEqual([large.code, large.sent], [8, false]);
        assert.equal(
          (await client.echo({ payload: new Uint8Array(4_000_000) })).payload.length,
          4e6,
        );
        const calls = Array.from(
          { length: 1000 },
          (_, index) => client.echo({ payload: new Uint8Array(index) }),
        );
        const answers = await Promise.all(calls);
        answers.forEach((answer, index) => assert.equal(answer.payload.length, index));
        await server.stop();
        const gone = await fails(() => client.echo({}));
        assert.equal(gone.code, 14);
      } finally {
        channel.close();
        await server.stop();
      }
    }),
);

test(
  "Go passes an offer of extensions on to a covey server, which does not believe it",
  { skip },
  () =>
    inFolder(async (folder) => {
      const runtime = await selectRuntime();
      const backend = await createRpcServer({ runtime });
      let health = 0;
      const handlers = testHandlers(runtime.clock);
      backend.registry.add(TestService, {
        ...handlers,
        nothing: () => {
          health++;
          return {};
        },
      });
      const listener = await backend.listen({ address: parseAddress(`unix:${folder}/b.sock`) });
      const to = formatAddress(listener.address).replace("unix:", "");
      const middle = await startGoServer(go.program!, `${folder}/m.sock`, "middle", ["--to", to]);
      const channel = await openChannel(`unix:${middle.address}`, { peer: "covey" });
      try {
        // More than the window that was offered: a server that waits for credit stops before.
        const { payload } = await createClient(TestService, channel).echo({});
        assert.deepEqual([payload.length, health, channel.extended], [300, 1, false]);
      } finally {
        channel.close();
        await middle.stop();
        await backend.stop(0);
      }
    }),
);
