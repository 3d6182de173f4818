/**
 * Everything at once, by seeds: views that differ, nodes that die, hang and come back, sources that
 * fail, hang and ignore their signal, callers that leave. After every step what must always hold is
 * looked at; at the end all is calm again, and so must the caches be.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../src/base/error.ts";
import { Prng } from "../../src/base/prng.ts";
import type { FilledValue } from "../../src/cache/fill.ts";
import { CacheLab, type LabNode, type Outcome, outcomeOf, turns } from "./support.ts";

const name = "images";
const seeds = 60;
const steps = 120;

const options = {
  memoryBytesMax: 64 << 10,
  valueBytesMax: 20_000,
  copyOneIn: 2,
  fillsMax: 4,
  waitersMax: 12,
  fillTimeoutMs: 2000,
  ownerTimeoutMs: 200,
  ownerBackoffMs: 500,
  sweepMs: 1000,
};
/** A caller without a time of its own waits no longer than for an owner and then for a source. */
const longestMs = 2 * options.fillTimeoutMs + 2 * options.ownerTimeoutMs + 100;

/** What a run of a source is to be. */
const fates = ["quick", "slow", "error", "throws", "hangs", "ignores"] as const;

interface Run {
  readonly node: LabNode;
  readonly key: string;
  readonly signal: AbortSignal;
  /** Of the module that began it, and of the removals before it. */
  readonly life: number;
  over: boolean;
}

interface Caller {
  readonly key: string;
  readonly untilMs: number;
  readonly outcome: Outcome;
  readonly mayCancel: boolean;
}

/** How often each thing was reached, over all seeds: a test that never gets there shows nothing. */
const reached = new Map<string, number>();

function mark(what: string, times = 1): void {
  reached.set(what, (reached.get(what) ?? 0) + times);
}

function bytesOf(key: string): Uint8Array {
  let hash = 7;
  for (const character of key) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) >>> 0;
  const sizes = [0, 1, 10, 100, 900, 1100, 5000, 19_000, 25_000, 15_000, 12_000];
  return new Uint8Array(sizes[hash % sizes.length]).fill(hash & 255);
}

class Trial {
  readonly prng: Prng;
  readonly lab: CacheLab;
  readonly runs: Run[] = [];
  callers: Caller[] = [];
  /** By node: changes when what runs there may run beside what comes. */
  readonly lives: Map<LabNode, number> = new Map();
  calm = false;

  constructor(lab: CacheLab, prng: Prng) {
    this.lab = lab;
    this.prng = prng;
  }

  open(node: LabNode): void {
    this.lives.set(node, (this.lives.get(node) ?? 0) + 1);
    node.open(name, {
      ttlMs: 3000,
      errorTtlMs: this.prng.chance(0.3) ? 100 : 0,
      fill: (key, signal) => this.fill(node, key, signal),
    });
  }

  fill(node: LabNode, key: string, signal: AbortSignal): Promise<FilledValue> | FilledValue {
    const fate = this.calm ? "quick" : this.prng.pick(fates);
    mark(`a source that ${fate}`);
    const run: Run = { node, key, signal, life: this.lives.get(node)!, over: false };
    this.runs.push(run);
    const value = { value: bytesOf(key), ttlMs: this.prng.chance(0.2) ? 50 : undefined };
    if (fate === "throws") {
      run.over = true;
      throw new Error("thrown");
    }
    if (fate === "quick") {
      run.over = true;
      return value;
    }
    return new Promise((resolve, reject) => {
      const end = (): void => {
        run.over = true;
        if (fate === "error") reject(new Error("failed"));
        else resolve(value);
      };
      if (fate === "slow" || fate === "error") {
        this.lab.clock.timer(this.prng.between(1, 1500), end, undefined);
      } else if (fate === "ignores") this.lab.clock.timer(6000, end, undefined);
      else {
        signal.addEventListener("abort", () => {
          run.over = true;
          reject(signal.reason);
        });
      }
    });
  }

  get up(): LabNode[] {
    return this.lab.nodes.filter((node) => !node.isDown);
  }

  ask(): void {
    const { prng, lab } = this;
    const node = prng.pick(this.up);
    const key = `k${prng.below(prng.chance(0.5) ? 4 : 60)}`;
    const timeoutMs = prng.chance(0.5) ? prng.between(1, 1500) : undefined;
    const controller = prng.chance(0.3) ? new AbortController() : undefined;
    const signal = controller?.signal;
    const namespace = node.module.namespace(name);
    if (namespace === undefined) return;
    const outcome = outcomeOf(namespace.get(key, { timeoutMs, signal }));
    const untilMs = lab.clock.nowMs + Math.min(timeoutMs ?? Infinity, longestMs);
    this.callers.push({ key, untilMs, outcome, mayCancel: controller !== undefined });
    if (controller !== undefined) {
      lab.clock.timer(prng.between(0, 500), (one) => one.abort(), controller);
    }
  }

