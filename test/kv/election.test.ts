/** Elections and locks: one at a time, in the order of arrival, and never longer than a lease. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { decodeText, encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import { Election, KV, Lease, Lock } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { FakeCluster, settle } from "./support.ts";

const bytes = encodeText;

interface Scene {
  readonly cluster: FakeCluster;
  /** A lease that lives for this many seconds. */
  lease(ttl?: bigint): Promise<bigint>;
}

function electionTest(name: string, nodes: number, body: (scene: Scene) => Promise<void>): void {
  test(name, async () => {
    const cluster = new FakeCluster({ nodes });
    const lease = async (ttl = 1_000n): Promise<bigint> =>
      (await cluster.nodes[0].local(Lease).leaseGrant({ ttl })).id;
    try {
      await body({ cluster, lease });
    } finally {
      await cluster.close();
    }
  });
}

/** Whether a promise has settled. */
function watched<T>(promise: Promise<T>): { isDone: boolean; promise: Promise<T> } {
  const state = { isDone: false, promise };
  promise.then(() => state.isDone = true, () => state.isDone = true);
  return state;
}

electionTest("a lock is held by one, then by the next in line", 2, async ({ cluster, lease }) => {
  const [first, second] = cluster.nodes;
  const name = bytes("job");
  const leases = [await lease(), await lease(), await lease()];
  const { key } = await first.local(Lock).lock({ name, lease: leases[0] });
  assert.equal(decodeText(key), `job/${leases[0].toString(16)}`);
  const next = watched(second.local(Lock).lock({ name, lease: leases[1] }));
  await turns();
  const last = watched(first.local(Lock).lock({ name, lease: leases[2] }));
  await turns();
  assert.deepEqual([next.isDone, last.isDone], [false, false]);
  await second.local(Lock).unlock({ key });
  await turns();
  assert.deepEqual([next.isDone, last.isDone], [true, false]);
  await first.local(Lock).unlock({ key: (await next.promise).key });
  await turns();
  assert.ok(last.isDone);
  // Who holds it gets it again at once.
  const again = await second.local(Lock).lock({ name, lease: leases[2] });
  assert.deepEqual(again.key, (await last.promise).key);
});

electionTest("a holder whose lease ends makes room", 1, async ({ cluster, lease }) => {
  const lock = cluster.nodes[0].local(Lock);
  await lock.lock({ name: bytes("l"), lease: await lease(2n) });
  const next = watched(lock.lock({ name: bytes("l"), lease: await lease() }));
  await cluster.manual.advance(1_500);
  assert.ok(!next.isDone);
  await cluster.manual.advance(1_000);
  assert.ok(next.isDone);
});

electionTest("who waits loses its place when its lease ends", 1, async ({ cluster, lease }) => {
  const lock = cluster.nodes[0].local(Lock);
  const held = await lock.lock({ name: bytes("l"), lease: await lease() });
  const gone = lock.lock({ name: bytes("l"), lease: await lease(2n) })
    .catch((error) => error);
  const last = watched(lock.lock({ name: bytes("l"), lease: await lease() }));
  await cluster.manual.advance(2_500);
  const error = await gone;
  assert.ok(error instanceof CoveyError);
  assert.equal(error.code, Code.notFound);
  assert.match(error.message, /the lease ended while waiting: grant another one/);
  await lock.unlock({ key: held.key });
  await turns();
  assert.ok(last.isDone);
});

electionTest("who leaves while waiting leaves the line", 1, async ({ cluster, lease }) => {
  const [node] = cluster.nodes;
  const held = await node.local(Lock).lock({ name: bytes("l"), lease: await lease() });
  const controller = new AbortController();
  const left = node.local(Lock)
    .lock({ name: bytes("l"), lease: await lease() }, { signal: controller.signal })
    .catch((error) => error);
  await turns();
  const timed = node.local(Lock).lock({ name: bytes("l"), lease: await lease() }, {
    timeoutMs: 500,
  })
    .catch((error) => error);
  const last = watched(node.local(Lock).lock({ name: bytes("l"), lease: await lease() }));
  const count = async (): Promise<bigint> => {
    const range = { key: bytes("l/"), rangeEnd: bytes("l0") };
    return (await node.local(KV).range(range)).count;
  };
  await turns();
  assert.equal(await count(), 4n);
  controller.abort();
  assert.equal((await left).code, Code.canceled);
  await turns();
  assert.equal(await count(), 3n);
  await cluster.manual.advance(600);
  assert.equal((await timed).code, Code.deadlineExceeded);
  assert.equal(await count(), 2n);
  await node.local(Lock).unlock({ key: held.key });
  await turns();
  assert.ok(last.isDone);
});

