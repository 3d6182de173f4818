/** Leases: granted through the log, timed by the leader, ended by the log. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { encodeText } from "../../src/base/bytes.ts";
import { KV, Lease } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import type { LeaseKeepAliveResponse } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { encodeCommand } from "../../src/kv/core/command_codec.ts";
import { Requests } from "../../src/kv/client_requests.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { FakeCluster, type FakeNode, settle } from "./support.ts";

const bytes = encodeText;

/** A stream of renewals. */
class KeepAlive {
  readonly #requests = new Requests<{ id: bigint }>();
  readonly #responses: AsyncIterator<LeaseKeepAliveResponse>;

  constructor(node: FakeNode) {
    this.#responses = node.local(Lease).leaseKeepAlive(this.#requests)[Symbol.asyncIterator]();
  }

  /** Seconds; 0 for a lease that is over. */
  async renew(id: bigint): Promise<number> {
    this.#requests.push({ id });
    const { value } = await this.#responses.next();
    assert.equal(value.id, id);
    return Number(value.ttl);
  }

  /** Waits for an answer that nothing was asked for. */
  idle(): Promise<unknown> {
    return this.#responses.next();
  }

  /** Many at once, answered in their order. */
  async renewAll(ids: readonly bigint[]): Promise<number[]> {
    for (const id of ids) this.#requests.push({ id });
    const ttls: number[] = [];
    for (const id of ids) {
      const { value } = await this.#responses.next();
      assert.equal(value.id, id);
      ttls.push(Number(value.ttl));
    }
    return ttls;
  }

  end(): void {
    this.#requests.end();
  }
}

async function exists(cluster: FakeCluster, key: string): Promise<boolean> {
  return (await cluster.nodes[0].local(KV).range({ key: bytes(key) })).count > 0n;
}

test("a lease that nobody renews ends with its keys, and the timer with the leases", async () => {
  const cluster = new FakeCluster();
  const { manual } = cluster;
  const [node] = cluster.nodes;
  const lease = node.local(Lease), kv = node.local(KV);
  assert.equal(manual.timers, 0);
  const { id, ttl } = await lease.leaseGrant({ ttl: 10n });
  assert.equal(ttl, 10n);
  assert.equal(manual.timers, 1);
  await kv.put({ key: bytes("a"), lease: id });
  await kv.put({ key: bytes("b"), lease: id });
  await kv.put({ key: bytes("c") });
  await manual.advance(9_900);
  assert.ok(await exists(cluster, "a"));
  const { revision } = node.module.machine;
  await manual.advance(200);
  assert.deepEqual([await exists(cluster, "a"), await exists(cluster, "b")], [false, false]);
  assert.ok(await exists(cluster, "c"));
  assert.equal(node.module.machine.revision, revision + 1, "all of its keys in one revision");
  assert.deepEqual((await lease.leaseLeases({})).leases, []);
  assert.equal(manual.timers, 0, "without leases there is no timer");
  await cluster.close();
});

test("renewing: the whole time again, without an entry of the log", async () => {
  const cluster = new FakeCluster();
  const { manual } = cluster;
  const [node] = cluster.nodes;
  const { id } = await node.local(Lease).leaseGrant({ ttl: 10n });
  const entries = cluster.log.length;
  const keepAlive = new KeepAlive(node);
  for (let at = 0; at < 5; at++) {
    await manual.advance(8_000);
    assert.equal(await keepAlive.renew(id), 10);
  }
  assert.equal(cluster.log.length, entries);
  await manual.advance(10_200);
  assert.equal(await keepAlive.renew(id), 0, "it is over");
  assert.equal(await keepAlive.renew(12345n), 0, "it never was");
  keepAlive.end();
  await cluster.close();
});

test("many renewals at once are answered in order", async () => {
  const cluster = new FakeCluster();
  const [node] = cluster.nodes;
  const ids: bigint[] = [];
  for (let at = 0; at < 50; at++) ids.push((await node.local(Lease).leaseGrant({ ttl: 10n })).id);
  const keepAlive = new KeepAlive(node);
  const asked = [...ids, 999_999n, ...ids];
  const ttls = await keepAlive.renewAll(asked);
  assert.deepEqual(ttls, [...ids.map(() => 10), 0, ...ids.map(() => 10)]);
  keepAlive.end();
  await cluster.close();
});

test("an id that no lease can have is over, and the stream goes on for the others", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const [leader, follower] = cluster.nodes;
  await leader.serve();
  const { id } = await leader.local(Lease).leaseGrant({ ttl: 10n });
  for (const node of [leader, follower]) {
    const keepAlive = new KeepAlive(node);
    const ttls = keepAlive.renewAll([id, -1n, 1n << 60n, -(1n << 63n), 0n, id]);
    assert.deepEqual(await settle(cluster, ttls), [10, 0, 0, 0, 0, 10]);
    keepAlive.end();
  }
  await cluster.close();
});