  async step(): Promise<void> {
    const { prng, lab } = this;
    const choice = prng.below(100);
    const node = prng.pick(lab.nodes);
    if (choice < 60) { for (let times = prng.between(1, 4); times > 0; times--) this.ask(); }
    else if (choice < 66) {
      const members = lab.nodes.filter(() => prng.chance(0.7));
      lab.install(members, lab.nodes.filter(() => prng.chance(0.6)));
      mark("a view that not all have");
    } else if (choice < 70) {
      if (this.up.length > 2 && !node.isDown) {
        await node.crash();
        mark("a node that dies");
      }
    } else if (choice < 76) {
      if (node.isDown) {
        await node.start();
        this.open(node);
        mark("a node that comes back");
      }
    } else if (choice < 81) node.isFrozen = prng.chance(0.4) && !node.isFrozen;
    else if (choice < 86) {
      if (!node.isDown) {
        const key = prng.chance(0.2) ? undefined : `k${prng.below(60)}`;
        node.module.namespace(name)?.remove(key);
        this.lives.set(node, this.lives.get(node)! + 1);
        mark("a removal");
      }
    } else if (choice < 89) {
      if (!node.isDown) {
        const namespace = node.module.namespace(name);
        if (namespace === undefined) this.open(node);
        else {
          namespace.close();
          mark("a node that offers it no more");
        }
      }
    } else await lab.clock.advance(prng.between(1, 800));
    await turns(prng.between(0, 8));
    if (prng.chance(0.3)) await lab.clock.advance(prng.between(1, 200));
  }

  check(): void {
    const { clock, nodes } = this.lab;
    for (const node of nodes) {
      const { crowd, store } = node.module;
      assert.ok(store.bytes <= options.memoryBytesMax);
      for (const list of [store.own, store.copies]) {
        assert.ok(list.bytes <= list.bytesMax);
        let bytes = 0;
        let count = 0;
        for (const entry of list) {
          bytes += entry.bytes;
          count++;
          const held = entry.key.length * 2 + (entry.value?.length ?? 0);
          assert.ok(entry.bytes > held, "the overhead counts");
        }
        assert.deepEqual([list.bytes, list.count], [bytes, count]);
      }
      assert.ok(crowd.waiting >= 0 && crowd.waiting <= options.waitersMax);
      const { active, running } = node.module.slots;
      assert.ok(active >= 0 && active <= options.fillsMax && running <= 2 * options.fillsMax);
    }
    const wanted = new Set<string>();
    for (const { node, key, life, over, signal } of this.runs) {
      if (over || signal.aborted) continue;
      const what = `${node.nodeId} ${key} ${life}`;
      assert.ok(!wanted.has(what), `two runs at a time of one key at one node: ${what}`);
      wanted.add(what);
    }
    this.callers = this.callers.filter((caller) => {
      const { key, outcome, untilMs, mayCancel } = caller;
      if (outcome.state === "waits") {
        assert.ok(clock.nowMs <= untilMs + 20, `a caller of ${key} waits for ever`);
        return true;
      }
      mark(outcome.state === "value" ? "a value" : `error ${outcome.reason}`);
      if (outcome.state === "value") assert.deepEqual(outcome.value, bytesOf(key));
      else if (outcome.reason === Code.canceled) assert.ok(mayCancel, "nobody else is cancelled");
      return false;
    });
  }

  /** All are up and agree: nothing is left of what was, and one fill is enough for all. */
  async settle(): Promise<void> {
    const { lab } = this;
    this.calm = true;
    for (const node of lab.nodes) {
      node.isFrozen = false;
      if (node.isDown) await node.start();
      if (node.module.namespace(name) === undefined) this.open(node);
    }
    lab.install(lab.nodes);
    await lab.clock.advance(longestMs + 6000);
    this.check();
    assert.equal(this.callers.length, 0, "nobody waits any more");
    for (const { module } of lab.nodes) {
      const { crowd, slots } = module;
      assert.deepEqual([crowd.waiting, slots.active, slots.running, slots.queued], [0, 0, 0, 0]);
      const namespace = module.namespace(name)!;
      assert.deepEqual([namespace.fills.size, namespace.asks.size], [0, 0]);
    }
    const before = this.runs.length;
    const herd = lab.nodes.flatMap((node) =>
      Array.from({ length: 10 }, () => outcomeOf(node.module.namespace(name)!.get("herd")))
    );
    await turns(30);
    assert.equal(this.runs.length, before + 1);
    assert.ok(herd.every(({ state }) => state === "value"));
  }
}

test(`views, deaths, hangs and cancellations in any order, ${seeds} seeds`, async () => {
  for (let seed = 1; seed <= seeds; seed++) {
    const prng = new Prng(seed);
    const lab = await CacheLab.start(prng.between(2, 5), options, seed);
    const trial = new Trial(lab, prng);
    try {
      for (const node of lab.nodes) trial.open(node);
      for (let step = 0; step < steps; step++) {
        await trial.step();
        trial.check();
      }
      await trial.settle();
      for (const { module } of lab.nodes) {
        const { counters, store } = module;
        mark("a fallback", counters.fallbacks);
        mark("a silent owner", counters.ownersSilent);
        mark("a copy", counters.copied);
        mark("a request from another view", counters.otherView);
        mark("a request for who owns it not", counters.misrouted);
        mark("an eviction", store.evicted);
        mark("an expiry", counters.expired);
        mark("a value too large to keep", counters.passedThrough);
        mark("a source that was told to stop", counters.fillsCanceled);
      }
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    } finally {
      await lab.close();
    }
  }
  for (
    const what of [
      ...fates.map((fate) => `a source that ${fate}`),
      "a value",
      "a fallback",
      "a silent owner",
      "a copy",
      "a request from another view",
      "a request for who owns it not",
      "an eviction",
      "an expiry",
      "a value too large to keep",
      "a source that was told to stop",
      "error fill_failed",
      "error fill_timeout",
      "error too_many_waiters",
      "error stopping",
      "error not_offered",
      `error ${Code.canceled}`,
      `error ${Code.deadlineExceeded}`,
    ]
  ) assert.ok((reached.get(what) ?? 0) > 0, `never reached: ${what}; ${[...reached].join(" · ")}`);
  console.log(`measured: ${[...reached].map(([what, times]) => `${what} ${times}`).join(", ")}`);
});
