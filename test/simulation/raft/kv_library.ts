/** The model's requests by covey's own client, which finds nodes and repeats writes by itself. */
import { decodeText } from "../../../src/base/bytes.ts";
import { KvClient } from "../../../src/kv/client.ts";
import { channelEndpoint } from "../../../src/kv/client_endpoint.ts";
import type {
  KvCompare as LibraryCompare,
  KvEntry,
  KvOperation as LibraryOperation,
  KvOperationResult,
} from "../../../src/kv/client_types.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import type {
  Entry,
  KvAction,
  KvActionOutput,
  KvCompare,
  KvInput,
  KvOutput,
} from "../linearizability/kv_model.ts";
import type { Agent } from "./agent.ts";
import type { Connections } from "./client_machine.ts";
import { nameOf } from "./workload.ts";

type Padded = (value: string) => string;

export function libraryClient(
  runtime: Runtime,
  connections: Connections,
  agents: readonly Agent[],
): KvClient {
  const { clock, random } = runtime;
  return new KvClient({
    clock,
    random,
    endpoints: agents.map((agent) => channelEndpoint(connections.channel(agent))),
  });
}

/** Rejects as the client does. */
export async function askLibrary(
  client: KvClient,
  input: KvInput,
  padded: Padded,
  timeoutMs: number,
): Promise<KvOutput> {
  const [action] = input.success;
  if (input.compares.length === 0 && input.success.length === 1) {
    if (action.kind === "get") {
      const { revision, entries } = await client.range(action.key, { timeoutMs });
      return one(revision, entries[0], 0);
    }
    if (action.kind === "put") {
      const { revision, previous } = await client.put(action.key, padded(action.value), {
        previous: action.previous,
        timeoutMs,
      });
      return one(revision, previous, 0);
    }
    const { revision, deleted, previous } = await client.delete(action.key, {
      previous: action.previous,
      timeoutMs,
    });
    return one(revision, previous[0], deleted);
  }
  const { revision, succeeded, results } = await client.transact({
    compare: input.compares.map((compare) => toCompare(compare, padded)),
    success: input.success.map((each) => toOperation(each, padded)),
    failure: input.failure.map((each) => toOperation(each, padded)),
  }, { timeoutMs });
  return { revision, succeeded, actions: results.map(toOutput) };
}

function one(revision: number, entry: KvEntry | undefined, deleted: number): KvOutput {
  return { revision, succeeded: true, actions: [{ entry: toEntry(entry), deleted }] };
}

function toCompare({ key, target, equals }: KvCompare, padded: Padded): LibraryCompare {
  if (target === "value") return { keys: key, value: padded(String(equals)) };
  const number = Number(equals);
  if (target === "version") return { keys: key, version: number };
  return target === "mod"
    ? { keys: key, modRevision: number }
    : { keys: key, createRevision: number };
}

function toOperation(action: KvAction, padded: Padded): LibraryOperation {
  const { key } = action;
  if (action.kind === "get") return { range: key };
  if (action.kind === "delete") return { delete: key, previous: action.previous };
  return { put: key, value: padded(action.value), previous: action.previous };
}

function toOutput(result: KvOperationResult): KvActionOutput {
  switch (result.kind) {
    case "put":
      return { entry: toEntry(result.previous), deleted: 0 };
    case "delete":
      return { entry: toEntry(result.previous[0]), deleted: result.deleted };
    case "range":
      return { entry: toEntry(result.entries[0]), deleted: 0 };
    case "transaction":
      throw new Error("the model has no nested transactions");
  }
}

function toEntry(found: KvEntry | undefined): Entry | undefined {
  if (found === undefined) return undefined;
  const { value, createRevision, modRevision, version } = found;
  const name = nameOf(decodeText(value) ?? "");
  return { value: name, create: createRevision, mod: modRevision, version };
}