electionTest(
  "who leaves before its node has heard of its key leaves the line, too",
  2,
  async (scene) => {
    const { cluster, lease } = scene;
    const [leader, follower] = cluster.nodes;
    const id = await lease();
    await turns();
    follower.paused = true;
    const left = follower.local(Lock).lock({ name: bytes("l"), lease: id }, { timeoutMs: 500 })
      .catch((error) => error);
    await turns();
    const kv = leader.local(KV);
    assert.equal((await kv.range({ key: bytes("l/"), rangeEnd: bytes("l0") })).count, 1n);
    await cluster.manual.advance(600);
    assert.equal((await left).code, Code.deadlineExceeded);
    await turns();
    assert.equal((await kv.range({ key: bytes("l/"), rangeEnd: bytes("l0") })).count, 0n);
  },
);

electionTest("whom the node asked before takes back enters the line again", 2, async (scene) => {
  const { cluster, lease } = scene;
  const [first, second] = cluster.nodes;
  const held = await first.local(Lock).lock({ name: bytes("l"), lease: await lease() });
  const id = await lease();
  const controller = new AbortController();
  const left = first.local(Lock)
    .lock({ name: bytes("l"), lease: id }, { signal: controller.signal })
    .catch((error) => error);
  await turns();
  // The client has lost its connection and asks elsewhere; its first node hears of that later.
  const raw = second.local(Lock).lock({ name: bytes("l"), lease: id }).catch((error) => error);
  const kv = cluster.client({ nodes: [1] });
  const waiting = watched(kv.lock("l", { lease: Number(id) }));
  await turns();
  controller.abort();
  assert.equal((await left).code, Code.canceled);
  assert.match(`${await raw}`, /\[unavailable\] the candidacy was taken back/);
  await cluster.manual.advance(1_000);
  assert.ok(!waiting.isDone, "its lease lives, so it waits");
  await first.local(Lock).unlock({ key: held.key });
  const lock = await settle(cluster, waiting.promise);
  assert.equal(lock.lease, Number(id));
  await lock.unlock();
});

