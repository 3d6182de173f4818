/** Caches of several nodes: one fill for all, whoever asks, and owners that move, die and hang. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { cacheReasonOf } from "../../src/cache/refusal.ts";
import type { CacheMember } from "../../src/cache/cluster.ts";
import type { Rendezvous } from "../../src/cache/core/rendezvous.ts";
import { PeekResponse_State } from "../../src/gen/covey/cache/v1/cache_pb.ts";
import {
  type CacheLab,
  gate,
  heldSource,
  type LabNode,
  type Outcome,
  outcomeOf,
  type Run,
  turns,
  valueOf,
  withLab,
} from "./support.ts";

const name = "images";

/** Every node has a source that the test ends. */
function openHeld(lab: CacheLab, nodes: readonly LabNode[] = lab.nodes): Run[] {
  const runs: Run[] = [];
  for (const node of nodes) node.open(name, { fill: heldSource(runs, node) });
  return runs;
}

/** Every node has a source that answers at once; what it counts is who filled what. */
function openQuick(lab: CacheLab, ttlMs = Infinity): string[] {
  const fills: string[] = [];
  for (const [at, node] of lab.nodes.entries()) {
    node.open(name, {
      ttlMs,
      fill: (key) => {
        fills.push(`${at} ${key}`);
        return valueOf(key);
      },
    });
  }
  return fills;
}

function ask(node: LabNode, key: string, options = {}): Outcome {
  return outcomeOf(node.module.namespace(name)!.get(key, options));
}

const states = (outcomes: readonly Outcome[]) =>
  [...new Set(outcomes.map(({ state, reason }) => reason ?? state))].join(" ");

test("a thousand callers on five nodes are one fill, at the owner", async () => {
  await withLab(5, {}, async (lab) => {
    const runs = openHeld(lab);
    const owner = lab.ownerOf(name, "a");
    const outcomes = Array.from({ length: 1000 }, (_, at) => ask(lab.nodes[at % 5], "a"));
    await turns();
    assert.equal(runs.length, 1);
    assert.equal(runs[0].node, owner);
    runs[0].resolve(valueOf("a"));
    await turns();
    assert.ok(outcomes.every(({ value }) => value?.length === 10));
    const asked = lab.nodes.map(({ module }) => module.counters.asked);
    assert.deepEqual(asked, lab.nodes.map((node) => node === owner ? 0 : 1));
    assert.ok(lab.nodes.every(({ module }) => module.crowd.waiting === 0));
  });
});

test("every node takes the same node for the owner", async () => {
  await withLab(5, {}, async (lab) => {
    const fills = openQuick(lab);
    for (let at = 0; at < 50; at++) {
      const owner = lab.ownerOf(name, `k${at}`);
      for (const node of lab.nodes) {
        assert.equal(lab.ownerOf(name, `k${at}`, node), owner);
        assert.deepEqual(await node.module.namespace(name)!.get(`k${at}`), valueOf(`k${at}`));
      }
    }
    assert.equal(fills.length, 50);
    assert.equal(new Set(fills.map((one) => one[0])).size, 5);
  });
});

test("an error of the owner's source goes to all who wait, and nobody fills in its place", async () => {
  await withLab(3, {}, async (lab) => {
    const runs = openHeld(lab);
    const owner = lab.ownerOf(name, "a");
    const outcomes = lab.nodes.map((node) => ask(node, "a"));
    await turns();
    runs[0].reject(new CoveyError(Code.notFound, "no such image"));
    await turns();
    for (const [at, { error, reason }] of outcomes.entries()) {
      assert.deepEqual([reason, error!.code], ["fill_failed", Code.notFound]);
      assert.equal(error!.rawMessage, "the source of images failed: no such image");
      assert.equal(error!.cause === undefined, lab.nodes[at] !== owner);
    }
    assert.equal(runs.length, 1);
    const again = ask(lab.nodes[0], "a");
    await turns();
    assert.equal(runs.length, 2, "it is not kept");
    runs[1].resolve(valueOf("a"));
    await turns();
    assert.equal(again.state, "value");
  });
});

