/** What a node can conclude from who does not answer it, and who does not answer others. */
import type { Subject } from "./alerts.ts";
import { Bitmap } from "./bitmap.ts";
import type { Configuration } from "./configuration.ts";
import type { Quorums } from "./quorums.ts";
import type { Verdicts } from "./verdicts.ts";

export interface Surroundings {
  readonly configuration: Configuration;
  /** The own place. */
  readonly place: number;
  readonly verdicts: Verdicts;
  readonly quorums: Quorums;
}

/**
 * Whoever hears none of those whom it watches is probably cut off itself, and what it says of them
 * could do nothing but keep the others from going on without it. One that decides alone is not.
 */
export function hearsNobody({ configuration, place, verdicts, quorums }: Surroundings): boolean {
  const subjects = configuration.subjectsOf(place);
  const failing = failingOf(configuration, verdicts);
  if (subjects.length < 2 || failing.size < subjects.length) return false;
  const isWatched = configuration.core.every((other) => other === place || failing.has(other));
  return !isWatched || !quorums.classicWithout(failing);
}

/**
 * Whether a quorum is left without those who do not answer this node, and those whom it does not watch
 * who do not answer others. `reported`: of whom others say something.
 */
export function reachesQuorum(
  { configuration, place, verdicts, quorums }: Surroundings,
  reported: ReadonlySet<Subject>,
): boolean {
  const silent = failingOf(configuration, verdicts);
  for (const subject of reported) {
    if (subject.place === place || subject.observers.includes(place)) continue;
    silent.add(subject.place!);
  }
  return quorums.classicWithout(silent);
}

/** Those who do not answer this node. */
function failingOf(configuration: Configuration, verdicts: Verdicts): Bitmap {
  const failing = new Bitmap(configuration.size);
  for (const { address } of verdicts.silent(configuration)) {
    failing.add(configuration.placeOf(address)!);
  }
  return failing;
}