test("what a lease has is told before a large entry or after it, never within it", async () => {
  const keys = 3_000;
  // The entry begins at any moment while the question is under way.
  for (let moment = 0; moment < 10; moment++) {
    const cluster = new FakeCluster();
    const [node] = cluster.nodes;
    const kv = cluster.client();
    const lease = node.local(Lease);
    const { id } = await lease.leaseGrant({ ttl: 100n });
    for (let at = 0; at < keys; at += 100) {
      const success = Array.from(
        { length: 100 },
        (_, index) => ({ put: `k/${at + index}`, value: "", lease: Number(id) }),
      );
      await kv.transact({ success });
    }
    const asked = lease.leaseTimeToLive({ id, keys: true });
    for (let left = moment; left > 0; left--) await Promise.resolve();
    cluster.append(encodeCommand({ kind: "leaseRevoke", id: Number(id) }));
    const { ttl, keys: told } = await settle(cluster, asked);
    assert.equal(told.length, ttl === -1n ? 0 : keys, `moment ${moment}`);
    await cluster.close();
  }
});

test("keys of a lease that no message can hold are refused, and nothing stays pinned", async () => {
  const cluster = new FakeCluster({ options: { messageBytesMax: 20_000 } });
  const [node] = cluster.nodes;
  const lease = node.local(Lease);
  const { id } = await lease.leaseGrant({ ttl: 100n });
  const name = "k".repeat(300);
  for (let at = 0; at < 100; at++) {
    await node.local(KV).put({ key: bytes(`${name}${at}`), lease: id });
  }
  const asked = settle(cluster, lease.leaseTimeToLive({ id, keys: true }));
  const error = await asked.catch((thrown) => thrown);
  assert.equal(error.code, Code.resourceExhausted);
  assert.match(error.rawMessage, /ask without keys/);
  assert.equal(node.module.machine.pinned, false);
  const { ttl } = await settle(cluster, lease.leaseTimeToLive({ id }));
  assert.equal(ttl, 100n);
  await node.local(KV).deleteRange({ key: bytes("k"), rangeEnd: bytes("l") });
  const { keys } = await settle(cluster, lease.leaseTimeToLive({ id, keys: true }));
  assert.deepEqual([keys, node.module.machine.pinned], [[], false]);
  await cluster.close();
});

test("time to live, by the leader and through a follower", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const { manual } = cluster;
  const [leader, follower] = cluster.nodes;
  await leader.serve();
  const { id } = await follower.local(Lease).leaseGrant({ ttl: 100n });
  await leader.local(KV).put({ key: bytes("b"), lease: id });
  await leader.local(KV).put({ key: bytes("a"), lease: id });
  await manual.advance(30_500);
  for (const node of [leader, follower]) {
    const status = await settle(cluster, node.local(Lease).leaseTimeToLive({ id, keys: true }));
    assert.deepEqual([status.ttl, status.grantedTtl], [69n, 100n]);
    assert.deepEqual(status.keys, [bytes("a"), bytes("b")]);
    const none = await settle(cluster, node.local(Lease).leaseTimeToLive({ id: 9999n }));
    assert.deepEqual([none.ttl, none.grantedTtl], [-1n, 0n]);
    const { leases } = await node.local(Lease).leaseLeases({});
    assert.deepEqual(leases.map((one) => one.id), [id]);
  }
  await cluster.close();
});

test("a follower forwards renewals to the leader, many on one stream", async () => {
  const cluster = new FakeCluster({ nodes: 3 });
  for (const node of cluster.nodes) await node.serve();
  const [leader, follower] = cluster.nodes;
  const ids: bigint[] = [];
  for (let at = 0; at < 10; at++) ids.push((await leader.local(Lease).leaseGrant({ ttl: 10n })).id);
  const streams = [new KeepAlive(follower), new KeepAlive(follower)];
  for (const stream of streams) {
    const ttls = await settle(cluster, stream.renewAll([...ids, 4242n]));
    assert.deepEqual(ttls, [...ids.map(() => 10), 0]);
  }
  assert.equal(follower.module.counters.renewalsForwarded, 22);
  // Another leader: the same streams go on.
  cluster.elect(2);
  await turns();
  assert.deepEqual(await settle(cluster, streams[0].renewAll(ids)), ids.map(() => 10));
  assert.equal(cluster.nodes[2].module.counters.leasesRenewed, 10);
  for (const stream of streams) stream.end();
  await cluster.close();
});