/** Makes a node take another one for the owner of every key. */
function mistake(node: LabNode, owner: LabNode): void {
  const { members } = node.module.owners.table(name, true);
  const taken = members.find(({ nodeId }) => nodeId === owner.nodeId)!;
  const table = { members, owner: () => taken, ranked: () => [taken] };
  node.module.owners.table = () => table as unknown as Rendezvous<CacheMember>;
}

test("two nodes that take each other for the owner do not wait for each other", async () => {
  await withLab(2, { fillTimeoutMs: 60_000 }, async (lab) => {
    const [a, b] = lab.nodes;
    const runs = openHeld(lab);
    // Whatever brought them there: with views alone it cannot come so far, since whom a node asks
    // has a higher score than itself.
    mistake(a, b);
    mistake(b, a);
    const outcomes = [a, b, a, b].map((node) => ask(node, "a"));
    await turns(40);
    // Each fills for the other one, although it waits for that one itself.
    assert.deepEqual(new Set(runs.map(({ node }) => node)), new Set([a, b]));
    assert.equal(runs.length, 2);
    for (const run of runs) run.resolve(valueOf("a"));
    await turns();
    assert.equal(states(outcomes), "value");
    for (const { module } of lab.nodes) {
      assert.deepEqual([module.counters.misrouted, module.crowd.waiting], [1, 0]);
    }
  });
});

test("nodes in different views ask at most once more, and count it", async () => {
  await withLab(3, {}, async (lab) => {
    const fills = openQuick(lab);
    const [a, b, c] = lab.nodes;
    const key = lab.keyOf(name, c);
    // a has not heard that c left; b has.
    lab.install([a, b], [b]);
    const before = c.module.counters.otherView;
    assert.deepEqual(await a.module.namespace(name)!.get(key), valueOf(key));
    assert.deepEqual(await b.module.namespace(name)!.get(key), valueOf(key));
    assert.equal(fills.length, 2);
    assert.equal(c.module.counters.otherView, before, "a and c have the same view");
    lab.install([a, b, c], [a]);
    const next = lab.keyOf(name, c, 1000);
    assert.deepEqual(await a.module.namespace(name)!.get(next), valueOf(next));
    assert.equal(c.module.counters.otherView, before + 1);
  });
});

test("a caller that leaves at another node stops the source when it was the last one", async () => {
  await withLab(3, {}, async (lab) => {
    const runs = openHeld(lab);
    const owner = lab.nodes[2];
    const key = lab.keyOf(name, owner);
    const [first, second] = [new AbortController(), new AbortController()];
    const one = ask(lab.nodes[0], key, { signal: first.signal });
    const two = ask(lab.nodes[1], key, { signal: second.signal });
    const three = ask(owner, key, { timeoutMs: 1000 });
    await turns();
    assert.equal(runs.length, 1);
    first.abort();
    await turns();
    assert.equal(one.reason, Code.canceled);
    assert.ok(!runs[0].signal.aborted);
    await lab.clock.advance(1000);
    assert.equal(three.reason, Code.deadlineExceeded);
    assert.ok(!runs[0].signal.aborted, "one on another node waits still");
    second.abort();
    await turns();
    assert.equal(two.reason, Code.canceled);
    assert.ok(runs[0].signal.aborted);
    assert.ok(lab.nodes.every(({ module }) => module.crowd.waiting === 0));
    const again = ask(lab.nodes[0], key);
    await turns();
    runs[1].resolve(valueOf(key));
    await turns();
    assert.equal(again.state, "value");
  });
});

test("an owner that is gone is replaced by the own source at once", async () => {
  await withLab(3, {}, async (lab) => {
    const fills = openQuick(lab);
    const [a, , c] = lab.nodes;
    const key = lab.keyOf(name, c);
    await c.crash();
    const outcome = ask(a, key, { timeoutMs: 1000 });
    await turns();
    assert.deepEqual(outcome.value, valueOf(key));
    assert.deepEqual(fills, [`0 ${key}`]);
    assert.equal(a.module.counters.fallbacks, 1);
    // It stands among the copies, and is answered from there.
    assert.equal(a.module.store.copies.count, 1);
    assert.deepEqual(await a.module.namespace(name)!.get(key), valueOf(key));
    assert.equal(fills.length, 1);
  });
});

