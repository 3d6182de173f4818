/**
 * How one configuration follows from another (dissertation, chapter 4). Pure functions on plain
 * data: each returns the next configuration, or says in a sentence why there is none. Consecutive
 * configurations always have overlapping quorums: either at most one voter differs, or the joint
 * configuration of both stands between them.
 */
import {
  ChangeType,
  type Configuration,
  type ConfigurationChange,
  type ReplicaId,
  type SingleChange,
  Transition,
} from "./types.ts";

/** The next configuration, or why the change is refused. */
export type ConfigurationResult =
  | { readonly configuration: Configuration }
  | { readonly refused: string };

/** Of a replica that has yet to hear of its group. */
export const emptyConfiguration: Configuration = makeConfiguration([]);

/** A configuration that is not joint. */
export function makeConfiguration(
  voters: readonly ReplicaId[],
  learners: readonly ReplicaId[] = [],
): Configuration {
  return {
    voters: ascending(voters),
    votersOutgoing: [],
    learners: ascending(learners),
    learnersNext: [],
    autoLeave: false,
  };
}

export function isJoint(configuration: Configuration): boolean {
  return configuration.votersOutgoing.length > 0;
}

/** Voters of either half. */
export function isVoter(configuration: Configuration, replica: ReplicaId): boolean {
  return configuration.voters.includes(replica) || configuration.votersOutgoing.includes(replica);
}

/** Everybody that takes part, ascending. */
export function members(configuration: Configuration): ReplicaId[] {
  return ascending([
    ...new Set([
      ...configuration.voters,
      ...configuration.votersOutgoing,
      ...configuration.learners,
      ...configuration.learnersNext,
    ]),
  ]);
}

/** What is wrong with a configuration; undefined when nothing is. */
export function configurationProblem(configuration: Configuration): string | undefined {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = configuration;
  for (const ids of [voters, votersOutgoing, learners, learnersNext]) {
    for (let at = 0; at < ids.length; at++) {
      if (!isReplicaId(ids[at])) return `${ids[at]} is no replica id`;
      if (at > 0 && ids[at] <= ids[at - 1]) return "replica ids do not ascend";
    }
  }
  for (const learner of learners) {
    if (voters.includes(learner) || votersOutgoing.includes(learner)) {
      return `replica ${learner} is a voter and a learner`;
    }
    if (learnersNext.includes(learner)) return `replica ${learner} is a learner twice`;
  }
  for (const learner of learnersNext) {
    if (!votersOutgoing.includes(learner)) {
      return `replica ${learner} is to become a learner but is no outgoing voter`;
    }
    if (voters.includes(learner)) return `replica ${learner} is to be a voter and a learner`;
  }
  if (voters.length === 0 && (members(configuration).length > 0 || autoLeave)) {
    return "no voter is left";
  }
  if (votersOutgoing.length === 0) {
    if (learnersNext.length > 0) return "learners are waiting for no joint configuration";
    if (autoLeave) return "a configuration that is not joint cannot be left";
  }
  return undefined;
}

/** What a committed change makes of a configuration. */
export function applyChange(
  configuration: Configuration,
  change: ConfigurationChange,
): ConfigurationResult {
  if (change.changes.length === 0) return leaveJoint(configuration);
  if (change.transition === Transition.auto) {
    const simple = applySimple(configuration, change.changes);
    if ("configuration" in simple || isJoint(configuration)) return simple;
  }
  return enterJoint(configuration, change.changes, change.transition !== Transition.jointExplicit);
}

/** At most one voter changes, so old and new majorities overlap (section 4.1). */
export function applySimple(
  configuration: Configuration,
  changes: readonly SingleChange[],
): ConfigurationResult {
  if (isJoint(configuration)) return refuse("the joint configuration has to be left first");
  const next = withChanges(configuration, changes);
  if ("refused" in next) return next;
  const before = configuration.voters;
  const after = next.configuration.voters;
  const gone = before.filter((voter) => !after.includes(voter)).length;
  const come = after.filter((voter) => !before.includes(voter)).length;
  if (gone + come > 1) return refuse("more than one voter changes, which needs a joint change");
  return next;
}

/** The joint configuration in which old and new voters decide together (section 4.3). */
export function enterJoint(
  configuration: Configuration,
  changes: readonly SingleChange[],
  autoLeave: boolean,
): ConfigurationResult {
  if (isJoint(configuration)) return refuse("the joint configuration has to be left first");
  if (configuration.voters.length === 0) return refuse("a group without voters cannot change");
  return withChanges({
    ...configuration,
    votersOutgoing: configuration.voters,
    autoLeave,
  }, changes);
}

/** The incoming voters decide alone; outgoing ones that are wanted as learners become that. */
export function leaveJoint(configuration: Configuration): ConfigurationResult {
  if (!isJoint(configuration)) return refuse("the configuration is not joint");
  return checked(makeConfiguration(
    configuration.voters,
    [...configuration.learners, ...configuration.learnersNext],
  ));
}

function withChanges(
  configuration: Configuration,
  changes: readonly SingleChange[],
): ConfigurationResult {
  const voters = new Set(configuration.voters);
  const learners = new Set(configuration.learners);
  const learnersNext = new Set(configuration.learnersNext);
  const named = new Set<ReplicaId>();
  for (const { type, replica } of changes) {
    if (!isReplicaId(replica)) return refuse(`${replica} is no replica id`);
    if (named.has(replica)) return refuse(`replica ${replica} is named twice`);
    named.add(replica);
    voters.delete(replica);
    learners.delete(replica);
    learnersNext.delete(replica);
    if (type === ChangeType.addVoter) voters.add(replica);
    else if (type === ChangeType.addLearner) {
      // An outgoing voter keeps its vote until the joint configuration is left.
      if (configuration.votersOutgoing.includes(replica)) learnersNext.add(replica);
      else learners.add(replica);
    } else if (type !== ChangeType.remove) return refuse(`${type} is no kind of change`);
  }
  return checked({
    voters: ascending([...voters]),
    votersOutgoing: configuration.votersOutgoing,
    learners: ascending([...learners]),
    learnersNext: ascending([...learnersNext]),
    autoLeave: configuration.autoLeave,
  });
}

function checked(configuration: Configuration): ConfigurationResult {
  if (configuration.voters.length === 0) return refuse("no voter is left");
  const problem = configurationProblem(configuration);
  return problem === undefined ? { configuration } : refuse(problem);
}

function refuse(refused: string): ConfigurationResult {
  return { refused };
}

export function isReplicaId(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}

function ascending(ids: readonly ReplicaId[]): ReplicaId[] {
  return [...ids].sort((a, b) => a - b);
}
