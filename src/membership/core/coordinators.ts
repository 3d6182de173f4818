/** Whose turn it is to coordinate a classic round. */
import { xxh64 } from "../../base/xxh64.ts";
import type { Bitmap } from "./bitmap.ts";
import type { Configuration } from "./configuration.ts";

/**
 * The place of the coordinator of this turn: everybody has one in the same order, which differs from
 * one configuration to the next; those that are said to be gone are passed over.
 */
export function coordinatorOf(
  { core, digest }: Configuration,
  turn: number,
  failing: Bitmap,
): number | undefined {
  const there = core.filter((place) => !failing.has(place));
  if (there.length === 0) return undefined;
  const seed = new Uint8Array(8);
  new DataView(seed.buffer).setBigUint64(0, digest);
  const first = Number(xxh64(seed) % BigInt(there.length));
  return there[(first + turn) % there.length];
}