test("an owner that hangs costs at most half of the time, and the next caller none", async () => {
  await withLab(3, { ownerTimeoutMs: 1000, ownerBackoffMs: 5000 }, async (lab) => {
    const fills = openQuick(lab);
    const [a, , c] = lab.nodes;
    const keys = [0, 1000, 2000, 3000].map((from) => lab.keyOf(name, c, from));
    c.isFrozen = true;
    const hurried = ask(a, keys[0], { timeoutMs: 400 });
    await lab.clock.advance(100);
    assert.equal(hurried.state, "waits");
    await lab.clock.advance(110);
    assert.equal(hurried.state, "value");
    assert.equal(a.module.counters.ownersSilent, 1);
    const next = ask(a, keys[1], { timeoutMs: 400 });
    await turns();
    assert.equal(next.state, "value", "nobody waits for it a second time");
    // After a while it is asked again; without a deadline it has the configured time, twice.
    await lab.clock.advance(5000);
    const patient = ask(a, keys[2]);
    await lab.clock.advance(1990);
    assert.equal(patient.state, "waits");
    await lab.clock.advance(30);
    assert.equal(patient.state, "value");
    c.isFrozen = false;
    await lab.clock.advance(5000);
    const back = ask(a, keys[3]);
    await turns();
    assert.equal(back.state, "value");
    assert.equal(fills.at(-1), `2 ${keys[3]}`);
  });
});

test("somebody in a hurry who comes later makes the others' owner answer for itself, too", async () => {
  await withLab(2, { ownerTimeoutMs: 10_000 }, async (lab) => {
    openQuick(lab);
    const [a, b] = lab.nodes;
    const key = lab.keyOf(name, b);
    b.isFrozen = true;
    const patient = ask(a, key);
    await lab.clock.advance(1000);
    const hurried = ask(a, key, { timeoutMs: 400 });
    await lab.clock.advance(210);
    assert.equal(states([patient, hurried]), "value");
  });
});

test("an owner whose source is slow is waited for", async () => {
  await withLab(3, { ownerTimeoutMs: 500 }, async (lab) => {
    const runs = openHeld(lab);
    const [a, b, c] = lab.nodes;
    const key = lab.keyOf(name, c);
    const outcomes = [ask(a, key), ask(b, key, { timeoutMs: 20_000 })];
    await lab.clock.advance(12_000);
    assert.equal(states(outcomes), "waits");
    assert.equal(runs.length, 1, "its answer that it is filling is enough");
    assert.equal(a.module.counters.ownersSilent, 0);
    runs[0].resolve(valueOf(key));
    await turns();
    assert.equal(states(outcomes), "value");
  });
});

test("an owner whose source hangs for ever is not waited for for ever", async () => {
  await withLab(2, { fillTimeoutMs: 5000, ownerTimeoutMs: 500 }, async (lab) => {
    const runs = openHeld(lab);
    const [a, b] = lab.nodes;
    const key = lab.keyOf(name, b);
    const outcome = ask(a, key);
    await lab.clock.advance(5100);
    assert.equal(outcome.reason, "fill_timeout");
    assert.equal(runs.length, 1);
    assert.ok(runs[0].signal.aborted);
  });
});

test("an owner that dies while it fills is replaced", async () => {
  await withLab(3, {}, async (lab) => {
    const runs = openHeld(lab);
    const [a, b, c] = lab.nodes;
    const key = lab.keyOf(name, c);
    const outcomes = [ask(a, key), ask(b, key), ask(a, key, { timeoutMs: 5000 })];
    await turns();
    await c.crash();
    await turns();
    assert.deepEqual(runs.map(({ node }) => node), [c, ...runs.slice(1).map(({ node }) => node)]);
    assert.deepEqual(new Set(runs.slice(1).map(({ node }) => node)), new Set([a, b]));
    for (const run of runs) run.resolve(valueOf(key));
    await turns();
    assert.equal(states(outcomes), "value");
  });
});

