/** Candidates for the policies' tests. */
import { toHex } from "../../../src/base/bytes.ts";
import { Prng } from "../../../src/base/prng.ts";
import type { Candidate } from "../../../src/routing/core/candidate.ts";

/** One whose fields a test may change. */
export type TestCandidate = { -readonly [K in keyof Candidate]: Candidate[K] };

/** The candidate of this number; they ascend by address as they do by number. */
export function candidate(index: number, init: Partial<TestCandidate> = {}): TestCandidate {
  const id = new Uint8Array(16);
  new Prng(1000 + index).fill(id);
  return {
    address: `tcp://10.0.0.${100 + index}:7946`,
    nodeId: toHex(id),
    name: `node${index}`,
    tags: [],
    pending: 0,
    lastCall: 0,
    tripMs: undefined,
    ...init,
  };
}
