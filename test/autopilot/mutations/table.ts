/** The bugs of autopilot that the model must find again, each a patch of this name beside this file. */
import type { Mutation } from "../../simulation/mutations/mutation.ts";

export const mutations: readonly Mutation[] = [
  { name: "silence_is_enough", bug: "a voter that is in the view is replaced", seedsMax: 60 },
  { name: "absence_is_enough", bug: "a voter that is in contact is replaced", seedsMax: 60 },
  { name: "longer_of_both", bug: "the longer one of absence and silence counts", seedsMax: 60 },
  {
    name: "unstable_successor",
    bug: "a successor need not have been in the view for long",
    seedsMax: 120,
  },
  { name: "lagging_successor", bug: "a successor may lack thousands of entries", seedsMax: 60 },
  {
    name: "old_majority_only",
    bug: "the majority after the change is not looked at",
    seedsMax: 120,
  },
  { name: "remove_before_add", bug: "a dead voter goes without a successor", seedsMax: 60 },
  { name: "two_in_flight", bug: "a change is handed out beside another one", seedsMax: 60 },
  {
    name: "shrinks_while_one_is_away",
    bug: "votes are taken away while a voter is missing",
    seedsMax: 60,
  },
  {
    name: "exchange_for_nothing",
    bug: "voters are exchanged although no spread is better",
    seedsMax: 60,
  },
  {
    name: "exchange_at_once",
    bug: "voters are exchanged while another one is missing",
    seedsMax: 60,
  },
  {
    name: "time_goes_on_at_a_return",
    bug: "times are not begun anew when a node comes or goes",
    seedsMax: 60,
  },
  {
    name: "next_leader_inherits_times",
    bug: "a new leader counts with the times of its last term",
    seedsMax: 60,
  },
  { name: "leader_takes_itself_out", bug: "the leader takes its own vote away", seedsMax: 60 },
  {
    name: "learner_is_removed_soon",
    bug: "a learner that is away for a moment is removed",
    seedsMax: 60,
  },
  {
    name: "even_number_of_voters",
    bug: "an even number of voters is made of an odd one",
    seedsMax: 60,
  },
  {
    name: "unheard_leader_decides",
    bug: "a leader decides before it has heard of anybody",
    seedsMax: 60,
  },
  {
    name: "joint_is_changed",
    bug: "a change is made on top of a joint configuration",
    seedsMax: 300,
  },
  {
    name: "lost_node_never_comes_back",
    bug: "a node that lost its log is never let in again",
    seedsMax: 120,
  },
  { name: "zones_are_ignored", bug: "voters of one zone stay together", seedsMax: 60 },
  { name: "stays_beyond_the_number", bug: "there stay more voters than wanted", seedsMax: 60 },
  {
    name: "one_away_is_not_counted_on",
    bug: "a learner is added for each one that is away for a moment",
    seedsMax: 120,
  },
];