test("when the view says that the owner left, the next owner is asked at once", async () => {
  await withLab(4, { ownerTimeoutMs: 60_000 }, async (lab) => {
    const runs = openHeld(lab);
    const key = lab.keyOf(name, lab.nodes[3]);
    const [gone, next] = lab.rankOf(name, key);
    const others = lab.nodes.filter((node) => node !== gone);
    gone.isFrozen = true;
    const outcomes = others.map((node) => ask(node, key));
    await turns();
    assert.equal(runs.length, 0);
    lab.install(others);
    await turns();
    assert.deepEqual(runs.map(({ node }) => node), [next]);
    runs[0].resolve(valueOf(key));
    await turns();
    assert.equal(states(outcomes), "value");
  });
});

test("keys that move are served where they were, and filled anew by who owns them now", async () => {
  await withLab(3, { copyOneIn: 0 }, async (lab) => {
    const fills = openQuick(lab);
    const [a, b, c] = lab.nodes;
    lab.install([a, b]);
    const moving = Array.from({ length: 200 }, (_, at) => `m${at}`)
      .filter((key) => lab.rankOf(name, key).length === 2);
    for (const key of moving) await lab.ownerOf(name, key).module.namespace(name)!.get(key);
    const before = fills.length;
    lab.install([a, b, c]);
    const moved = moving.filter((key) => lab.ownerOf(name, key) === c);
    assert.ok(moved.length > 30, `${moved.length}`);
    for (const key of moved) {
      const was = fills.find((one) => one.endsWith(` ${key}`))!;
      const old = lab.nodes[Number(was[0])];
      assert.deepEqual(await old.module.namespace(name)!.get(key), valueOf(key));
    }
    assert.equal(fills.length, before);
    for (const key of moved) await c.module.namespace(name)!.get(key);
    assert.equal(fills.length, before + moved.length);
  });
});

test("a node without a source asks the next best where the owner cannot answer", async () => {
  await withLab(4, { ownerTimeoutMs: 500 }, async (lab) => {
    const [leaf, ...sources] = lab.nodes;
    const runs = openHeld(lab, sources);
    leaf.open(name, {});
    const key = "a";
    const [first, second, third] = lab.rankOf(name, key);
    first.isFrozen = true;
    await second.crash();
    const outcome = ask(leaf, key, { timeoutMs: 4000 });
    await lab.clock.advance(1100);
    assert.deepEqual(runs.map(({ node }) => node), [third]);
    runs[0].resolve(valueOf(key));
    await turns();
    assert.deepEqual(outcome.value, valueOf(key));
    await third.crash();
    const nobody = ask(leaf, "b", { timeoutMs: 4000 });
    await lab.clock.advance(3900);
    assert.equal(nobody.reason, "no_owner");
    assert.equal(nobody.error!.code, Code.unavailable);
  });
});

test("a node that withdraws its offer is not asked any more, and says so to who does", async () => {
  await withLab(2, {}, async (lab) => {
    const fills = openQuick(lab);
    const [a, b] = lab.nodes;
    const key = lab.keyOf(name, b);
    b.module.namespace(name)!.close();
    assert.equal(lab.ownerOf(name, key), a);
    // a has not heard of it yet.
    a.cluster.namespacesOf = () => [name];
    a.cluster.tell();
    assert.equal(lab.ownerOf(name, key), b);
    assert.deepEqual(await a.module.namespace(name)!.get(key), valueOf(key));
    assert.deepEqual(fills, [`0 ${key}`]);
  });
});

