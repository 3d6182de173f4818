/** Histories for the checker's own tests: of a store that is right, and of one that lies. */
import type { Prng } from "../../../src/base/prng.ts";
import {
  type Entry,
  firstRevision,
  type KvAction,
  type KvActionOutput,
  type KvCompare,
  type KvInput,
  type KvOperation,
  type KvOutput,
} from "./kv_model.ts";

/** A store that does one thing at a time, with nothing unknown in it. */
export class ExactStore {
  revision = firstRevision;
  readonly keys: Map<string, Entry> = new Map();

  run({ compares, success, failure }: KvInput): KvOutput {
    const succeeded = compares.every((compare) => this.#holds(compare));
    const revision = this.revision + 1;
    const actions = (succeeded ? success : failure).map((action) => this.#act(action, revision));
    return { revision: this.revision, succeeded, actions };
  }

  #holds({ key, target, equals }: KvCompare): boolean {
    const entry = this.keys.get(key);
    return entry === undefined ? equals === 0 : entry[target] === equals;
  }

  #act(action: KvAction, mod: number): KvActionOutput {
    const before = this.keys.get(action.key);
    const entry = action.kind === "get" || action.previous ? before : undefined;
    if (action.kind === "get") return { entry, deleted: 0 };
    if (action.kind === "delete") {
      if (before === undefined) return { entry, deleted: 0 };
      this.keys.delete(action.key);
      this.revision = mod;
      return { entry, deleted: 1 };
    }
    this.keys.set(action.key, {
      value: action.value,
      create: before?.create ?? mod,
      mod,
      version: (before?.version ?? 0) + 1,
    });
    this.revision = mod;
    return { entry, deleted: 0 };
  }
}

export interface HistoryOptions {
  readonly operations: number;
  readonly keys: number;
  readonly clients: number;
  /** Of an operation whose client never hears of it. */
  readonly unknownChance: number;
}

/** A client's work, one operation after the other. */
interface Draft {
  readonly client: string;
  readonly input: KvInput;
  readonly call: number;
  readonly point: number;
  readonly end: number;
  readonly unknown: boolean;
}

/** What clients saw of an {@link ExactStore}: linearizable by construction. */
export function trueHistory(random: Prng, options: HistoryOptions): KvOperation[] {
  const store = new ExactStore();
  const clocks = Array.from({ length: options.clients }, () => 0);
  const drafts: Draft[] = [];
  for (let id = 1; id <= options.operations; id++) {
    const client = random.below(options.clients);
    const call = clocks[client] + random.below(4);
    const point = call + random.below(6);
    const end = point + random.below(6);
    clocks[client] = end + 1;
    const unknown = random.chance(options.unknownChance);
    const input = drawInput(random, { id, keys: options.keys, revisions: options.operations });
    drafts.push({ client: `client ${client}`, input, call, point, end, unknown });
  }
  const byPoint = [...drafts].sort((a, b) => a.point - b.point);
  const history = new Map<Draft, KvOperation>();
  for (const draft of byPoint) {
    const { client, input, call, end, unknown } = draft;
    const happens = !unknown || random.chance(0.5);
    const output = happens ? store.run(input) : undefined;
    history.set(draft, {
      id: drafts.indexOf(draft) + 1,
      client,
      input,
      output: unknown ? undefined : output,
      call,
      end: unknown ? Infinity : end,
    });
  }
  return drafts.map((draft) => history.get(draft)!);
}

function drawInput(
  random: Prng,
  { id, keys, revisions }: { id: number; keys: number; revisions: number },
): KvInput {
  const key = `k${random.below(keys)}`;
  const get: KvAction = { kind: "get", key };
  const put: KvAction = { kind: "put", key, value: `v${id}`, previous: random.chance(0.7) };
  const compare = (): KvCompare => {
    const target = random.pick(["version", "create", "mod", "value"] as const);
    const equals = target === "value"
      ? `v${random.between(1, id)}`
      : target === "version"
      ? random.below(3)
      : random.below(revisions);
    return { key, target, equals };
  };
  const plain = (action: KvAction): KvInput => ({ compares: [], success: [action], failure: [] });
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return plain(get);
    case 3:
    case 4:
      return plain(put);
    case 5:
      return plain({ kind: "delete", key, previous: random.chance(0.7) });
    case 6:
      return { compares: [compare()], success: [put], failure: [get] };
    default: {
      // In pairs, so that not all keys become one part.
      const number = Number(key.slice(1));
      const other = `k${Math.min(number ^ 1, keys - 1)}`;
      const second: KvAction = other === key
        ? get
        : { kind: "put", key: other, value: `w${id}`, previous: false };
      return {
        compares: random.chance(0.5) ? [compare()] : [],
        success: [put, second],
        failure: [get],
      };
    }
  }
}

/** One answer is made another one; mostly that cannot be explained any more. */
export function lie(random: Prng, history: readonly KvOperation[]): KvOperation[] {
  const known = history.filter(({ output }) => output !== undefined);
  if (known.length === 0) return [...history];
  const liar = random.pick(known);
  const other = random.pick(known).output!;
  const output = liar.output!;
  const entries = known.flatMap((one) => one.output!.actions)
    .flatMap(({ entry }) => entry === undefined ? [] : [entry]);
  const actions = output.actions.map((answer) => ({ ...answer }));
  const at = random.below(Math.max(1, actions.length));
  let changed: KvOutput = output;
  switch (random.below(5)) {
    case 0:
      changed = { ...output, revision: Math.max(1, output.revision + random.between(-2, 2)) };
      break;
    case 1:
      changed = { ...output, revision: other.revision };
      break;
    case 2:
      changed = { ...output, succeeded: !output.succeeded };
      break;
    case 3:
      if (actions.length > 0) {
        actions[at].entry = entries.length > 0 && random.chance(0.8)
          ? random.pick(entries)
          : undefined;
      }
      changed = { ...output, actions };
      break;
    default:
      if (actions.length > 0) actions[at].deleted ^= 1;
      changed = { ...output, actions };
  }
  return history.map((one) => one === liar ? { ...one, output: changed } : one);
}
