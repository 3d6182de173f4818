/** Waiting times that are not the same everywhere, so that a fleet does not act in step. */
import type { Random } from "../runtime/port.ts";

/** The time, shorter or longer by up to this share of it. */
export function jittered(ms: number, share: number, random: Random): number {
  return ms * (1 - share + 2 * share * fraction(random));
}

/** From 0 up to but not including 1. */
export function fraction(random: Random): number {
  const bytes = new Uint8Array(2);
  random.fill(bytes);
  return (bytes[0] * 256 + bytes[1]) / 65_536;
}
