/** When everything is collected, and how the engine is brought to it, on an engine of the test's own. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Collector } from "../../src/runtime/bun/collector.ts";

const mib = 1 << 20;

function makeCollector() {
  const engine = {
    nowMs: 0,
    heapBytes: 20 * mib,
    collections: 0,
    reservedBytes: [] as number[],
    released: 0,
    refuses: false,
    ended: [] as (() => void)[],
  };
  const collector = new Collector({
    nowMs: () => engine.nowMs,
    heapBytes: () => engine.heapBytes,
    collect: () => void engine.collections++,
    reserve(bytes) {
      if (engine.refuses) throw new RangeError("out of memory");
      engine.reservedBytes.push(bytes);
      return { release: () => void engine.released++ };
    },
    afterCollection: (callback) => void engine.ended.push(callback),
  });
  /** The collection that was begun is over. */
  const end = (): void => engine.ended.splice(0).forEach((callback) => callback());
  /** Has everything collected once, which leaves so much. */
  const settle = (livedBytes: number): void => {
    engine.heapBytes = 2 * livedBytes;
    collector.collect(true);
    end();
    engine.heapBytes = livedBytes;
    collector.collect(false);
    engine.nowMs += 10_000;
    engine.collections = engine.released = 0;
    engine.reservedBytes = [];
  };
  return { collector, engine, end, settle };
}

test("collector: below its bound the young are collected alone", () => {
  const { collector, engine, end, settle } = makeCollector();
  settle(40 * mib);
  engine.heapBytes = 100 * mib;
  for (let times = 0; times < 10; times++) collector.collect(false);
  end();
  assert.equal(engine.collections, 10);
  assert.deepEqual(engine.reservedBytes, []);
});

test("collector: a heap that has grown is collected whole, in two steps", () => {
  const { collector, engine, end, settle } = makeCollector();
  settle(40 * mib);
  engine.heapBytes = 110 * mib;
  collector.collect(false);
  assert.deepEqual(engine.reservedBytes, [550 * mib]);
  assert.deepEqual([engine.collections, engine.released], [1, 0]);
  end();
  assert.deepEqual([engine.collections, engine.released], [2, 1], "released before the second");
  end();
  assert.equal(engine.collections, 2);
});

test("collector: a whole collection is not repeated at once, whatever it left", () => {
  const { collector, engine, end, settle } = makeCollector();
  settle(40 * mib);
  engine.heapBytes = 110 * mib;
  collector.collect(false);
  end();
  // It freed nothing, and the heap goes on growing.
  engine.heapBytes = 300 * mib;
  for (let times = 0; times < 49; times++) {
    engine.nowMs += 100;
    collector.collect(false);
    end();
  }
  assert.equal(engine.reservedBytes.length, 1);
  engine.nowMs += 100;
  collector.collect(false);
  assert.equal(engine.reservedBytes.length, 2);
  assert.ok(engine.reservedBytes.every((bytes) => bytes <= 1024 * mib));
});

test("collector: asked for everything it collects everything", () => {
  const { collector, engine, end, settle } = makeCollector();
  settle(40 * mib);
  engine.heapBytes = 41 * mib;
  collector.collect(true);
  end();
  assert.deepEqual([engine.reservedBytes.length, engine.collections, engine.released], [1, 2, 1]);
});

test("collector: the end of a collection that nobody tells of is made up for", () => {
  const { collector, engine, end } = makeCollector();
  collector.collect(true);
  collector.collect(false);
  assert.deepEqual([engine.released, engine.collections], [1, 2]);
  end();
  assert.deepEqual([engine.released, engine.collections], [1, 2]);
});

test("collector: without room for it the young are collected", () => {
  const { collector, engine } = makeCollector();
  engine.refuses = true;
  collector.collect(true);
  collector.collect(true);
  assert.equal(engine.collections, 2);
});
