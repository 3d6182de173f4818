/**
 * What is left of a group that lost its quorum for ever gets a configuration of its own. This gives
 * up Raft's promise: entries that only the lost replicas had are gone, and if those come back they
 * must not be started. Only an operator can decide it.
 */
import { assert } from "../../base/assert.ts";
import { applyChange, configurationProblem, isJoint, members } from "./configuration.ts";
import { encodeConfigurationChange } from "./configuration_codec.ts";
import type { Replica } from "./replica.ts";
import {
  ChangeType,
  type Configuration,
  type ConfigurationChange,
  type Entry,
  EntryType,
  type LogIndex,
  noReplica,
  type SingleChange,
  type Term,
  Transition,
} from "./types.ts";

/**
 * Everything in this log counts as committed, followed by the changes that lead to the wanted
 * configuration, in a new term. They take effect like any other change, when they are applied. To be
 * called on a replica that was just made, before its first tick or message.
 */
export function repair(replica: Replica, wanted: Configuration): void {
  assert(!isJoint(wanted), "a group is repaired to a configuration that is not joint");
  assert(wanted.voters.includes(replica.id), "a group is repaired at one of its future voters");
  assert(configurationProblem(wanted) === undefined, "the wanted configuration is a possible one");
  assert(replica.ticks === 0 && replica.leader === noReplica, "a repaired replica has not run yet");
  const { log } = replica;
  const term = replica.term + 1 as Term;
  const entries: Entry[] = [];
  const add = (change: ConfigurationChange): void => {
    entries.push({
      term,
      index: log.lastIndex + entries.length + 1 as LogIndex,
      type: EntryType.configuration,
      data: encodeConfigurationChange(change),
    });
  };
  let current = configurationAtEnd(replica);
  for (const change of changesTo(current, wanted)) {
    const result = applyChange(current, change);
    assert("configuration" in result, "the way to the wanted configuration is open");
    current = result.configuration;
    add(change);
  }
  replica.becomeFollower(term, noReplica);
  log.append(entries);
  log.commitTo(log.lastIndex);
}

/** As it will be when everything in the log is applied. */
function configurationAtEnd(replica: Replica): Configuration {
  return replica.configurationAfter(replica.log.lastIndex);
}

function changesTo(current: Configuration, wanted: Configuration): ConfigurationChange[] {
  const changes: ConfigurationChange[] = [];
  let from = current;
  if (isJoint(from)) {
    changes.push(leave);
    const left = applyChange(from, leave);
    assert("configuration" in left, "a joint configuration can be left");
    from = left.configuration;
  }
  const single: SingleChange[] = [
    ...wanted.voters.filter((id) => !from.voters.includes(id))
      .map((replica) => ({ type: ChangeType.addVoter, replica })),
    ...wanted.learners.filter((id) => !from.learners.includes(id))
      .map((replica) => ({ type: ChangeType.addLearner, replica })),
    ...members(from).filter((id) => !members(wanted).includes(id))
      .map((replica) => ({ type: ChangeType.remove, replica })),
  ];
  if (single.length > 0) {
    changes.push(
      { transition: Transition.jointExplicit, changes: single, context: noBytes },
      leave,
    );
  }
  return changes;
}

const noBytes = new Uint8Array(0);
const leave: ConfigurationChange = { transition: Transition.auto, changes: [], context: noBytes };
