/** That the bound in bytes is a bound of memory, whatever the size of the values. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import v8 from "node:v8";
import vm from "node:vm";
import { loneCache } from "./support.ts";

/** What lives on the heap and is held by it, after everything else was collected. */
async function liveBytes(): Promise<number> {
  if ("Bun" in globalThis) {
    const name = "bun:jsc";
    const { fullGC, heapSize } = await import(name);
    fullGC();
    return heapSize();
  }
  v8.setFlagsFromString("--expose-gc");
  vm.runInNewContext("gc")();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const mebibyte = 1 << 20;

for (
  const { bytes, memory, keys } of [
    { bytes: 10, memory: 12 * mebibyte, keys: 60_000 },
    { bytes: 300, memory: 12 * mebibyte, keys: 40_000 },
    { bytes: 700, memory: 12 * mebibyte, keys: 30_000 },
    { bytes: 1000, memory: 12 * mebibyte, keys: 20_000 },
    { bytes: 5000, memory: 16 * mebibyte, keys: 5000 },
    { bytes: mebibyte, memory: 24 * mebibyte, keys: 60 },
  ]
) {
  test(`values of ${bytes} bytes take no more memory than they count for`, async () => {
    const slab = new Uint8Array(bytes + 4096);
    const before = await liveBytes();
    const cache = loneCache({ memoryBytesMax: memory, copyShare: 0 });
    const images = cache.open("images", {
      // A part of something larger: what is kept must not keep that alive.
      fill: () => slab.slice(0, bytes + 64).subarray(0, bytes),
    });
    // More than there is room for, so that all that grows by itself has grown.
    for (let at = 0; at < keys; at++) {
      await images.get(`device/${at}`);
      assert.ok(cache.store.bytes <= memory);
    }
    assert.ok(cache.store.evicted > 0, "it was full");
    assert.ok(cache.store.bytes > memory - 2 * bytes - 1000, "and still is");
    const grown = await liveBytes() - before;
    const counted = cache.store.bytes;
    console.log(
      `measured: ${images.entries} values of ${bytes} bytes count ${counted} bytes, the heap grew ` +
        `by ${Math.round(grown / counted * 100)} % of that`,
    );
    // The value that came last may be there twice.
    assert.ok(grown <= counted * 1.05 + mebibyte / 2 + bytes, `${grown} for ${counted}`);
    assert.ok(grown >= counted * 0.4, `${grown} for ${counted}: what counts is not far off`);
    cache.stop();
  });
}

test("a thousand errors that are kept are bounded, too", async () => {
  const memory = mebibyte;
  const cache = loneCache({ memoryBytesMax: memory });
  const failing = cache.open("failing", {
    errorTtlMs: 60_000,
    fill: () => {
      throw new Error("x".repeat(100_000));
    },
  });
  for (let at = 0; at < 1000; at++) {
    await assert.rejects(failing.get(`k${at}`));
    assert.ok(cache.store.bytes <= memory);
  }
  assert.ok(failing.entries > 100 && failing.entries < 250, `${failing.entries}`);
  cache.stop();
});
