/**
 * The small structures of the ttrpc machines, each against a twin so plain that it cannot be
 * wrong, by random operations. A failure names the seed and the step.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import { CallKind, Queue } from "../../src/ttrpc/core/call.ts";
import { type Deadline, Deadlines } from "../../src/ttrpc/core/deadlines.ts";
import { FrameDecoder, type FrameSink } from "../../src/ttrpc/core/frame.ts";
import { BufferPool, Output } from "../../src/ttrpc/core/output.ts";
import { type Route, RouteTable } from "../../src/ttrpc/core/routes.ts";
import { Slab } from "../../src/ttrpc/core/slab.ts";
import { StreamIds } from "../../src/ttrpc/core/stream_ids.ts";

/** Runs a body for many seeds; a failure says for which. */
function seeds(count: number, body: (random: Prng) => void): void {
  for (let seed = 1; seed <= count; seed++) {
    try {
      body(new Prng(seed));
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}

interface Item extends Deadline {
  readonly name: number;
}

test("Deadlines: against a sorted list", () => {
  seeds(300, (random) => {
    const heap = new Deadlines<Item>();
    const twin: Item[] = [];
    // Few different times, so that equal ones meet.
    const spread = random.pick([3, 50, 1e9]);
    for (let step = 0; step < 400; step++) {
      const roll = random.below(10);
      if (roll < 5) {
        const item = { name: step, deadlineMs: random.below(spread), deadlineIndex: -1 };
        heap.add(item);
        twin.push(item);
      } else if (roll < 8 && twin.length > 0) {
        const [item] = twin.splice(random.below(twin.length), 1);
        heap.remove(item);
        heap.remove(item);
        assert.equal(item.deadlineIndex, -1);
      } else {
        const now = random.below(spread);
        const taken = heap.take(now);
        const due = twin.filter((item) => item.deadlineMs <= now);
        assert.equal(taken === undefined, due.length === 0);
        if (taken !== undefined) {
          assert.equal(taken.deadlineMs, Math.min(...due.map((item) => item.deadlineMs)));
          twin.splice(twin.indexOf(taken), 1);
        }
      }
      assert.equal(heap.size, twin.length);
      assert.equal(heap.nextMs, Math.min(Infinity, ...twin.map((item) => item.deadlineMs)));
    }
    const rest: number[] = [];
    for (let item = heap.take(Infinity); item; item = heap.take(Infinity)) {
      rest.push(item.deadlineMs);
    }
    assert.deepEqual(rest, twin.map((item) => item.deadlineMs).toSorted((a, b) => a - b));
  });
});

test('StreamIds: strict is "above the highest", lenient is "not seen yet"', () => {
  seeds(300, (random) => {
    const strict = new StreamIds(true);
    const lenient = new StreamIds(false);
    const seen = new Set<number>();
    let highest = -1;
    const reach = random.pick([20, 200, 2000]);
    for (let step = 0; step < 300; step++) {
      const near = highest + 2 * random.between(-reach, random.pick([1, 1, 3, reach]));
      const id = Math.max(1, near % 2 === 0 ? near + 1 : near);
      assert.equal(strict.use(id), id > highest);
      assert.equal(lenient.use(id), !seen.has(id), `id ${id}, highest ${highest}`);
      seen.add(id);
      highest = Math.max(highest, id);
      assert.equal(strict.last, highest);
      assert.equal(lenient.last, highest);
    }
  });
});

test("StreamIds: what it remembers is bounded; the oldest gaps count as used", () => {
  const ids = new StreamIds(false);
  for (let id = 1; id < 40_000; id += 4) assert.ok(ids.use(id));
  assert.equal(ids.use(3), false, "that gap is long forgotten");
  assert.equal(ids.use(39_995), true);
  assert.equal(ids.use(39_995), false);
  assert.ok(ids.use(0xffffffff));
  assert.ok(ids.use(0xfffffffd));
  assert.equal(ids.use(0xfffffffd), false);
});

test("Output: against one long array, whatever is written and consumed", () => {
  seeds(60, (random) => {
    const pool = new BufferPool(random.pick([16, 64, 1000]), random.below(3));
    const outputs = [new Output(pool), new Output(pool)];
    const twins: number[][] = [[], []];
    const totals = [0, 0];
    let value = 0;
    for (let step = 0; step < 300; step++) {
      const which = random.below(2);
      const output = outputs[which];
      const twin = twins[which];
      const roll = random.below(10);
      if (roll < 5) {
        const length = random.below(random.pick([3, 40, 1500]));
        assert.equal(output.position, totals[which] + twin.length);
        const at = output.reserve(length);
        for (let index = 0; index < length; index++) {
          output.bytes[at + index] = value;
          twin.push(value);
          value = (value + 1) & 255;
        }
      } else if (roll < 9) {
        const length = random.below(twin.length + 1);
        output.consume(length);
        twin.splice(0, length);
        totals[which] += length;
      } else {
        output.release();
        twin.length = 0;
      }
      for (const [index, each] of outputs.entries()) {
        assert.equal(each.queuedBytes, twins[index].length);
        assert.equal(each.consumedTotal, totals[index]);
        const queued = each.bytes.subarray(each.start, each.end);
        assert.ok(twins[index].every((byte, place) => byte === queued[place]));
        if (twins[index].length === 0) assert.equal(each.bytes.length, 0, "no memory is held");
      }
    }
  });
});

test("RouteTable: against a map by names, for known, unknown and awkward names", () => {
  seeds(100, (random) => {
    const alphabet = ["a", "b", "/", ".", "é", ""];
    const name = () =>
      Array.from({ length: random.below(4) }, () => random.pick(alphabet)).join("");
    const routes = new Map<string, Route<number>>();
    for (let index = 0; index < random.below(40); index++) {
      const [service, method] = [name(), name()];
      const key = JSON.stringify([service, method]);
      if (!routes.has(key)) {
        routes.set(key, { service, method, kind: CallKind.unary, target: index });
      }
    }
    const table = new RouteTable([...routes.values()]);
    for (let step = 0; step < 300; step++) {
      const [service, method] = [name(), name()];
      const parts = [new Uint8Array(random.below(5)), encodeText(service), encodeText(method)];
      const buffer = concatBytes([...parts, new Uint8Array(3)]);
      const start = parts[0].length;
      const middle = start + parts[1].length;
      const end = middle + parts[2].length;
      const found = table.find(buffer, start, middle, middle, end);
      assert.equal(found, routes.get(JSON.stringify([service, method])));
      assert.equal(
        table.hasService(service),
        [...routes.values()].some((route) => route.service === service),
      );
    }
  });
});

test("RouteTable: names whose hashes collide are told apart", () => {
  // FNV-1a over "service/method" sees no border between them but the slash.
  const routes = [["a/b", "c"], ["a", "b/c"], ["", "a/b/c"]].map(([service, method], target) => ({
    service,
    method,
    kind: CallKind.unary,
    target,
  }));
  const table = new RouteTable(routes);
  for (const { service, method, target } of routes) {
    const buffer = encodeText(service + method);
    const border = encodeText(service).length;
    assert.equal(table.find(buffer, 0, border, border, buffer.length)?.target, target);
  }
});

test("Queue: against an array", () => {
  seeds(100, (random) => {
    const queue = new Queue<number>();
    const twin: number[] = [];
    // Long enough to cross the point where it moves its rest to the front.
    const grow = random.pick([4, 6, 8]);
    for (let step = 0; step < 6000; step++) {
      const roll = random.below(10);
      if (roll < grow) {
        queue.push(step);
        twin.push(step);
      } else if (random.below(2000) === 0) {
        queue.clear();
        twin.length = 0;
      } else {
        assert.equal(queue.peek(), twin[0]);
        assert.equal(queue.take(), twin.shift());
      }
      assert.equal(queue.length, twin.length);
    }
    while (twin.length > 0) assert.equal(queue.take(), twin.shift());
    assert.equal(queue.take(), undefined);
    assert.equal(queue.peek(), undefined);
  });
});

test("Slab: every copy is its own bytes, whatever happens to the source and to the others", () => {
  seeds(20, (random) => {
    const slab = new Slab();
    const copies: [Uint8Array, number[]][] = [];
    for (let step = 0; step < 300; step++) {
      const source = new Uint8Array(random.below(random.pick([5, 97, 200, 5000])) + 2);
      random.fill(source);
      const start = random.below(source.length);
      const end = random.between(start, source.length);
      copies.push([slab.copy(source, start, end), [...source.subarray(start, end)]]);
      source.fill(0);
      const [copy] = random.pick(copies);
      if (random.chance(0.1)) {
        const index = copies.findIndex(([one]) => one === copy);
        copy.fill(0xee);
        copies[index][1].fill(0xee);
      }
    }
    for (const [copy, expected] of copies) assert.deepEqual([...copy], expected);
  });
});

/** What a decoder found, in a form to compare. */
class Found implements FrameSink {
  readonly log: string[] = [];

  frame(id: number, type: number, flags: number, buffer: Uint8Array, start: number, end: number) {
    this.log.push(`${id} ${type} ${flags} ${buffer.slice(start, end).join()}`);
  }

  oversized(id: number, type: number, flags: number, length: number) {
    this.log.push(`${id} ${type} ${flags} oversized ${length}`);
  }

  broken() {
    this.log.push("broken");
  }
}

test("FrameDecoder: against cutting the whole stream at once, for any splits", () => {
  seeds(400, (random) => {
    const most = random.pick([10, 100, 1000]);
    const parts: Uint8Array[] = [];
    const expected: string[] = [];
    for (let left = random.below(20); left > 0; left--) {
      const reserved = random.chance(0.02);
      const length = reserved ? 1 << 24 : random.below(random.pick([2, most + 1, most * 3]));
      const [id, type, flags] = [random.next(), random.below(256), random.below(256)];
      const data = new Uint8Array(reserved ? 0 : length);
      random.fill(data);
      const header = new Uint8Array(10);
      const view = new DataView(header.buffer);
      view.setUint32(0, length);
      view.setUint32(4, id);
      header[8] = type;
      header[9] = flags;
      parts.push(header, data);
      if (expected.at(-1) === "broken") continue;
      if (reserved) expected.push("broken");
      else if (length > most) expected.push(`${id} ${type} ${flags} oversized ${length}`);
      else expected.push(`${id} ${type} ${flags} ${data.join()}`);
    }
    const bytes = concatBytes(parts);
    const found = new Found();
    const decoder = new FrameDecoder(found, most);
    for (let at = 0; at < bytes.length;) {
      const size = random.between(1, random.pick([1, 12, 5000]));
      // The chunk's memory is used again at once, as sockets do.
      const chunk = bytes.slice(at, at + size);
      decoder.push(chunk);
      chunk.fill(0xdb);
      at += size;
    }
    assert.deepEqual(found.log, expected);
    assert.equal(decoder.inFrame, false);
  });
});