test("streams of renewals do not hold up a node that shuts down", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  for (const node of cluster.nodes) await node.serve();
  const { id } = await cluster.nodes[0].local(Lease).leaseGrant({ ttl: 10n });
  for (const node of cluster.nodes) {
    const stream = new KeepAlive(node);
    assert.equal(await settle(cluster, stream.renew(id)), 10);
    const idle = stream.idle();
    await turns();
    node.module.stop();
    await assert.rejects(idle, /\[unavailable\] the node is shutting down/);
    if (node === cluster.nodes[0]) cluster.elect(1);
  }
  await cluster.close();
});

test("a renewal that was forwarded is not forwarded again", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  for (const node of cluster.nodes) await node.serve();
  const [, follower] = cluster.nodes;
  const metadata = { "covey-kv-forwarded": "1" };
  const requests = new Requests<{ id: bigint }>();
  requests.push({ id: 1n });
  const stream = follower.local(Lease).leaseKeepAlive(requests, { metadata });
  await assert.rejects(
    stream[Symbol.asyncIterator]().next(),
    /\[unavailable\] this node does not lead any more/,
  );
  await assert.rejects(
    follower.local(Lease).leaseTimeToLive({ id: 1n }, { metadata }),
    /does not lead/,
  );
  await cluster.close();
});

test("a new leader grants every lease its whole time again", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const { manual } = cluster;
  const { id } = await cluster.nodes[0].local(Lease).leaseGrant({ ttl: 10n });
  await cluster.nodes[0].local(KV).put({ key: bytes("a"), lease: id });
  await manual.advance(9_000);
  cluster.elect(1);
  await manual.advance(9_000);
  assert.ok(await exists(cluster, "a"));
  await manual.advance(1_200);
  assert.ok(!await exists(cluster, "a"));
  await cluster.close();
});

test("case 30: a leader that was deposed without knowing ends no lease", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const { manual } = cluster;
  const [old] = cluster.nodes;
  const { id } = await old.local(Lease).leaseGrant({ ttl: 5n });
  await old.local(KV).put({ key: bytes("a"), lease: id });
  // Its proposals wait somewhere on their way while it is replaced.
  cluster.faults.held = true;
  await manual.advance(5_200);
  cluster.elect(1);
  cluster.release();
  await turns();
  await manual.advance(3_000);
  assert.ok(await exists(cluster, "a"), "the new leader counts from its own beginning");
  await manual.advance(3_000);
  assert.ok(!await exists(cluster, "a"));
  await cluster.close();
});

test("a process that was held up does not count that time against anybody", async () => {
  const cluster = new FakeCluster();
  const { manual } = cluster;
  const { id } = await cluster.nodes[0].local(Lease).leaseGrant({ ttl: 5n });
  await cluster.nodes[0].local(KV).put({ key: bytes("a"), lease: id });
  await manual.advance(1_000);
  // The machine slept for a minute: nobody could have renewed.
  await manual.jump(60_000);
  assert.ok(await exists(cluster, "a"));
  const keepAlive = new KeepAlive(cluster.nodes[0]);
  assert.equal(await keepAlive.renew(id), 5);
  await manual.advance(4_900);
  assert.ok(await exists(cluster, "a"));
  // From then on its time counts again.
  await manual.advance(1_000);
  assert.ok(!await exists(cluster, "a"));
  keepAlive.end();
  await cluster.close();
});

test("ending leases is tried again until it is done", async () => {
  const cluster = new FakeCluster();
  const { manual } = cluster;
  const { id } = await cluster.nodes[0].local(Lease).leaseGrant({ ttl: 2n });
  await cluster.nodes[0].local(KV).put({ key: bytes("a"), lease: id });
  cluster.faults.refused = 2;
  cluster.faults.proposalsLost = 1;
  await manual.advance(2_200);
  assert.ok(await exists(cluster, "a"));
  await manual.advance(2_000);
  assert.ok(!await exists(cluster, "a"));
  assert.equal(manual.timers, 0);
  await cluster.close();
});

test("an end whose answer was lost is an end", async () => {
  const cluster = new FakeCluster();
  const { manual } = cluster;
  await cluster.nodes[0].local(Lease).leaseGrant({ ttl: 2n });
  cluster.faults.answersLost = 1;
  await manual.advance(2_200);
  assert.deepEqual((await cluster.nodes[0].local(Lease).leaseLeases({})).leases, []);
  const entries = cluster.log.length;
  await manual.advance(2_000);
  assert.equal(cluster.log.length, entries, "it is not ended twice");
  await cluster.close();
});

