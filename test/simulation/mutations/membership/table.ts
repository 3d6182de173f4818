/**
 * The bugs of membership that the simulator must find again, each a patch of this name beside this
 * file. The number behind a bug is the one of the sharp case in docs/membership.md.
 */
import type { Mutation } from "../mutation.ts";

export const membershipMutations: readonly Mutation[] = [
  {
    name: "vote_before_durable",
    bug: "what is voted is said before it is durable (20)",
    seedsMax: 150,
  },
  {
    name: "fast_quorum_too_small",
    bug: "two thirds decide in the fast round (3)",
    seedsMax: 150,
  },
  {
    name: "half_is_a_quorum",
    bug: "half of the members decide (2)",
    seedsMax: 150,
  },
  {
    name: "older_rank_accepted",
    bug: "a value of an older rank than the promised one is accepted (10)",
    seedsMax: 200,
  },
  {
    name: "acceptor_forgotten",
    bug: "a restart forgets what was promised and voted (20)",
    seedsMax: 200,
  },
  {
    name: "zombie_never_told",
    bug: "whoever was evicted and missed it is not told (20)",
    seedsMax: 150,
  },
  {
    name: "failing_not_told_again",
    bug: "subjects that still fail are not reported in the next configuration (4)",
    seedsMax: 150,
  },
  {
    name: "no_reinforcement",
    bug: "a subject between L and H stays there (14)",
    seedsMax: 200,
  },
  {
    name: "nothing_is_implied",
    bug: "observers that fail together are waited for (13)",
    seedsMax: 200,
  },
  {
    name: "alerts_never_age",
    bug: "alerts stay for as long as the configuration (15)",
    seedsMax: 200,
  },
  {
    name: "one_coordinator",
    bug: "there is one classic round and no other (10)",
    seedsMax: 200,
  },
  {
    name: "any_stay_at_the_address",
    bug: "another stay at the same address counts as the one before (6)",
    seedsMax: 150,
  },
  {
    name: "leaver_disbelieved",
    bug: "what a leaver says of others does not count",
    seedsMax: 200,
  },
  {
    name: "joiners_without_bound",
    bug: "any number of joiners is remembered",
    seedsMax: 200,
  },
  {
    name: "any_ring_fits",
    bug: "rings and numbers of alerts are not looked at",
    seedsMax: 150,
  },
  {
    name: "any_cut_fits",
    bug: "a cut that does not fit is taken",
    seedsMax: 150,
  },
  {
    name: "any_view_fits",
    bug: "a view with one member twice is taken",
    seedsMax: 200,
  },
  {
    name: "stale_observers",
    bug: "observers are those of the configuration before (18)",
    seedsMax: 150,
  },
  {
    name: "promise_without_vote",
    bug: "a promise does not say what was voted for (9)",
    seedsMax: 150,
  },
  {
    name: "accuses_itself",
    bug: "a member counts itself as gone when others say so",
    seedsMax: 200,
  },
];
