/** Words of the reasons. */
import type { Change, Replica } from "./types.ts";

/** `12 s`, `5 min`, `72 h`: whole units, downwards. */
export function spell(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  if (ms < 1_000) return `${Math.floor(ms)} ms`;
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
}

/** `12 s of 60 s`, both in the unit of the limit, so that one sees the end coming. */
export function spellOf(elapsedMs: number, limitMs: number): string {
  const elapsed = Math.min(elapsedMs, limitMs);
  return `${spell(elapsed)} of ${spell(limitMs)}`;
}

/** `a`, `a and b`, `a, b and c`. */
export function list(words: readonly string[]): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** A change as people read it: by the names of the nodes. */
export function describeChange(change: Change, replicas: readonly Replica[]): string {
  if (change.kind === "add_learner") return `make ${change.name} a learner`;
  const nameOf = (id: number): string => {
    const name = replicas.find((replica) => replica.id === id)?.name;
    return name === undefined ? `replica ${id}` : `${name} (replica ${id})`;
  };
  if (change.kind === "transfer") return `let ${nameOf(change.to)} lead`;
  const part = (ids: readonly number[], before: string, after: string): string[] =>
    ids.length === 0 ? [] : [`${before}${list(ids.map(nameOf))}${after}`];
  const { promote, demote, remove } = change;
  return [
    ...part(promote, "give a vote to ", ""),
    ...part(demote, "make ", demote.length === 1 ? " a learner" : " learners"),
    ...part(remove, "remove ", ""),
  ].join(", ");
}

/** By code units: the same on every engine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