test("copies of other members' values stay within their share and end with the original", async () => {
  const memoryBytesMax = 64 << 10;
  await withLab(2, { memoryBytesMax, copyOneIn: 1, ttlJitter: 0 }, async (lab) => {
    const fills = openQuick(lab, 60_000);
    const [a, b] = lab.nodes;
    const keys = Array.from({ length: 400 }, (_, at) => `k${at}`)
      .filter((key) => lab.ownerOf(name, key) === b).slice(0, 60);
    for (const key of keys) await a.module.namespace(name)!.get(key);
    const { copies, own } = a.module.store;
    assert.ok(copies.bytes <= memoryBytesMax / 8 && copies.count > 10, `${copies.count}`);
    assert.equal(own.count, 0);
    assert.ok(copies.evicted > 0);
    const [last] = keys.slice(-1);
    await lab.clock.advance(30_000);
    assert.notEqual(a.module.namespace(name)!.peek(last), undefined);
    // A copy of the copy's time: 30 s are left of the 60.
    const [fresh] = keys;
    await a.module.namespace(name)!.get(fresh);
    await lab.clock.advance(29_900);
    assert.notEqual(a.module.namespace(name)!.peek(fresh), undefined);
    await lab.clock.advance(200);
    assert.equal(a.module.namespace(name)!.peek(last), undefined);
    assert.equal(a.module.namespace(name)!.peek(fresh), undefined);
    assert.equal(fills.length, keys.length);
  });
});

test("a key that is often asked for is copied soon, one that is not seldom is", async () => {
  await withLab(2, {}, async (lab) => {
    openQuick(lab);
    const [a, b] = lab.nodes;
    const images = a.module.namespace(name)!;
    const hot = lab.keyOf(name, b);
    let asked = 0;
    while (images.peek(hot) === undefined && asked++ < 200) await images.get(hot);
    assert.ok(asked < 100, `${asked}`);
    const cold = Array.from({ length: 800 }, (_, at) => `c${at}`)
      .filter((key) => lab.ownerOf(name, key) === b);
    const before = a.module.counters.copied;
    for (const key of cold) await images.get(key);
    const part = (a.module.counters.copied - before) / cold.length;
    assert.ok(part > 0.06 && part < 0.2, `${part}`);
  });
});

test("a value above a message's size comes from the own source", async () => {
  await withLab(2, { messageBytesMax: 4096, valueBytesMax: 1000 }, async (lab) => {
    const fills: LabNode[] = [];
    for (const node of lab.nodes) {
      node.open(name, {
        fill: (key) => {
          fills.push(node);
          return new Uint8Array(Number(key.split(" ")[1]));
        },
      });
    }
    const [a, b] = lab.nodes;
    const sized = (bytes: number): string => {
      for (let at = 0;; at++) {
        const key = `${at} ${bytes}`;
        if (lab.ownerOf(name, key) === b) return key;
      }
    };
    const images = a.module.namespace(name)!;
    for (const bytes of [3840, 3841]) assert.equal((await images.get(sized(bytes))).length, bytes);
    assert.deepEqual(fills, [b, b, a]);
    assert.ok(!a.module.owners.isSuspect(b));
  });
});

test("a client that is no member may ask any node", async () => {
  await withLab(3, {}, async (lab) => {
    const fills = openQuick(lab);
    const [a, , c] = lab.nodes;
    const key = lab.keyOf(name, c);
    const client = lab.client(a);
    const peeked = await client.peek({ namespace: name, key });
    assert.equal(peeked.state, PeekResponse_State.ABSENT);
    const { value, ttlMillis } = await client.get({ namespace: name, key });
    assert.deepEqual([value, ttlMillis], [valueOf(key), 0]);
    assert.deepEqual(fills, [`2 ${key}`]);
    const refusals = [
      { namespace: "unknown", key },
      { namespace: name, key: "" },
      { namespace: name, key: "x".repeat(1025) },
    ].map((request) => client.get(request).then(() => undefined, cacheReasonOf));
    assert.deepEqual(await Promise.all(refusals), ["not_offered", "key_empty", "key_too_large"]);
    const stats = await client.stats({});
    assert.deepEqual(
      [stats.asked, stats.waiting, stats.memoryBytesMax, stats.namespaces.map((one) => one.name)],
      [1n, 0, 32n << 20n, [name]],
    );
  });
});

