/** Commands of newer builds, which arrive at a node while a cluster is updated. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { Transport } from "../../src/gen/covey/raft/v1/transport_pb.ts";
import { commandVersion } from "../../src/kv/core/command_codec.ts";
import { createClient } from "../../src/ttrpc/client.ts";
import { startQuiet } from "./support.ts";

test("a command of a newer build is refused by the leader, and the store goes on", async () => {
  await using node = await startQuiet({ dev: true });
  await node.kv.put("a", "1");
  const { header } = await node.kv.status();
  const transport = createClient(
    Transport,
    node.rpc.channel(node.rpc.addresses[0], { peer: "covey" }),
  );
  for (const data of [[commandVersion + 1, 1], [255, 0, 255, 1], [1, 127]]) {
    await assert.rejects(
      transport.propose({
        clusterId: header.clusterId,
        group: 0,
        data: Uint8Array.from(data),
      }),
      (error) =>
        error instanceof CoveyError && error.code === Code.unimplemented &&
        /older build and cannot apply the command: update that node/.test(error.message),
    );
  }
  await node.kv.put("a", "2");
  assert.equal((await node.kv.get("a"))?.text, "2");
  assert.deepEqual((await node.kv.status()).errors, []);
});
