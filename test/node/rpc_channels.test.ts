/** Channels that a node hands out: with its TLS or not at all, and none that outlives it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { anyPort, failure, inFolder, makeTlsFiles, startQuiet } from "./support.ts";

test("tls that is asked for is never left out", () =>
  inFolder(async (folder) => {
    await using plain = await startQuiet({ dev: true });
    const [address] = plain.rpc.addresses;
    assert.throws(
      () => plain.rpc.client(Health, address, { tls: true }),
      (error) =>
        error instanceof CoveyError && error.code === Code.failedPrecondition &&
        error.rawMessage.startsWith(`cannot reach ${address} with TLS: the node has no cert`),
    );
    assert.equal(plain.rpc.channelCount, 0);
    const write = await makeTlsFiles(folder);
    await using secure = await startQuiet({ tls: write("good"), node: { listen: [anyPort] } });
    const own = secure.rpc.client(Health, secure.rpc.addresses[0], { tls: true });
    assert.equal((await own.check({}, { timeoutMs: 5000 })).status, 1);
  }));

test("a node that stopped makes no connections any more", async () => {
  await using peer = await startQuiet({ dev: true });
  const [address] = peer.rpc.addresses;
  const node = await startQuiet({ dev: true });
  const before = node.rpc.client(Health, address);
  assert.equal((await before.check({})).status, 1);
  await node.stop();
  const after = node.rpc.client(Health, address);
  for (const client of [before, after]) {
    const error = await failure(client.check({}), Code.canceled, /^the channel is closed$/);
    assert.equal(error.sent, false);
  }
  assert.equal(node.rpc.channelCount, 0);
});