electionTest("bad requests", 1, async ({ cluster, lease }) => {
  const [node] = cluster.nodes;
  const election = node.local(Election), lock = node.local(Lock);
  const name = bytes("e");
  await assert.rejects(lock.lock({ name }), /\[invalid_argument\] a lease is needed/);
  await assert.rejects(lock.lock({ lease: 1n }), /\[invalid_argument\] the name is empty/);
  await assert.rejects(lock.lock({ name, lease: 99n }), /\[not_found\] the lease does not exist/);
  await assert.rejects(election.campaign({ name, lease: 99n }), /\[not_found\]/);
  await assert.rejects(election.campaign({ lease: await lease() }), /the name is empty/);
  await assert.rejects(election.leader({}), /the name is empty/);
  await assert.rejects(election.leader({ name }), /\[not_found\] nobody is elected/);
  await assert.rejects(election.proclaim({}), /the leader's key is missing/);
  await assert.rejects(election.resign({}), /the leader's key is missing/);
  await assert.rejects(lock.unlock({}), /the key is empty/);
  // Without its revision it would be the proof of a key that nobody has.
  const leader = { name, key: bytes("e/77"), lease: 0n };
  await assert.rejects(election.proclaim({ leader, value: name }), /leader.rev is missing/);
  await assert.rejects(election.resign({ leader }), /leader.rev is missing/);
  await assert.rejects(election.leader({ name }), /nobody is elected/);
});

electionTest("an election: campaign, leader, proclaim, observe, resign", 2, async (scene) => {
  const { cluster, lease } = scene;
  const [one, two] = cluster.nodes.map((node) => node.local(Election));
  const name = bytes("boss");
  const told: string[] = [];
  const controller = new AbortController();
  const observing = (async () => {
    for await (const { kv } of two.observe({ name }, { signal: controller.signal })) {
      told.push(decodeText(kv!.value)!);
    }
  })().catch((error) => error);
  const first = await one.campaign({ name, lease: await lease(), value: bytes("A") });
  const leader = first.leader!;
  assert.deepEqual(leader.name, name);
  assert.equal(leader.rev, first.header!.revision);
  const second = watched(two.campaign({ name, lease: await lease(), value: bytes("B") }));
  await turns();
  assert.ok(!second.isDone);
  assert.equal(decodeText((await two.leader({ name })).kv!.value), "A");
  await two.proclaim({ leader, value: bytes("A2") });
  await turns();
  assert.equal(decodeText((await one.leader({ name })).kv!.value), "A2");
  await one.resign({ leader });
  await turns();
  assert.ok(second.isDone);
  assert.equal(decodeText((await one.leader({ name })).kv!.value), "B");
  await assert.rejects(
    one.proclaim({ leader, value: bytes("A3") }),
    /\[failed_precondition\] not elected any more/,
  );
  // Resigning what is over is nothing.
  await one.resign({ leader });
  assert.deepEqual(told, ["A", "A2", "B"]);
  controller.abort();
  assert.equal((await observing).code, Code.canceled);
});

electionTest("campaigning again with the same lease changes the value", 1, async (scene) => {
  const { cluster, lease } = scene;
  const election = cluster.nodes[0].local(Election);
  const name = bytes("e");
  const id = await lease();
  const first = await election.campaign({ name, lease: id, value: bytes("1") });
  const second = await election.campaign({ name, lease: id, value: bytes("2") });
  assert.equal(second.leader?.rev, first.leader?.rev);
  assert.equal(decodeText((await election.leader({ name })).kv!.value), "2");
  assert.equal((await election.leader({ name })).kv!.lease, id);
});

electionTest("waiting goes on through a restore and another leader", 2, async (scene) => {
  const { cluster, lease } = scene;
  const [leader, follower] = cluster.nodes;
  const held = await leader.local(Lock).lock({ name: bytes("l"), lease: await lease() });
  const next = watched(follower.local(Lock).lock({ name: bytes("l"), lease: await lease() }));
  await turns();
  follower.paused = true;
  const restoring = follower.restoreFrom(leader);
  await turns();
  assert.ok(!next.isDone);
  await leader.local(Lock).unlock({ key: held.key });
  restoring.finish();
  await turns();
  assert.ok(!next.isDone, "it has not heard of it yet");
  follower.resume();
  await turns();
  assert.ok(next.isDone);
  await next.promise;
});

electionTest(
  "whose lease ended just before is not told that it holds the lock",
  2,
  async (scene) => {
    const { cluster, lease } = scene;
    const [leader, follower] = cluster.nodes;
    const held = await leader.local(Lock).lock({ name: bytes("l"), lease: await lease() });
    const id = await lease();
    const waiting = follower.local(Lock).lock({ name: bytes("l"), lease: id }).catch((error) =>
      error
    );
    await turns();
    // The node that waits hears first that the lock is free, and then that its client is gone.
    follower.paused = true;
    await leader.local(Lock).unlock({ key: held.key });
    const heard = cluster.log.length;
    await leader.local(Lease).leaseRevoke({ id });
    follower.resume(heard);
    await turns();
    follower.resume();
    const error = await waiting;
    assert.ok(error instanceof CoveyError, "the lock is not held");
    assert.equal(error.code, Code.notFound);
  },
);

test("at most one holds a lock, whoever crashes, waits and leaves", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const prng = new Prng(seed);
    const cluster = new FakeCluster({ nodes: 3 });
    const kv = cluster.client();
    /** Who holds it, by the store's own word: the oldest key. */
    let holders = 0, most = 0, taken = 0;
    const worker = async (index: number): Promise<void> => {
      for (let round = 0; round < 6; round++) {
        const client = cluster.client({ nodes: [index % 3, (index + 1) % 3] });
        const timeoutMs = prng.chance(0.2) ? prng.between(1, 2_000) : undefined;
        const lock = await client.lock("l", { ttlMs: 5_000, timeoutMs }).catch((error) => {
          assert.ok(error instanceof CoveyError, `${error}`);
          const isLost = error.code === Code.notFound || error.code === Code.unavailable;
          assert.ok(timeoutMs !== undefined || isLost, `${error}`);
        });
        if (lock === undefined) continue;
        taken++;
        holders++;
        most = Math.max(most, holders);
        // A write under the lock is fenced by its key.
        const done = await client.transact({
          compare: [lock.held],
          success: [{ put: "fenced", value: `${index}` }],
        });
        assert.ok(done.succeeded);
        holders--;
        if (prng.chance(0.2)) await client.close();
        else await lock.unlock();
      }
    };
    const workers = Promise.all(Array.from({ length: 6 }, (_, index) => worker(index)));
    let isOver = false;
    workers.then(() => isOver = true, () => isOver = true);
    while (!isOver) {
      await cluster.manual.advance(prng.below(500));
      if (prng.chance(0.05)) cluster.elect(prng.below(3));
      if (prng.chance(0.02)) cluster.faults.answersLost = 1;
      if (prng.chance(0.02)) cluster.faults.proposalsLost = 1;
    }
    await workers;
    assert.equal(most, 1, `seed ${seed}`);
    assert.ok(taken > 10, `seed ${seed}: ${taken} times`);
    await kv.close();
    await cluster.close();
  }
});