test("a peek says that a key is being filled, and starts nothing", async () => {
  await withLab(2, {}, async (lab) => {
    const runs = openHeld(lab);
    const [a, b] = lab.nodes;
    const key = lab.keyOf(name, b);
    const outcome = ask(a, key);
    await turns();
    for (const node of lab.nodes) {
      const { state } = await lab.client(node).peek({ namespace: name, key });
      assert.equal(state, PeekResponse_State.FILLING);
    }
    runs[0].resolve(valueOf(key));
    await turns();
    assert.equal(outcome.state, "value");
    const { state } = await lab.client(b).peek({ namespace: name, key });
    assert.equal(state, PeekResponse_State.FOUND);
  });
});

test("a key is forgotten everywhere, copies and what is under way included", async () => {
  await withLab(4, { copyOneIn: 1 }, async (lab) => {
    const fills = openQuick(lab);
    const [a, b, c, d] = lab.nodes;
    const keys = ["a", "b"];
    for (const node of lab.nodes) {
      for (const key of keys) await node.module.namespace(name)!.get(key);
    }
    assert.equal(fills.length, 2);
    const client = lab.client(b);
    assert.equal((await client.remove({ namespace: name, key: "a" })).removed, 1n);
    assert.notEqual(a.module.namespace(name)!.peek("a"), undefined);
    d.isFrozen = true;
    const removing = client.remove({ namespace: name, key: "a", everywhere: true });
    await lab.clock.advance(6000);
    const { removed, unreached } = await removing;
    assert.deepEqual([removed, unreached], [2n, [d.address]]);
    for (const node of [a, b, c]) assert.equal(node.module.namespace(name)!.peek("a"), undefined);
    assert.notEqual(a.module.namespace(name)!.peek("b"), undefined);
    d.isFrozen = false;
    const all = await client.remove({ namespace: name, everywhere: true });
    assert.deepEqual([all.removed, all.unreached], [5n, []]);
    for (const node of lab.nodes) assert.equal(node.module.namespace(name)!.entries, 0);
  });
});

test("what is on its way to another node while it is forgotten is not kept there", async () => {
  await withLab(2, { copyOneIn: 1 }, async (lab) => {
    const runs = openHeld(lab);
    const [a, b] = lab.nodes;
    const key = lab.keyOf(name, b);
    const outcome = ask(a, key);
    await turns();
    const removing = lab.client(a).remove({ namespace: name, key, everywhere: true });
    await turns();
    assert.equal((await removing).unreached.length, 0);
    runs[0].resolve(valueOf(key));
    await turns();
    assert.equal(outcome.state, "value");
    for (const { module } of lab.nodes) assert.equal(module.namespace(name)!.peek(key), undefined);
  });
});

test("a copy that is taken between two members' removals goes, too", async () => {
  await withLab(2, { copyOneIn: 1 }, async (lab) => {
    openQuick(lab);
    const [a, b] = lab.nodes;
    const key = lab.keyOf(name, b);
    await b.module.namespace(name)!.get(key);
    const { open, opened } = gate();
    b.held.set("Remove", opened);
    const removing = lab.client(a).remove({ namespace: name, key, everywhere: true });
    await turns();
    // a has done its part already, b has not.
    await a.module.namespace(name)!.get(key);
    assert.notEqual(a.module.namespace(name)!.peek(key), undefined);
    b.held.clear();
    open();
    assert.equal((await removing).removed, 2n);
    for (const { module } of lab.nodes) assert.equal(module.namespace(name)!.peek(key), undefined);
  });
});

test("what an owner answers after it was given up changes nothing", async () => {
  await withLab(2, { ownerTimeoutMs: 100, copyOneIn: 1 }, async (lab) => {
    const fills = openQuick(lab);
    const [a, b] = lab.nodes;
    const key = lab.keyOf(name, b);
    const { open, opened } = gate();
    for (const method of ["Get", "Peek"]) b.held.set(method, opened);
    const outcome = ask(a, key);
    await lab.clock.advance(250);
    assert.equal(outcome.state, "value");
    a.module.namespace(name)!.remove();
    b.held.clear();
    open();
    await turns();
    assert.deepEqual([a.module.counters.asked, a.module.counters.ownersSilent], [0, 1]);
    assert.equal(a.module.namespace(name)!.peek(key), undefined);
    assert.deepEqual(fills, [`0 ${key}`], "the owner has heard that nobody waits any more");
  });
});
