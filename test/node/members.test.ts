/** `node.members`: who takes part, as a program in the same process sees it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../src/base/error.ts";
import type { ViewChange } from "../../src/membership/view_feed.ts";
import type { Node } from "../../src/node.ts";
import type { StartOptions } from "../../src/start.ts";
import { failure, startQuiet } from "./support.ts";

/** Of a cluster without consensus: whoever has an address to join asks there. */
async function member(name: string, join: readonly string[] = []): Promise<Node> {
  const options: StartOptions = {
    tls: { mode: "off" },
    node: { name },
    cluster: { join: [...join] },
    raft: { enabled: false },
    kv: { enabled: false },
    membership: { profile: "low_latency" },
  };
  return await startQuiet(options);
}

/** Reads views until one fits. */
async function until(
  views: AsyncIterator<ViewChange>,
  fits: (change: ViewChange) => boolean,
): Promise<ViewChange> {
  for (;;) {
    const { value, done } = await views.next();
    assert.ok(done !== true, "the views ended");
    if (fits(value)) return value;
  }
}

const names = (members: readonly { readonly name: string }[]): string[] =>
  members.map(({ name }) => name).sort();

test("members: a node alone is a member at once, and its only one", async () => {
  await using node = await startQuiet({ dev: true, node: { name: "alone" } });
  const { members } = node;
  const views = members.views();
  const { epoch, members: all, joined, left, skipped } = await until(views, () => true);
  assert.deepEqual([names(all), names(joined), left, skipped], [["alone"], ["alone"], [], 0]);
  assert.equal(members.state, "member");
  assert.equal(members.problem, undefined);
  assert.equal(members.current?.epoch, epoch);
  assert.match(members.clusterId, /^[0-9a-f]{32}$/);
  const { self } = members;
  assert.ok(self !== undefined);
  assert.deepEqual([self.name, self.nodeId], ["alone", node.nodeId]);
  assert.deepEqual([self.address, self.role], [node.rpc.addresses[0], 0]);

  members.say("load", Uint8Array.of(7));
  assert.deepEqual(members.factsOf(self).get("load"), Uint8Array.of(7));
  const told = await until(views, ({ changed }) => changed.length > 0);
  assert.deepEqual([names(told.changed), told.joined, told.left], [["alone"], [], []]);
  members.say("load", undefined);
  assert.equal(members.factsOf(self).has("load"), false);
  for (const key of ["tags", "services", "coordinate"]) {
    await failure(
      async () => await members.say(key, undefined),
      Code.invalidArgument,
      new RegExp(`^"${key}" is what the node says itself`),
    );
  }
  await failure(
    async () => await members.say("large", new Uint8Array(5000)),
    Code.resourceExhausted,
    /\S \S/,
  );
});

test("members: views end with the node, and with the signal", async () => {
  const node = await startQuiet({ dev: true });
  const controller = new AbortController();
  const ofSignal = node.members.views(controller.signal);
  const ofNode = node.members.views();
  await ofSignal.next();
  await ofNode.next();
  controller.abort();
  assert.equal((await ofSignal.next()).done, true);
  const end = ofNode.next();
  await node.stop();
  assert.equal((await end).done, true);
});

test("members: one joins, is sent away, comes back as another stay, and leaves", async () => {
  await using one = await member("one");
  await using two = await member("two", one.rpc.addresses);
  const views = one.members.views();
  const both = await until(views, ({ members }) => members.length === 2);
  assert.deepEqual(names(both.members), ["one", "two"]);
  await until(two.members.views(), ({ members }) => members.length === 2);
  assert.equal(two.members.clusterId, one.members.clusterId);
  assert.equal(two.members.current?.digest, one.members.current?.digest);
  const [before] = both.members.filter(({ name }) => name === "two");

  await failure(
    async () => await one.members.kick({ address: "tcp://127.0.0.1:1" }),
    Code.notFound,
    /^there is no member at tcp:\/\/127\.0\.0\.1:1$/,
  );
  await failure(
    async () => await one.members.kick(one.members.self!),
    Code.failedPrecondition,
    /call leave\(\)$/,
  );
  one.members.kick(before);
  await until(views, ({ left }) => left.some(({ nodeId }) => nodeId === two.nodeId));
  const again = one.members.current?.members.find(({ name }) => name === "two") ??
    (await until(views, ({ members }) => members.length === 2)).members
      .find(({ name }) => name === "two");
  assert.equal(again?.nodeId, two.nodeId);
  assert.notEqual(again?.incarnation, before.incarnation);

  await until(
    two.members.views(),
    ({ members }) => members.some(({ incarnation }) => incarnation === again?.incarnation),
  );
  await two.members.leave();
  assert.equal(two.members.state, "left");
  assert.equal(two.members.current, undefined);
  assert.equal(two.members.problem, "this node has left");
  await until(views, ({ members }) => members.length === 1);
  await failure(two.members.leave(), Code.failedPrecondition, /: this node has left$/);
  await failure(
    async () => await two.members.kick({ address: one.rpc.addresses[0] }),
    Code.failedPrecondition,
    /^this node is no member of a cluster: this node has left$/,
  );
});

test("members: a node that finds nobody says whom it asked", async () => {
  await using node = await member("lost", ["tcp://127.0.0.1:1"]);
  assert.equal(node.members.state, "joining");
  assert.match(node.members.problem ?? "", /^joining: /);
  assert.equal(node.members.current, undefined);
  await failure(node.members.leave(), Code.failedPrecondition, /no member .*: joining: /);
});

test("members: where membership is off there are none", async () => {
  await using node = await startQuiet({ dev: true, membership: { enabled: false } });
  await failure(
    async () => await node.members.state,
    Code.failedPrecondition,
    /^membership is off: set membership\.enabled = true$/,
  );
  assert.ok(!("membership" in node.status().modules));
  assert.ok(!node.metrics.expose("prometheus").includes("covey_membership_"));
});
