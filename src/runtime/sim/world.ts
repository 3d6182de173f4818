/** What all parts of one simulation share. */
import { encodeText } from "../../base/bytes.ts";
import { Prng } from "../../base/prng.ts";
import { xxh64 } from "../../base/xxh64.ts";
import type { Coverage } from "./coverage.ts";
import type { Faults, Range } from "./faults.ts";
import type { Kernel } from "./kernel.ts";
import type { Network } from "./network.ts";
import { ticksFromMs } from "./time.ts";
import type { Trace } from "./trace.ts";

export interface World {
  readonly seed: number;
  readonly faults: Faults;
  readonly kernel: Kernel;
  readonly trace: Trace;
  readonly coverage: Coverage;
  readonly network: Network;
  /** Numbers connections, timers and files, so that the trace can name them. */
  nextId: number;
}

/**
 * A generator of its own for one concern. It depends on the seed and the concern's name only, so
 * that neither another part's draws nor the order in which parts are made shift it.
 */
export function generatorFor(seed: number, concern: string): Prng {
  return new Prng(Number(xxh64(encodeText(concern), seed) & 0xffffffffn));
}

/** A duration in ticks from a range in milliseconds. */
export function drawTicks(random: Prng, range: Range): number {
  const least = ticksFromMs(range[0]);
  const span = ticksFromMs(range[1]) - least;
  return span <= 0 ? least : least + Math.floor(random.fraction() * (span + 1));
}