electionTest("the client's lock: its own lease, a signal, and giving back", 2, async (scene) => {
  const { cluster } = scene;
  const kv = cluster.client();
  {
    await using lock = await settle(cluster, kv.lock("l", { ttlMs: 10_000 }));
    assert.deepEqual(await kv.leases(), [lock.lease]);
    assert.ok(!lock.signal.aborted);
    // It is renewed while it is held.
    await cluster.manual.advance(30_000);
    assert.ok(!lock.signal.aborted);
    assert.ok((await kv.transact({ compare: [lock.held] })).succeeded);
    // Somebody else may not have it.
    const other = kv.lock("l", { timeoutMs: 1_000 }).catch((error) => error);
    assert.equal((await settle(cluster, other)).code, Code.deadlineExceeded);
  }
  await turns();
  assert.deepEqual(await kv.leases(), []);
  // A lease that is taken away is told.
  const lock = await settle(cluster, kv.lock("l", { ttlMs: 3_000 }));
  await kv.revokeLease(lock.lease);
  await cluster.manual.advance(2_000);
  assert.ok(lock.signal.aborted);
  assert.match(`${lock.signal.reason}`, /its key is gone: the lease ended, or somebody deleted it/);
  assert.ok(!(await kv.transact({ compare: [lock.held] })).succeeded);
  await lock.unlock();
  // A key that is deleted while its lease lives is told as well.
  const again = await settle(cluster, kv.lock("l", { ttlMs: 10_000 }));
  const leadership = await settle(cluster, kv.election("e").campaign("me", { ttlMs: 10_000 }));
  for (const { key, signal } of [again, leadership]) {
    assert.ok(!signal.aborted);
    await kv.delete(key);
    await cluster.manual.advance(100);
    assert.match(`${signal.reason}`, /its key is gone/);
  }
});

electionTest("the client's lock with the caller's lease", 1, async ({ cluster }) => {
  const kv = cluster.client();
  const lease = await kv.lease({ ttlMs: 20_000 });
  const lock = await kv.lock("l", { lease: lease.id });
  assert.equal(lock.lease, lease.id);
  await lock.unlock();
  assert.deepEqual(await kv.leases(), [lease.id], "the lease is the caller's");
  assert.equal((await kv.range({ prefix: "l/" })).count, 0);
  const again = await kv.lock("l", { lease: lease.id });
  await kv.unlock(again.key);
  assert.equal((await kv.range({ prefix: "l/" })).count, 0);
  await lease.revoke();
});

electionTest("what is held by the caller's lease is lost with its key", 1, async ({ cluster }) => {
  const kv = cluster.client();
  const lease = await kv.lease({ ttlMs: 20_000 });
  const kept = await kv.lock("kept", { lease: lease.id });
  const lock = await kv.lock("l", { lease: lease.id });
  const leadership = await settle(
    cluster,
    kv.election("boss").campaign("A", { lease: lease.id }),
  );
  await cluster.manual.advance(100);
  for (const { signal } of [kept, lock, leadership]) assert.ok(!signal.aborted);
  await kv.delete(lock.key);
  await cluster.manual.advance(100);
  assert.ok(lock.signal.aborted);
  assert.match(`${lock.signal.reason}`, /its key is gone/);
  assert.ok(!leadership.signal.aborted);
  // Who gives it back has not lost it.
  await kept.unlock();
  await lease.revoke();
  await cluster.manual.advance(100);
  assert.ok(leadership.signal.aborted);
  assert.ok(!kept.signal.aborted);
});

electionTest("the client's election", 2, async ({ cluster }) => {
  const kv = cluster.client();
  const election = kv.election("boss");
  assert.equal(await election.leader(), undefined);
  const told: string[] = [];
  const controller = new AbortController();
  const observing = (async () => {
    for await (const entry of election.observe({ signal: controller.signal })) {
      told.push(entry.text!);
    }
  })().catch((error) => error);
  const first = await settle(cluster, election.campaign("A", { ttlMs: 5_000 }));
  const second = election.campaign("B", { ttlMs: 5_000 });
  await turns();
  await first.proclaim("A2");
  assert.equal((await election.leader())?.text, "A2");
  assert.ok((await kv.transact({ compare: [first.held] })).succeeded);
  await cluster.manual.advance(20_000);
  assert.equal((await election.leader())?.text, "A2", "it is renewed");
  // The node that serves them goes; both go on at the other one.
  cluster.elect(1);
  cluster.nodes[0].module.stop();
  await cluster.manual.advance(2_000);
  await settle(cluster, first.resign());
  const leadership = await settle(cluster, second);
  assert.ok(leadership.revision > first.revision);
  await assert.rejects(settle(cluster, first.proclaim("A3")), /not elected any more/);
  await cluster.manual.advance(1_000);
  assert.deepEqual(told, ["A", "A2", "B"]);
  controller.abort();
  assert.ok((await observing) instanceof CoveyError);
  await settle(cluster, leadership.resign());
});

