/** What the seed decides before anything runs. */
import type { Prng } from "../../../src/base/prng.ts";
import { MemberRole } from "../../../src/membership/core/member.ts";
import { lanOptions, type ProtocolOptions } from "../../../src/membership/core/options.ts";

/** What the first minute is about. */
export type Profile = "chaos" | "calm" | "split" | "churn";

export interface RunPlan {
  readonly profile: Profile;
  /** Roles of those who found the cluster; the first one is of the core. */
  readonly founders: readonly MemberRole[];
  readonly protocol: ProtocolOptions;
  /** One way: at least, and up to so much more. */
  readonly latencyMs: number;
  readonly jitterMs: number;
  readonly syncMs: readonly [number, number];
  /** Of a segment, everywhere and always. */
  readonly loss: number;
  /** Mean time between two faults, and between two changes that people make. */
  readonly faultEveryMs: number;
  readonly changeEveryMs: number;
  readonly leafChance: number;
}

/** Phases, in virtual milliseconds. */
export const chaosFromMs = 4_000;
export const chaosUntilMs = 64_000;

export function drawPlan(random: Prng): RunPlan {
  const profile: Profile = random.pick([
    "chaos",
    "chaos",
    "chaos",
    "chaos",
    "calm",
    "split",
    "churn",
  ]);
  const leafChance = random.pick([0, 0, 0, 0.3, 0.6]);
  const size = drawSize(random, profile);
  const founders = Array.from(
    { length: size },
    (_, at) => at > 2 && random.chance(leafChance) ? MemberRole.leaf : MemberRole.core,
  );
  const [latencyMs, jitterMs] = random.pick([[0.2, 1], [0.5, 2], [2, 20], [20, 40]]);
  return {
    profile,
    founders,
    protocol: {
      ...lanOptions,
      twoMembers: random.pick(["stall", "first"]),
      joinersMax: random.pick([16, 64, lanOptions.joinersMax]),
    },
    latencyMs,
    jitterMs,
    syncMs: random.pick([[0.2, 0.5], [0.2, 0.5], [1, 10], [10, 60]]),
    loss: profile === "calm" ? random.pick([0, 0.005, 0.01]) : random.pick([0, 0, 0.01]),
    faultEveryMs: random.between(1_200, 5_000),
    changeEveryMs: profile === "churn" ? random.between(700, 1_500) : random.between(3_000, 12_000),
    leafChance,
  };
}

function drawSize(random: Prng, profile: Profile): number {
  if (profile === "calm") return random.between(10, 30);
  if (random.chance(0.06)) return random.between(16, 50);
  return random.pick([1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7, 7, 8, 9, 10, 12]);
}
