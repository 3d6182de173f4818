/**
 * What a replica that never ran finds instead of its disk. The founding configuration is a snapshot
 * of the empty machine, one entry long: whoever joins later cannot replay the log from before it and
 * so has to begin with a snapshot, which brings the configuration. Were it at index 0, changes would
 * be applied to nothing.
 */
import { assert } from "../../base/assert.ts";
import { configurationProblem, emptyConfiguration } from "./configuration.ts";
import type { StoredLog } from "./log.ts";
import { type Configuration, type LogIndex, noReplica, type Term } from "./types.ts";

/** Where every group begins. */
export const foundingIndex = 1 as LogIndex;
export const foundingTerm = 1 as Term;

/** The same on each founder. */
export function foundingLog(configuration: Configuration): StoredLog {
  assert(configuration.voters.length > 0, "a group is founded by voters");
  assert(configurationProblem(configuration) === undefined, "a group is founded consistently");
  return {
    hardState: { term: foundingTerm, vote: noReplica, commit: foundingIndex },
    snapshot: { index: foundingIndex, term: foundingTerm, configuration },
    entries: [],
  };
}

/** Of a replica that a leader will add. */
export function joiningLog(): StoredLog {
  const none = { index: 0 as LogIndex, term: 0 as Term };
  return {
    hardState: { term: none.term, vote: noReplica, commit: none.index },
    snapshot: { ...none, configuration: emptyConfiguration },
    entries: [],
  };
}
