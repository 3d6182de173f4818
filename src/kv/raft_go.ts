/**
 * The services of m-wrona/raft-go on top of the store, so that its clients go on as they are. Their
 * one number is a key of the store, as decimal text: it shows wherever keys are shown.
 */
import { Code, CoveyError } from "../base/error.ts";
import { decodeText, encodeText } from "../base/bytes.ts";
import { failed, type KvParts, within } from "./kv_parts.ts";
import type { CallContext, CallOptions, Handlers } from "../ttrpc/service.ts";
import type { KeyValueService, RaftService } from "../gen/api/v1/raft_go_pb.ts";
import { noBytes } from "./core/bytes.ts";
import { plainRange } from "./core/range.ts";
import { refused } from "./refusal.ts";
import { toNumber } from "./request.ts";

/** As in raft-go. */
const keyText = "sample-value";
const key: Uint8Array = encodeText(keyText);

const uint32Max = 0xffffffff;

export function keyValueHandlers(parts: KvParts): Handlers<typeof KeyValueService> {
  return {
    set: async ({ value }, context) => {
      const result = await parts.commands.propose(
        {
          kind: "put",
          key,
          value: encodeText(String(value)),
          lease: 0,
          previous: false,
          ignoreValue: false,
          ignoreLease: false,
        },
        undefined,
        within(context),
      ).catch(failed);
      // What the store refuses is an answer in this protocol; what nobody could decide is an error.
      if (result.kind === "failure") {
        return { ok: false, message: refused(result, parts.machine.limits).rawMessage };
      }
      return { ok: true, message: `committed at revision ${result.revision}` };
    },
    get: async (_request, context) => {
      await parts.group.barrier(within(context)).catch(failed);
      const { entries } = await parts.reads.range({ ...plainRange, key, end: noBytes });
      if (entries.length === 0) {
        throw new CoveyError(Code.notFound, `${keyText} is not set: call Set first`);
      }
      return { value: numberOf(entries[0].value) };
    },
  };
}

function numberOf(bytes: Uint8Array): number {
  const text = decodeText(bytes) ?? "";
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Infinity;
  if (value <= uint32Max) return value;
  throw new CoveyError(
    Code.failedPrecondition,
    `${keyText} holds no number from 0 to ${uint32Max}: something else was written to that key; ` +
      "call Set to replace it",
  );
}

/** Who takes part, as far as raft-go's requests can say: by number, without an address. */
export interface RaftGoMembers {
  /** Reject with a CoveyError whose message says what to do instead. */
  add(id: number, options: CallOptions): Promise<void>;
  remove(id: number, options: CallOptions): Promise<void>;
}

/** Nothing was decided: these are errors, not answers. */
const undecided: ReadonlySet<Code> = new Set([
  Code.canceled,
  Code.deadlineExceeded,
  Code.unavailable,
  Code.internal,
  Code.unknown,
]);

export function raftHandlers(members: RaftGoMembers): Handlers<typeof RaftService> {
  const answer = async (
    change: Promise<void>,
    done: string,
  ): Promise<{ ok: boolean; message: string }> => {
    try {
      await change;
      return { ok: true, message: done };
    } catch (thrown) {
      const error = CoveyError.from(thrown, Code.internal);
      if (undecided.has(error.code)) throw error;
      return { ok: false, message: error.rawMessage };
    }
  };
  return {
    add: ({ id }, context) =>
      answer(members.add(toNumber(id, "id"), restOf(context)), `node ${id} was added`),
    remove: ({ id }, context) =>
      answer(members.remove(toNumber(id, "id"), restOf(context)), `node ${id} was removed`),
  };
}

/** What is left of a call, for the calls that answer it. */
function restOf({ timeoutMs, signal }: CallContext): CallOptions {
  return { timeoutMs, signal };
}