electionTest("a lease that cannot be renewed is told in time", 1, async ({ cluster }) => {
  const kv = cluster.client();
  const lease = await kv.lease({ ttlMs: 6_000 });
  await cluster.manual.advance(10_000);
  assert.ok(!lease.signal.aborted);
  cluster.elect(undefined);
  await cluster.manual.advance(3_500);
  assert.ok(!lease.signal.aborted);
  await cluster.manual.advance(3_000);
  assert.ok(lease.signal.aborted, "it may be over: nobody could be reached");
  assert.match(`${lease.signal.reason}`, /was not renewed in its time/);
});

electionTest(
  "leases of the client: status, one renewal, release, revoke",
  1,
  async ({ cluster }) => {
    const kv = cluster.client();
    const lease = await kv.lease({ ttlMs: 1_500, keepAlive: false, id: 42 });
    assert.deepEqual([lease.id, lease.ttlMs], [42, 2_000]);
    await kv.put("a", "1", { lease: 42 });
    const status = await kv.leaseStatus(42, { keys: true });
    assert.deepEqual([status.remainingMs, status.ttlMs], [2_000, 2_000]);
    assert.deepEqual(status.keys, [bytes("a")]);
    await cluster.manual.advance(1_500);
    assert.equal(await kv.renewLease(42), 2_000);
    await cluster.manual.advance(1_500);
    assert.equal((await kv.leaseStatus(42)).remainingMs, 1_000, "what lives has a second");
    await cluster.manual.advance(1_000);
    assert.ok(lease.signal.aborted);
    assert.equal(await kv.renewLease(42), undefined);
    assert.equal((await kv.leaseStatus(42)).remainingMs, undefined);
    await lease.revoke();
    const released = await kv.lease({ ttlMs: 2_000 });
    await cluster.manual.advance(5_000);
    assert.equal(await kv.renewLease(released.id), 2_000);
    released.release();
    await cluster.manual.advance(3_000);
    assert.deepEqual(await kv.leases(), []);
    await assert.rejects(kv.lease({ ttlMs: 0 }), /time to live must be above 0/);
    await assert.rejects(kv.lease({ id: -1 }), /id is -1/);
  },
);

for (const fate of ["held", "gone", "taken anew"] as const) {
  test(`a lock whose watch comes back behind a compaction asks whether it is held: ${fate}`, async () => {
    const cluster = new FakeCluster({ nodes: 2 });
    const [leader, follower] = cluster.nodes;
    const kv = cluster.client({ nodes: [1] });
    const lease = await settle(cluster, kv.lease({ ttlMs: 600_000 }));
    const lock = await settle(cluster, kv.lock("l", { lease: lease.id }));
    const leadership = await settle(
      cluster,
      kv.election("e").campaign("me", { lease: lease.id }),
    );
    const watches = () => follower.module.hub.counters.watches;
    await cluster.manual.advance(100);
    assert.equal(watches(), 2);
    // What follows is not heard of by the node whose streams are lost.
    const other = cluster.client({ nodes: [0] });
    follower.paused = true;
    for (const { key } of fate === "held" ? [] : [lock, leadership]) {
      await settle(cluster, other.delete(key));
      if (fate === "taken anew") await settle(cluster, other.put(key, "", { lease: lease.id }));
    }
    for (let at = 0; at < 5; at++) await settle(cluster, other.put("k", `${at}`));
    await settle(cluster, other.compact(leader.module.machine.revision));
    follower.module.hub.endWhere(
      () => true,
      new CoveyError(Code.unavailable, "the connection was lost"),
    );
    follower.paused = false;
    follower.pump();
    await cluster.manual.advance(5_000);
    for (const { signal } of [lock, leadership]) {
      assert.equal(signal.aborted, fate !== "held", String(signal.reason));
      if (fate !== "held") assert.match(`${signal.reason}`, /its key is gone/);
    }
    assert.equal(watches(), fate === "held" ? 2 : 0, "who knows it follows it no more");
    if (fate === "held") {
      // It is followed on.
      await settle(cluster, other.delete(lock.key));
      await cluster.manual.advance(100);
      assert.ok(lock.signal.aborted);
      assert.ok(!leadership.signal.aborted);
    }
    await cluster.close();
  });
}
