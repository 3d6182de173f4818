/** Compiled agents that watch each other: kills, pauses, kicks and leaves, as their views tell them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAddress } from "../../../src/base/address.ts";
import { Members, type WatchResponse } from "../../../src/gen/covey/membership/v1/members_pb.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import { selectRuntime } from "../../../src/start.ts";
import { Channel } from "../../../src/ttrpc/channel.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import type { Client } from "../../../src/ttrpc/service.ts";
import { Cluster, type ClusterNode } from "../../support/cluster.ts";
import { agentCommand } from "../../raft/process/agent_command.ts";
import { within } from "../../ttrpc/support/within.ts";

const limitMs = 60_000;

/** One node's views as they come. */
class Views implements Disposable {
  readonly #channel: Channel;
  readonly #controller = new AbortController();
  readonly #changes: AsyncIterator<WatchResponse>;
  readonly client: Client<typeof Members>;
  last: WatchResponse | undefined = undefined;

  constructor({ net, clock, random }: Runtime, node: ClusterNode) {
    const address = parseAddress(node.address);
    this.#channel = new Channel({ net, clock, random, address, peer: "covey" });
    this.client = createClient(Members, this.#channel);
    const { signal } = this.#controller;
    this.#changes = this.client.watch({}, { signal })[Symbol.asyncIterator]();
  }

  get names(): string[] {
    return this.last?.view?.members.map(({ name }) => name).sort() ?? [];
  }

  /** Resolves with the first view in which it is so. */
  async until(isSo: (view: WatchResponse) => boolean, what: string): Promise<WatchResponse> {
    const look = async (): Promise<WatchResponse> => {
      while (this.last === undefined || !isSo(this.last)) {
        const { done, value } = await this.#changes.next();
        assert.notEqual(done, true, "the watch ended");
        this.last = value;
      }
      return this.last;
    };
    return await within(look(), () => `${what}; the last view: ${this.names.join()}`, limitMs);
  }

  async areNames(...names: string[]): Promise<WatchResponse> {
    const wanted = [...names].sort().join();
    return await this.until(() => this.names.join() === wanted, `a view of ${wanted}`);
  }

  [Symbol.dispose](): void {
    this.#controller.abort();
    this.#channel.close();
  }
}

const all = ["node-1", "node-2", "node-3", "node-4", "node-5"];

function without(...gone: string[]): string[] {
  return all.filter((name) => !gone.includes(name));
}

test("processes: five agents see kills, pauses, kicks and leaves, each the same", async () => {
  const runtime = await selectRuntime();
  await using cluster = await Cluster.start({
    nodes: 5,
    command: agentCommand(),
    config: { membership: { profile: "low_latency" } },
  });
  using first = new Views(runtime, cluster.node(0));
  using second = new Views(runtime, cluster.node(1));
  const both = async (...names: string[]): Promise<void> => {
    const [a, b] = [await first.areNames(...names), await second.areNames(...names)];
    if (a.view!.epoch === b.view!.epoch) assert.equal(a.view!.digest, b.view!.digest);
  };
  await both(...all);

  await cluster.node(4).kill();
  await both(...without("node-5"));
  await cluster.node(4).start();
  await both(...all);

  cluster.node(3).pause();
  await both(...without("node-4"));
  cluster.node(3).resume();
  await both(...all);

  const before = first.last!.view!.members.find(({ name }) => name === "node-3")!.incarnation;
  await first.client.kick({ member: "node-3" });
  const isAnother = ({ view }: WatchResponse): boolean =>
    view!.members.some(({ name, incarnation }) => name === "node-3" && incarnation !== before);
  await first.until(isAnother, "node-3 as another stay");
  await both(...all);

  using fifth = new Views(runtime, cluster.node(4));
  await fifth.client.leave({});
  await both(...without("node-5"));
});

test("processes: a node that names a member joins the view, before it is a replica", async () => {
  const runtime = await selectRuntime();
  await using cluster = await Cluster.start({
    nodes: 3,
    command: agentCommand(),
    config: { membership: { profile: "low_latency" } },
  });
  using first = new Views(runtime, cluster.node(0));
  await first.areNames("node-1", "node-2", "node-3");
  const joiner = await cluster.add();
  await joiner.spawn();
  await first.areNames("node-1", "node-2", "node-3", "node-4");
  // All lose their power at once, and are who they were.
  const { view } = first.last!;
  await Promise.all(cluster.nodes.map((node) => node.kill()));
  await Promise.all(cluster.nodes.slice(0, 3).map((node) => node.start()));
  await joiner.spawn();
  using again = new Views(runtime, cluster.node(0));
  await again.areNames("node-1", "node-2", "node-3", "node-4");
  const stays = (members: readonly { readonly incarnation: bigint }[]): bigint[] =>
    members.map(({ incarnation }) => incarnation).sort();
  assert.deepEqual(stays(again.last!.view!.members), stays(view!.members));
});
