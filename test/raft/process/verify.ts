/**
 * After the faults: every node is asked for everything, and all that clients ever saw has to be
 * explained by one store that did one thing after the other.
 */
import assert from "node:assert/strict";
import type { KvClient } from "../../../src/kv/client.ts";
import type { KvEntry, RangeOptions } from "../../../src/kv/client_types.ts";
import { judgeHistory } from "../../simulation/linearizability/report.ts";
import { keysOf, type KvOperation } from "../../simulation/linearizability/kv_model.ts";
import type { Lab } from "./lab.ts";
import { type History, plain, toEntry } from "./recorder.ts";

const pageKeys = 100;

/** What a verification looked at. */
export interface Verified {
  readonly operations: number;
  readonly acknowledgedWrites: number;
  readonly keys: number;
}

/** Waits until the nodes agree, reads all of them, and judges everything that was seen. */
export async function verify(lab: Lab): Promise<Verified> {
  await lab.converged();
  const { history } = lab;
  const keys = [...new Set(history.operations.flatMap(({ input }) => keysOf(input)))];
  for (const node of lab.cluster.running) {
    const client = lab.client({ nodes: [node], sessions: false, timeoutMs: 30_000 });
    const call = performance.now();
    const { revision, entries } = await readAll(client, {});
    const end = performance.now();
    const found = new Map(entries.map((entry) => [entry.keyText, entry]));
    assertAllThere(history, found, node.name);
    for (const key of keys) {
      const entry = toEntry(found.get(key));
      const output = { revision, succeeded: true, actions: [{ entry, deleted: 0 }] };
      history.add({ client: node.name, input: plain({ kind: "get", key }), output, call, end });
    }
    // The same without asking the others, since all have applied everything.
    const own = await readAll(client, { serializable: true });
    assert.deepEqual(own.entries.map(shape), entries.map(shape), `${node.name} by itself`);
  }
  const problem = judgeHistory(history.operations);
  if (problem !== undefined) assert.fail(problem);
  const acknowledgedWrites = history.operations.filter(isAcknowledgedWrite).length;
  return { operations: history.operations.length, acknowledgedWrites, keys: keys.length };
}

/** Everything at one revision, in answers that fit into a message. */
async function readAll(
  client: KvClient,
  options: RangeOptions,
): Promise<{ revision: number; entries: KvEntry[] }> {
  const entries: KvEntry[] = [];
  let from = new Uint8Array([0]);
  let revision = 0;
  for (;;) {
    const page = await client.range({ from }, { ...options, revision, limit: pageKeys });
    entries.push(...page.entries);
    if (revision === 0) revision = page.revision;
    const last = page.entries.at(-1);
    if (!page.more || last === undefined) return { revision, entries };
    from = new Uint8Array([...last.key, 0]);
  }
}

/**
 * Keys that were written once and never again, told apart by their names: if their write was
 * acknowledged they are there. The checker sees this, too; this needs no checker to be right.
 */
function assertAllThere(
  history: History,
  found: ReadonlyMap<string | undefined, KvEntry>,
  where: string,
): void {
  const lost = history.operations.filter((operation) => {
    const [action] = operation.input.success;
    if (!isAcknowledgedWrite(operation) || action.kind !== "put") return false;
    return action.key.includes("own/") && found.get(action.key)?.text !== action.value;
  });
  assert.deepEqual(lost, [], `${where} lost acknowledged writes`);
}

function isAcknowledgedWrite({ input, output }: KvOperation): boolean {
  if (output === undefined || !output.succeeded) return false;
  return input.success.some(({ kind }) => kind !== "get");
}

function shape({ keyText, text, createRevision, modRevision, version }: KvEntry): string {
  return `${keyText}=${text} ${createRevision} ${modRevision} ${version}`;
}
