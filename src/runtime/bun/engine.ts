/** What the collector asks of JavaScriptCore, as Bun has it. */
import process from "node:process";
import type { Engine } from "./collector.ts";

export function bunEngine(): Engine {
  const ended = new FinalizationRegistry<() => void>((callback) => callback());
  return {
    nowMs: () => performance.now(),
    heapBytes: () => process.memoryUsage().heapUsed,
    collect: () => void Bun.gc(false),
    reserve(bytes) {
      // Zeroed memory would be touched where it was used before.
      const buffer = Buffer.allocUnsafeSlow(bytes).buffer as ArrayBuffer;
      return { release: () => void buffer.transfer(0) };
    },
    // What nobody refers to is gone after the collection.
    afterCollection: (callback) => ended.register({}, callback),
  };
}
