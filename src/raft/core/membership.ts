/** Changes of the configuration, from the proposal to their effect (chapter 4). */
import { assert } from "../../base/assert.ts";
import { applyChange, isJoint } from "./configuration.ts";
import { decodeConfigurationChange, encodeConfigurationChange } from "./configuration_codec.ts";
import { resumeCampaign } from "./election.ts";
import { DropReason } from "./ready.ts";
import { releaseReads } from "./heartbeats.ts";
import { advanceCommit, appendOwn, resignIfRemoved } from "./replication.ts";
import type { Replica } from "./replica.ts";
import { abortTransfer } from "./transfer.ts";
import {
  type Entry,
  EntryType,
  type LogIndex,
  MessageType,
  noReplica,
  type ReplicaId,
  type SnapshotMeta,
  Transition,
} from "./types.ts";

/** Why the leader does not take this change now; undefined when it does. */
export function changeProblem(replica: Replica, data: Uint8Array): DropReason | undefined {
  if (replica.pendingChangeIndex > replica.log.applied) return DropReason.changePending;
  const change = decodeConfigurationChange(data);
  if (change === undefined) return DropReason.changeInvalid;
  const result = applyChange(replica.tracker.configuration, change);
  return "refused" in result ? DropReason.changeInvalid : undefined;
}

/**
 * The machine has applied everything up to `index`; the changes among that take effect now. One at
 * a time: the next is not proposed before this one is applied at the leader.
 */
export function receiveApplied(replica: Replica, index: LogIndex): void {
  const { log } = replica;
  const before = log.applied;
  // What was handed out before a leader's snapshot came is part of it, as is its configuration.
  const isPartOfSnapshot = log.isRestoring;
  log.appliedTo(index);
  if (isPartOfSnapshot) return;
  let changed = false;
  for (let at = before + 1; at <= index; at++) {
    const entry = log.entry(at as LogIndex);
    assert(entry !== undefined, "entries stay until they are applied");
    const members = replica.tracker.ids;
    if (!replica.applyConfiguration(entry)) continue;
    changed = true;
    if (replica.isLeader) sendFarewells(replica, members, entry);
  }
  if (changed && replica.isLeader) followNewConfiguration(replica);
  resumeCampaign(replica);
}

/**
 * Who was taken out hears nothing more from this leader. So that it need not campaign to learn why,
 * it is told that this was committed: by an append, behind those that may be on their way.
 */
function sendFarewells(
  replica: Replica,
  before: readonly ReplicaId[],
  { index, term }: Pick<Entry, "index" | "term">,
): void {
  for (const to of before) {
    if (to === replica.id || replica.tracker.get(to) !== undefined) continue;
    replica.send({
      type: MessageType.append,
      to,
      index,
      logTerm: term,
      commit: replica.log.committed,
    });
  }
}

function followNewConfiguration(replica: Replica): void {
  const { tracker } = replica;
  if (!tracker.configuration.voters.includes(replica.transferee)) abortTransfer(replica);
  // A smaller quorum may have what the larger one lacked.
  advanceCommit(replica);
  replica.replicationDue = true;
  for (const id of tracker.ids) tracker.get(id)!.owesAppend = true;
  resignIfRemoved(replica);
  releaseReads(replica);
}

/**
 * Proposes to leave a joint configuration that is to be left by itself. Looked at again and again,
 * since it may be refused while leadership is being transferred, or a new leader may find it so.
 */
export function maybeAutoLeave(replica: Replica): void {
  if (!replica.isLeader || replica.transferee !== noReplica || replica.stepDownDue) return;
  const { configuration } = replica.tracker;
  if (!configuration.autoLeave || !isJoint(configuration)) return;
  if (replica.pendingChangeIndex > replica.log.applied) return;
  replica.pendingChangeIndex = appendOwn(replica, [{ type: EntryType.configuration, data: leave }]);
  replica.counters.autoLeaves++;
}

/** Where a snapshot of the machine stands that has applied everything up to `index`. */
export function snapshotMetaAt(replica: Replica, index: LogIndex): SnapshotMeta {
  const term = replica.log.term(index);
  assert(index <= replica.log.applied, "a snapshot holds only what was applied");
  assert(term !== undefined, "a snapshot is taken before its last entry is compacted");
  const { configurations } = replica;
  let at = configurations.length - 1;
  while (at > 0 && configurations[at].index > index) at--;
  assert(configurations[at].index <= index, "the configuration at the snapshot is known");
  return { index, term, configuration: configurations[at].configuration };
}

/** The configurations before the snapshot's are not asked for any more. */
export function forgetConfigurations(replica: Replica): void {
  const { configurations } = replica;
  const { index } = replica.log.snapshot;
  let first = 0;
  while (first + 1 < configurations.length && configurations[first + 1].index <= index) first++;
  if (first > 0) replica.configurations = configurations.slice(first);
}

/** The entry that proposes a change. */
export function changeEntry(data: Uint8Array): Pick<Entry, "type" | "data"> {
  return { type: EntryType.configuration, data };
}

const leave = encodeConfigurationChange({
  transition: Transition.auto,
  changes: [],
  context: new Uint8Array(0),
});
