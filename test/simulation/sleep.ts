/** Waiting on the clock of a simulated machine. */
import type { Runtime } from "../../src/runtime/port.ts";

/** Resolves after so long; with a signal that fires first, rejects with its reason. */
export function sleep(runtime: Runtime, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const aborted = (): void => {
      timer.cancel();
      reject(signal!.reason);
    };
    const timer = runtime.clock.timer(ms, () => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    }, undefined);
    signal?.addEventListener("abort", aborted);
  });
}