test("long leases are checkpointed, so that a new leader does not begin anew", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const { manual } = cluster;
  const [first, second] = cluster.nodes;
  const { id } = await first.local(Lease).leaseGrant({ ttl: 1_000n });
  await manual.advance(650_000);
  assert.equal(first.module.machine.lease(Number(id))?.remainingMs, 400_000);
  cluster.elect(1);
  await turns();
  const left = async (): Promise<bigint> => (await second.local(Lease).leaseTimeToLive({ id })).ttl;
  assert.equal(await left(), 400n);
  // A renewal tells the log that it has its whole time again, before it is answered.
  const keepAlive = new KeepAlive(second);
  assert.equal(await keepAlive.renew(id), 1_000);
  assert.equal(second.module.machine.lease(Number(id))?.remainingMs, 0);
  const entries = cluster.log.length;
  assert.equal(await keepAlive.renew(id), 1_000);
  assert.equal(cluster.log.length, entries, "once is enough");
  keepAlive.end();
  await cluster.close();
});

test("a renewal whose checkpoint fails fails, and asks for it again", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const { manual } = cluster;
  const { id } = await cluster.nodes[0].local(Lease).leaseGrant({ ttl: 1_000n });
  await manual.advance(310_000);
  cluster.elect(1);
  await turns();
  cluster.faults.proposalsLost = 1;
  await assert.rejects(
    settle(
      cluster,
      new KeepAlive(cluster.nodes[1]).renew(id).catch((error) => {
        throw CoveyError.from(error);
      }),
    ),
    /the leader was lost/,
  );
  const keepAlive = new KeepAlive(cluster.nodes[1]);
  assert.equal(await keepAlive.renew(id), 1_000);
  assert.equal(cluster.nodes[1].module.machine.lease(Number(id))?.remainingMs, 0);
  keepAlive.end();
  await cluster.close();
});

test("no renewal is answered before the log knows of the lease's whole time", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const { manual } = cluster;
  const [first, second] = cluster.nodes;
  const { id } = await first.local(Lease).leaseGrant({ ttl: 1_000n });
  await manual.advance(650_000);
  cluster.elect(1);
  await turns();
  // What the first renewal asks for is on its way, and may never come to be.
  cluster.faults.held = true;
  const streams = [new KeepAlive(second), new KeepAlive(second)];
  let answered = 0;
  const renewing = streams.map((stream) => stream.renew(id).then(() => answered++));
  await turns();
  assert.equal(answered, 0, "the next leader would grant 400 s");
  cluster.release();
  await Promise.all(renewing);
  assert.equal(second.module.machine.lease(Number(id))?.remainingMs, 0);
  for (const stream of streams) stream.end();
  await cluster.close();
});

test("revoking deletes the keys; a chosen id can be used again", async () => {
  const cluster = new FakeCluster();
  const [node] = cluster.nodes;
  const lease = node.local(Lease);
  await lease.leaseGrant({ ttl: 10n, id: 7n });
  await node.local(KV).put({ key: bytes("a"), lease: 7n });
  const { header } = await lease.leaseRevoke({ id: 7n });
  assert.equal(header?.revision, 3n);
  assert.ok(!await exists(cluster, "a"));
  assert.equal(cluster.manual.timers, 1, "the timer finds out by itself");
  assert.equal((await lease.leaseGrant({ ttl: 1n, id: 7n })).id, 7n);
  await cluster.manual.advance(1_200);
  assert.deepEqual((await lease.leaseLeases({})).leases, []);
  await cluster.close();
});

test("a grant that is repeated within a session does not revive a lease", async () => {
  const cluster = new FakeCluster();
  const [node] = cluster.nodes;
  const lease = node.local(Lease);
  const { id: session } = await node.local(KV).openSession({});
  const grant = { ttl: 5n, session: { id: session, sequence: 1n, acknowledged: 0n } };
  const { id } = await lease.leaseGrant(grant);
  await cluster.manual.advance(4_000);
  assert.equal((await lease.leaseGrant(grant)).id, id);
  await cluster.manual.advance(1_200);
  assert.equal((await lease.leaseGrant(grant)).id, id, "the kept answer");
  assert.equal((await lease.leaseTimeToLive({ id })).ttl, -1n);
  assert.equal(cluster.manual.timers, 0);
  await cluster.close();
});

test("1,500 leases end in three commands", async () => {
  const cluster = new FakeCluster();
  const lease = cluster.nodes[0].local(Lease);
  await Promise.all(Array.from({ length: 1_500 }, () => lease.leaseGrant({ ttl: 3n })));
  const entries = cluster.log.length;
  await cluster.manual.advance(3_500);
  assert.equal(cluster.log.length, entries + 3);
  assert.deepEqual((await lease.leaseLeases({})).leases, []);
  await cluster.close();
});
