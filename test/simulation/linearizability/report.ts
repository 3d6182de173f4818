/** A history that is wrong, as lines that a person can follow. */
import { checkHistory, type Frontier } from "./checker.ts";
import {
  hinted,
  type KvAction,
  type KvActionOutput,
  type KvInput,
  kvModel,
  type KvOperation,
  type KvOutput,
  type KvState,
  partition,
} from "./kv_model.ts";
import { checkRevisions } from "./revisions.ts";
import { shrink } from "./shrink.ts";

/** Lines of a report; a counterexample is rarely as long. */
const linesMax = 40;

/**
 * Judges a whole history by both checks. Undefined when it is linearizable and its revisions are in
 * order; else a text that shows why not. A search that was given up counts as wrong.
 */
export function judgeHistory(
  history: readonly KvOperation[],
  stepsMax?: number,
): string | undefined {
  const [problem] = checkRevisions(history);
  if (problem !== undefined) {
    return [`${problem.rule}: ${problem.text}`, ...problem.operations.map(formatOperation)]
      .join("\n");
  }
  for (const part of partition(history)) {
    const verdict = checkHistory(kvModel, hinted(part), stepsMax);
    if (verdict.kind === "illegal") return formatIllegal(part);
    if (verdict.kind === "unknown") {
      return `the search for an order of ${part.length} operations was given up after ` +
        `${verdict.steps} steps`;
    }
  }
  return undefined;
}

function formatIllegal(part: readonly KvOperation[]): string {
  const small = shrink(part);
  const verdict = checkHistory(kvModel, hinted(small));
  const lines = ["no order of these operations explains their answers:"];
  const shown = [...small].sort((a, b) => a.call - b.call).slice(0, linesMax);
  lines.push(...shown.map((operation) => `  ${formatOperation(operation)}`));
  if (small.length > shown.length) lines.push(`  … ${small.length - shown.length} more`);
  if (verdict.kind === "illegal") lines.push(...formatFrontier(small, verdict.frontier));
  return lines.join("\n");
}

function formatFrontier(
  operations: readonly KvOperation[],
  { order, state }: Frontier<KvState, KvInput, KvOutput>,
): string[] {
  const placed = new Set(order.map(({ id }) => id));
  const open = operations.filter(({ id, output }) => !placed.has(id) && output !== undefined);
  const keys = [...state.keys].filter(([, { version }]) => version > 0).map((
    [key, { value, mod, version }],
  ) => `${key}=${value} (${mod < 0 ? `${-mod} or later` : mod}, version ${version})`);
  const chain = order.map(({ id }) => `#${id}`).join(" ");
  return [
    `the longest order that fits: ${chain === "" ? "none" : chain}, ` +
    `then the store holds ${keys.length === 0 ? "nothing" : keys.join(", ")}`,
    `and none of these can follow: ${open.map(({ id }) => `#${id}`).join(" ")}`,
  ];
}

/** `#12 client 3 [100.0 … 104.5] put a=v7 → revision 9`. */
export function formatOperation(operation: KvOperation): string {
  const { id, client, input, output, call, end } = operation;
  const when = `[${call.toFixed(1)} … ${end === Infinity ? "?" : end.toFixed(1)}]`;
  return `#${id} ${client} ${when} ${formatInput(input)} → ${formatOutput(input, output)}`;
}

function formatInput({ compares, success, failure }: KvInput): string {
  const then = success.map(formatAction).join("; ");
  if (compares.length === 0) return then;
  const when = compares.map(({ key, target, equals }) => `${target}(${key})=${equals}`);
  const otherwise = failure.length === 0 ? "" : ` else ${failure.map(formatAction).join("; ")}`;
  return `if ${when.join(" and ")} then ${then}${otherwise}`;
}

function formatAction(action: KvAction): string {
  if (action.kind === "put") return `put ${action.key}=${action.value}`;
  return `${action.kind} ${action.key}`;
}

function formatOutput(input: KvInput, output: KvOutput | undefined): string {
  if (output === undefined) return "nobody knows";
  const { succeeded, revision, actions } = output;
  const ran = succeeded ? input.success : input.failure;
  const answers = actions.map((answer, at) => formatAnswer(ran[at], answer));
  const parts = answers.filter((text) => text !== "");
  if (input.compares.length > 0) parts.unshift(succeeded ? "succeeded" : "failed");
  return [...parts, `at revision ${revision}`].join(", ");
}

function formatAnswer(action: KvAction | undefined, { entry, deleted }: KvActionOutput): string {
  const found = entry === undefined
    ? "nothing"
    : `${entry.value} of ${entry.mod} (created ${entry.create}, version ${entry.version})`;
  if (action === undefined || action.kind === "get") return found;
  if (action.kind === "delete") return `${deleted} deleted`;
  return action.previous ? `before: ${found}` : "";
}
