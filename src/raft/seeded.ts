/** Where the pure parts get their chance from: a generator with another seed at each start. */
import { Prng } from "../base/prng.ts";
import type { Random } from "../runtime/port.ts";

export function seededBy(random: Random): Prng {
  const seed = new Uint8Array(4);
  random.fill(seed);
  return new Prng(new DataView(seed.buffer).getUint32(0));
}
