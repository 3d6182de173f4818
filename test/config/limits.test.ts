/** RPC without a node has the same limits as a node with an empty configuration. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { keysSchema } from "../../src/config/schema.ts";
import { rpcLimits } from "../../src/node/rpc_limits.ts";
import { rpcLimitsDefault } from "../../src/ttrpc/limits.ts";

test("the library's default limits are those of the configuration", () => {
  assert.deepEqual(rpcLimits(keysSchema.parse({})), rpcLimitsDefault);
});
