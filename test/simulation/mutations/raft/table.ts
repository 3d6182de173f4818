/**
 * The bugs of consensus and of the store that the simulator must find again, each a patch of this
 * name beside this file. The number behind a bug is the one of the sharp case in docs/raft.md.
 */
import type { Mutation } from "../mutation.ts";

export const raftMutations: readonly Mutation[] = [
  { name: "vote_before_sync", bug: "a vote is sent before it is durable (2)", seedsMax: 10 },
  { name: "vote_not_stored", bug: "the vote is not part of what must be synced (2)", seedsMax: 60 },
  { name: "second_vote", bug: "a voter gives its vote away again (2)", seedsMax: 20 },
  { name: "freshness_by_length", bug: "a longer log counts as newer (6)", seedsMax: 200 },
  { name: "candidate_unheard", bug: "a leader behind a term is never told (22)", seedsMax: 200 },
  {
    name: "commit_older_term",
    bug: "entries of older terms are committed by counting (1)",
    seedsMax: 100,
  },
  {
    name: "acknowledged_before_sync",
    bug: "entries are acknowledged before they are durable (3)",
    seedsMax: 10,
  },
  {
    name: "leader_counts_itself_early",
    bug: "a leader counts its own entry before its sync (3)",
    seedsMax: 10,
  },
  {
    name: "append_cuts_matching",
    bug: "an append cuts off what matches behind its end (4)",
    seedsMax: 40,
  },
  {
    name: "heartbeat_commits_too_much",
    bug: "a heartbeat carries the whole commit index (5)",
    seedsMax: 20,
  },
  {
    name: "rewritten_entry_counts",
    bug: "an older write acknowledges an entry that was rewritten (26)",
    seedsMax: 100,
  },
  {
    name: "full_window_stalls",
    bug: "a full window lets nothing through, and what was lost is never asked (21)",
    seedsMax: 100,
  },
  {
    name: "read_before_own_commit",
    bug: "a new leader answers reads before its first commit (7)",
    seedsMax: 80,
  },
  { name: "read_without_a_round", bug: "a leader that is cut off answers reads (9)", seedsMax: 60 },
  {
    name: "lease_outlives_a_pause",
    bug: "a lease counts on after the process stood still (10)",
    seedsMax: 200,
  },
  {
    name: "change_before_own_commit",
    bug: "a new leader takes a change before its first commit (11)",
    seedsMax: 60,
  },
  {
    name: "snapshot_with_old_members",
    bug: "a snapshot carries the configuration of the one before (17)",
    seedsMax: 40,
  },
  {
    name: "joint_never_left",
    bug: "a joint configuration is not left by itself (16)",
    seedsMax: 40,
  },
  {
    name: "replica_id_reused",
    bug: "the id of a removed replica is given out again (23)",
    seedsMax: 60,
  },
  {
    name: "snapshot_not_synced",
    bug: "a snapshot counts as durable before its sync (19)",
    seedsMax: 40,
  },
  {
    name: "learner_refuses_to_vote",
    bug: "who does not know of its promotion refuses its vote (14)",
    from: 151,
    seedsMax: 150,
  },
  { name: "sync_left_out", bug: "the log is not synced at all (3)", seedsMax: 5 },
  {
    name: "write_failure_ignored",
    bug: "a write that failed counts as durable",
    seedsMax: 60,
  },
  {
    name: "segment_released_early",
    bug: "a segment is given away that is still needed",
    seedsMax: 20,
  },
  {
    name: "damage_taken_for_a_torn_tail",
    bug: "damage in the middle is cut off like a torn tail",
    seedsMax: 200,
  },
  { name: "name_not_synced", bug: "the name of a new segment is not durable", seedsMax: 40 },
  { name: "retry_applied_twice", bug: "a repeated command is applied again (24)", seedsMax: 10 },
  {
    name: "sessions_not_in_snapshots",
    bug: "snapshots leave the results of sessions out (24)",
    seedsMax: 20,
  },
  {
    name: "apply_differs",
    bug: "what is applied depends on what a machine was spared (31)",
    seedsMax: 100,
  },
  {
    name: "renewal_forgotten",
    bug: "a renewed lease ends as if it had not been (30)",
    seedsMax: 40,
  },
  {
    name: "read_before_applied",
    bug: "a read does not wait until its index is applied",
    seedsMax: 40,
  },
  {
    name: "forwarded_twice",
    bug: "a forwarded proposal of unknown outcome is proposed again",
    seedsMax: 60,
  },
  {
    name: "unknown_is_denied",
    bug: "of what is in the log it is said that it will not happen (25)",
    seedsMax: 100,
  },
  { name: "local_reads", bug: "a node answers from what it has applied", seedsMax: 10 },
  {
    name: "watch_skips_a_revision",
    bug: "a watch that comes back begins one revision too late",
    seedsMax: 10,
  },
];
