/** What a failed call of the key-value client says beside its code. */
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import type { DescMessage, MessageShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError, type CoveyErrorOptions } from "../base/error.ts";
import { type ErrorInfo, ErrorInfoSchema } from "../gen/covey/kv/v1/kv_pb.ts";
import { LeaderHintSchema } from "../gen/covey/raft/v1/raft_pb.ts";
import { errorInfoType } from "./refusal.ts";
import type { LeaderHint } from "./group.ts";

/** What was asked for is compacted: begin with {@link compactRevision}. */
export class CompactedError extends CoveyError {
  override name = "CompactedError";
  /** The oldest revision that can be asked for. */
  readonly compactRevision: number;

  constructor(message: string, compactRevision: number, options: CoveyErrorOptions = {}) {
    super(Code.outOfRange, message, options);
    this.compactRevision = compactRevision;
  }
}

/** The leader that an error names; undefined when it names none. */
export function leaderOf(error: unknown): LeaderHint | undefined {
  const hint = detailOf(error, LeaderHintSchema);
  if (hint === undefined) return undefined;
  const { nodeId, name, address } = hint;
  return { replica: Number(hint.replica), nodeId, name, address };
}

/** The name of the store's refusal (docs/reference/kv.md); undefined when it was none. */
export function refusalOf(error: unknown): string | undefined {
  const reason = detailOf(error, ErrorInfoSchema)?.reason;
  return reason === "" ? undefined : reason;
}

/** Whether a call that failed certainly did nothing. */
export function didNothing(error: CoveyError): boolean {
  return error.sent === false || detailOf(error, ErrorInfoSchema)?.notApplied === true;
}

/** Whether the store has stopped on the node that was asked, so that only others can do it. */
export function isStopped(error: CoveyError): boolean {
  return detailOf(error, ErrorInfoSchema)?.stopped === true;
}

/** The same error for whoever tried before and does not know what came of that. */
export function withUnknownOutcome(error: CoveyError): CoveyError {
  if (!didNothing(error)) return error;
  // What the store itself says about a command holds, however often it was sent; but it keeps no
  // refusal for want of room, and what was sent before may come when there is some.
  const refusal = refusalOf(error);
  if (refusal !== undefined && refusal !== "session_full") return error;
  const details = error.details.filter(({ typeUrl }) => typeUrl !== errorInfoType);
  return new CoveyError(error.code, error.rawMessage, { cause: error, details, sent: true });
}

/** The same error, of its own class where there is one. */
export function typedError(error: CoveyError): CoveyError {
  const info: ErrorInfo | undefined = detailOf(error, ErrorInfoSchema);
  if (info?.reason !== "compacted" || error instanceof CompactedError) return error;
  const { rawMessage, details, sent, cause } = error;
  return new CompactedError(rawMessage, Number(info.compactRevision), { details, sent, cause });
}

function detailOf<S extends DescMessage>(error: unknown, schema: S): MessageShape<S> | undefined {
  if (!(error instanceof CoveyError)) return undefined;
  const type = `type.googleapis.com/${schema.typeName}`;
  const detail = error.details.find(({ typeUrl }) => typeUrl === type);
  if (detail === undefined) return undefined;
  try {
    return fromBinary(schema, detail.value);
  } catch {
    // Who made it is not known: what cannot be read says nothing.
    return undefined;
  }
}
