/**
 * The smallest part of a history that still cannot be linearized. Every step only forgets something:
 * that time went on, a read, an answer. A history that could be linearized before can be so after
 * it, so what is left is wrong for a reason that was in the whole.
 */
import { checkHistory, type Operation } from "./checker.ts";
import { hinted, type KvInput, kvModel, type KvOperation, type KvOutput } from "./kv_model.ts";

/** Steps per try: one that takes more counts as a success, and what it left out is kept. */
const stepsMax = 5_000;

/** `history` is one part of a history, and illegal. */
export function shrink(history: readonly KvOperation[]): KvOperation[] {
  let kept = shortestPrefix(history);
  for (const operation of [...kept].reverse()) {
    const without = kept.filter((one) => one.id !== operation.id);
    if (isRead(operation) && isIllegal(without)) {
      kept = without;
      continue;
    }
    if (operation.output === undefined || isRead(operation)) continue;
    const blind = kept.map((one) => one.id === operation.id ? forget(one) : one);
    if (isIllegal(blind)) kept = blind;
  }
  // A write that nobody speaks of is not part of the story.
  return kept.filter((operation) => operation.output !== undefined || isSpokenOf(operation, kept));
}

function isIllegal(history: readonly KvOperation[]): boolean {
  return checkHistory(kvModel, hinted(history), stepsMax).kind === "illegal";
}

/** As it was known at the time of the first answer that makes it illegal. */
function shortestPrefix(history: readonly KvOperation[]): KvOperation[] {
  const ends = history.filter(({ output }) => output !== undefined).map(({ end }) => end);
  ends.sort((a, b) => a - b);
  const until = (end: number): KvOperation[] =>
    history.filter(({ call }) => call <= end).map((one) => one.end <= end ? one : forget(one));
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isIllegal(until(ends[middle]))) high = middle;
    else low = middle + 1;
  }
  const prefix = until(ends[high] ?? Infinity);
  return isIllegal(prefix) ? prefix : [...history];
}

function forget(operation: Operation<KvInput, KvOutput>): KvOperation {
  return { ...operation, output: undefined, end: Infinity };
}

function isRead({ input }: KvOperation): boolean {
  return input.success.every(({ kind }) => kind === "get");
}

function isSpokenOf(operation: KvOperation, history: readonly KvOperation[]): boolean {
  return operation.input.success.some((action) => {
    if (action.kind === "get") return false;
    return history.some(({ input, output }) => {
      const actions = output?.succeeded === false ? input.failure : input.success;
      if (output === undefined) return false;
      if (action.kind === "delete") return actions.some(({ key }) => key === action.key);
      return output.actions.some(({ entry }) => entry?.value === action.value);
    });
  });
}
