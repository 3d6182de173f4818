/**
 * A client of the store that writes down what it asked and was answered, in the words of the
 * checker's model (test/simulation/linearizability).
 */
import type { KvClient } from "../../../src/kv/client.ts";
import type {
  KvCompare as ClientCompare,
  KvEntry,
  KvOperation as ClientOperation,
  KvOperationResult,
} from "../../../src/kv/client_types.ts";
import { CoveyError } from "../../../src/base/error.ts";
import type {
  Entry,
  KvAction,
  KvActionOutput,
  KvCompare,
  KvInput,
  KvOperation,
  KvOutput,
} from "../../simulation/linearizability/kv_model.ts";
import { wasNotApplied } from "./outcome.ts";

/** What became of a call, for the load that made it. */
export type Outcome =
  | { readonly kind: "answered"; readonly output: KvOutput; readonly operation: KvOperation }
  /** It did not happen. */
  | { readonly kind: "refused"; readonly error: CoveyError }
  | { readonly kind: "unknown"; readonly error: CoveyError };

/** All that the clients of one test saw. */
export class History {
  readonly operations: KvOperation[] = [];
  #next = 1;

  add(operation: Omit<KvOperation, "id">): KvOperation {
    const added = { ...operation, id: this.#next++ };
    this.operations.push(added);
    return added;
  }
}

export class Recorder {
  readonly name: string;
  readonly #kv: KvClient;
  readonly #history: History;

  constructor(name: string, kv: KvClient, history: History) {
    this.name = name;
    this.#kv = kv;
    this.#history = history;
  }

  get(key: string, timeoutMs?: number): Promise<Outcome> {
    return this.run(plain({ kind: "get", key }), timeoutMs);
  }

  put(key: string, value: string, timeoutMs?: number): Promise<Outcome> {
    return this.run(plain({ kind: "put", key, value, previous: false }), timeoutMs);
  }

  /** Runs it as the request that fits: single gets, puts and deletes are no transactions. */
  async run(input: KvInput, timeoutMs?: number): Promise<Outcome> {
    const call = performance.now();
    const isRead = input.success.every(({ kind }) => kind === "get");
    try {
      const output = await this.#send(input, timeoutMs);
      const end = performance.now();
      const { name: client } = this;
      const operation = this.#history.add({ client, input, output, call, end });
      return { kind: "answered", output, operation };
    } catch (thrown) {
      const error = CoveyError.from(thrown);
      if (isRead || wasNotApplied(error)) return { kind: "refused", error };
      const { name: client } = this;
      this.#history.add({ client, input, output: undefined, call, end: Infinity });
      return { kind: "unknown", error };
    }
  }

  async #send(input: KvInput, timeoutMs: number | undefined): Promise<KvOutput> {
    const { compares, success, failure } = input;
    const [action] = success;
    const options = timeoutMs === undefined ? {} : { timeoutMs };
    if (compares.length > 0 || success.length > 1) {
      const { revision, succeeded, results } = await this.#kv.transact({
        compare: compares.map(toCompare),
        success: success.map(toOperation),
        failure: failure.map(toOperation),
      }, options);
      return { revision, succeeded, actions: results.map(toOutput) };
    }
    if (action.kind === "get") {
      const { revision, entries } = await this.#kv.range(action.key, options);
      return { revision, succeeded: true, actions: [{ entry: toEntry(entries[0]), deleted: 0 }] };
    }
    if (action.kind === "put") {
      const { value, previous } = action;
      const put = await this.#kv.put(action.key, value, { ...options, previous });
      const entry = toEntry(put.previous);
      return { revision: put.revision, succeeded: true, actions: [{ entry, deleted: 0 }] };
    }
    const { previous } = action;
    const result = await this.#kv.delete(action.key, { ...options, previous });
    const entry = toEntry(result.previous[0]);
    const { revision, deleted } = result;
    return { revision, succeeded: true, actions: [{ entry, deleted }] };
  }
}

/** A transaction of one action, without a condition. */
export function plain(action: KvAction): KvInput {
  return { compares: [], success: [action], failure: [] };
}

function toCompare({ key, target, equals }: KvCompare): ClientCompare {
  const number = Number(equals);
  switch (target) {
    case "value":
      return { keys: key, value: `${equals}` };
    case "version":
      return { keys: key, version: number };
    case "create":
      return { keys: key, createRevision: number };
    default:
      return { keys: key, modRevision: number };
  }
}

function toOperation(action: KvAction): ClientOperation {
  if (action.kind === "get") return { range: action.key };
  if (action.kind === "delete") return { delete: action.key, previous: action.previous };
  return { put: action.key, value: action.value, previous: action.previous };
}

function toOutput(result: KvOperationResult): KvActionOutput {
  switch (result.kind) {
    case "put":
      return { entry: toEntry(result.previous), deleted: 0 };
    case "delete":
      return { entry: toEntry(result.previous[0]), deleted: result.deleted };
    case "range":
      return { entry: toEntry(result.entries[0]), deleted: 0 };
    default:
      throw new Error("no transaction of these tests has another one in it");
  }
}

export function toEntry(found: KvEntry | undefined): Entry | undefined {
  if (found === undefined) return undefined;
  const { text, createRevision, modRevision, version } = found;
  if (text === undefined) throw new Error("a value that nobody wrote: it is not even text");
  return { value: text, create: createRevision, mod: modRevision, version };
}
