/** The key-value client of one command. */
import { KvClient } from "../../kv/client.ts";
import { channelEndpoint } from "../../kv/client_endpoint.ts";
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { askNode, type NodeLink, withNode } from "../node_link.ts";

/** Runs `body` with a client over every node that the flags name, the one that answered first. */
export async function withKv<T>(
  context: CliContext,
  flags: NodeFlags,
  body: (kv: KvClient) => Promise<T>,
): Promise<T> {
  return await withNode(context, flags, (node) => run(context, node, body));
}

/** Like {@link withKv}, for a body that changes nothing. */
export async function askKv<T>(
  context: CliContext,
  flags: NodeFlags,
  body: (kv: KvClient) => Promise<T>,
): Promise<T> {
  return await askNode(context, flags, (node) => run(context, node, body));
}

async function run<T>(
  { runtime: { clock, random } }: CliContext,
  node: NodeLink,
  body: (kv: KvClient) => Promise<T>,
): Promise<T> {
  await using kv = new KvClient({
    clock,
    random,
    endpoints: node.channels.map(channelEndpoint),
    timeoutMs: node.timeoutMs,
    // A command writes once or twice: opening and closing a session would be entries of their own.
    sessions: "single",
  });
  return await body(kv);
}
