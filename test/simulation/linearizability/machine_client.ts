/** The product's own machine, asked in the words of the model. */
import { encodeText } from "../../../src/base/bytes.ts";
import type { Compare, Operation, RangeRequest } from "../../../src/kv/core/command.ts";
import { CompareOperator, CompareTarget } from "../../../src/kv/core/command.ts";
import { encodeCommand } from "../../../src/kv/core/command_codec.ts";
import { KvMachine } from "../../../src/kv/core/kv_machine.ts";
import type { KeyValue, OperationResult } from "../../../src/kv/core/result.ts";
import type { Entry, KvAction, KvActionOutput, KvCompare, KvInput, KvOutput } from "./kv_model.ts";

const latin1 = new TextDecoder("latin1");
const noBytes = new Uint8Array(0);

export class MachineClient {
  readonly #machine = new KvMachine();
  #index = 0;

  run({ compares, success, failure }: KvInput): KvOutput {
    const data = encodeCommand({
      kind: "transaction",
      compares: compares.map(toCompare),
      success: success.map(toOperation),
      failure: failure.map(toOperation),
    });
    const result = this.#machine.apply({ index: ++this.#index, term: 1, data });
    if (result?.kind !== "transaction") throw new Error(`the machine answers ${result?.kind}`);
    const { revision, succeeded, results } = result;
    return { revision, succeeded, actions: results.map(toOutput) };
  }
}

function toCompare({ key, target, equals }: KvCompare): Compare {
  return {
    target: CompareTarget[target],
    operator: CompareOperator.equal,
    key: encodeText(key),
    end: noBytes,
    number: typeof equals === "number" ? equals : 0,
    value: typeof equals === "string" ? encodeText(equals) : noBytes,
  };
}

function toOperation(action: KvAction): Operation {
  const key = encodeText(action.key);
  if (action.kind === "get") return { ...wholeRange, key };
  if (action.kind === "delete") {
    return { kind: "deleteRange", key, end: noBytes, previous: action.previous };
  }
  return {
    kind: "put",
    key,
    value: encodeText(action.value),
    lease: 0,
    previous: action.previous,
    ignoreValue: false,
    ignoreLease: false,
  };
}

const wholeRange: Omit<RangeRequest, "key"> = {
  kind: "range",
  end: noBytes,
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  keysOnly: false,
  countOnly: false,
  modMin: 0,
  modMax: 0,
  createMin: 0,
  createMax: 0,
};

function toOutput(result: OperationResult): KvActionOutput {
  switch (result.kind) {
    case "put":
      return { entry: toEntry(result.previous), deleted: 0 };
    case "deleteRange":
      return { entry: toEntry(result.previous[0]), deleted: result.deleted };
    case "range":
      return { entry: toEntry(result.entries[0]), deleted: 0 };
    default:
      throw new Error("the model has no nested transactions");
  }
}

function toEntry(found: KeyValue | undefined): Entry | undefined {
  if (found === undefined) return undefined;
  const { value, createRevision, modRevision, version } = found;
  return { value: latin1.decode(value), create: createRevision, mod: modRevision, version };
}
