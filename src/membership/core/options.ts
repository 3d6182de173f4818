/** What the protocol can be told. Times in milliseconds. */
import { type ComebackTimes, lanComeback } from "./comeback.ts";
import { type JoinTimes, lanJoin } from "./joining.ts";
import { lanProbes, type ProbeOptions } from "./prober.ts";
import type { TwoMembers } from "./quorums.ts";

export interface ProtocolOptions {
  /** K: each member is observed on so many rings. */
  readonly rings: number;
  /** H: rings from which on a subject is reported by enough. */
  readonly high: number;
  /** L: rings from which on a subject holds up a cut. */
  readonly low: number;
  readonly twoMembers: TwoMembers;
  /** For how long own alerts are gathered before they go out together. */
  readonly batchMs: number;
  /**
   * With more members than rings: for how long joiners are gathered, from the beginning of a
   * configuration on, so that a crowd comes in together and not one after the other.
   */
  readonly joinsMs: number;
  /** The least time between two messages to one neighbour. */
  readonly flushMs: number;
  /** Neighbours to whom what is new is passed on. */
  readonly neighbours: number;
  /** For how long the fast round may go on before somebody coordinates a classic one. */
  readonly fallbackMs: number;
  /** After so long without a decision the next one coordinates. */
  readonly roundMs: number;
  /** For how long a subject may be unstable before all of its observers report it. */
  readonly reinforceMs: number;
  /** For how long those who are ready wait for joiners who are not. */
  readonly patienceMs: number;
  /** An alert is withdrawn once its subject answered for so long. */
  readonly ageMs: number;
  /** After so long without a decision that is due, or with most others out of reach, a node says so. */
  readonly degradedMs: number;
  /** Those that may wait for one view change. */
  readonly joinersMax: number;
}

/**
 * Everything that depends on how good the network is. A profile is the same at all members: rings, H
 * and L are compared when somebody joins.
 */
export interface Profile {
  readonly protocol: ProtocolOptions;
  readonly probes: ProbeOptions;
  readonly joins: JoinTimes;
  readonly comeback: ComebackTimes;
}

/**
 * With probes once a second; the figures are those of `bench/membership.ts`, 1,000 members and one-way
 * latencies of about a millisecond, where what one member says reaches all others in about 0.2 s.
 */
export const lanOptions: ProtocolOptions = {
  // Section 7 of the paper. Conflicting proposals are 0.5 % and fewer, and subjects that up to two of
  // ten observers blame hold up nobody.
  rings: 10,
  high: 9,
  low: 3,
  twoMembers: "stall",
  // Alerts of one observer that come close together are one message; small beside a detection of 4 s.
  batchMs: 100,
  // A crowd that comes within two seconds is two cuts, at the price of two seconds for whoever comes
  // right behind somebody else.
  joinsMs: 2_000,
  // Some five hops of it, twice, are what a cut costs in time; with 20 ms it is 0.1 s sooner and a third
  // more bytes.
  flushMs: 50,
  // Three rings, both ways: each alert arrives five times. With four neighbours it is a third fewer
  // bytes, but one of 250 loses all of them when a quarter of the members is gone at once.
  neighbours: 6,
  // Four times what the votes need to get around.
  fallbackMs: 1_000,
  roundMs: 500,
  // The failure detector's window: by then whoever can report a subject has.
  reinforceMs: 10_000,
  // As long as joiners are gathered: who comes later comes with the next cut.
  patienceMs: 2_000,
  // Three windows of the failure detector without a verdict.
  ageMs: 30_000,
  // Some ten rounds.
  degradedMs: 10_000,
  // A crowd that is eight times the largest cluster that was tried.
  joinersMax: 16_384,
};

/** The paper's, for probes once a second: a crash is a new view within some five seconds. */
export const lan: Profile = {
  protocol: lanOptions,
  probes: lanProbes,
  joins: lanJoin,
  comeback: lanComeback,
};

/**
 * For one switch or one room, round trips well below 100 ms: a crash is a new view within a second,
 * for seven times the probes. All that waits for messages waits less; what waits for a subject to
 * make up its mind waits for as many probes as with {@link lan}, but for ageing, which is about hours.
 */
export const lowLatency: Profile = {
  protocol: {
    ...lanOptions,
    batchMs: 50,
    joinsMs: 500,
    flushMs: 10,
    fallbackMs: 300,
    roundMs: 200,
    reinforceMs: 1_500,
    patienceMs: 500,
    ageMs: 10_000,
    degradedMs: 3_000,
  },
  probes: { ...lanProbes, intervalMs: 150 },
  joins: { ...lanJoin, pauseMs: 100, pauseMsMax: 2_000, answerMs: 1_000 },
  comeback: { ...lanComeback, answerMs: 150 },
};

/**
 * For radio and long ways, round trips of up to a second and segments lost by the dozen: a probe may
 * take two seconds, and half of the last twenty have to fail, so a crash takes some twenty seconds.
 */
export const lossy: Profile = {
  protocol: {
    ...lanOptions,
    batchMs: 500,
    joinsMs: 10_000,
    flushMs: 200,
    fallbackMs: 5_000,
    roundMs: 3_000,
    reinforceMs: 40_000,
    patienceMs: 10_000,
    ageMs: 120_000,
    degradedMs: 40_000,
  },
  probes: { intervalMs: 2_000, window: 20, fraction: 0.5 },
  joins: { pauseMs: 1_000, pauseMsMax: 30_000, answerMs: 10_000, changeMs: 120_000 },
  comeback: { ...lanComeback, pauseMs: 30_000, answerMs: 5_000, fraction: 0.5 },
};
