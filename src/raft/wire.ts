/**
 * The core's messages as protobuf, both ways. An entry's index and most of its terms follow from
 * its place and are not sent. What a peer sent is judged by the core; here numbers are only made
 * safe, and what has no place in the core's types becomes a value that it refuses.
 */
import { decodeConfiguration, encodeConfiguration } from "./core/configuration_codec.ts";
import type {
  Entry,
  EntryType,
  LogIndex,
  Message,
  MessageType,
  SnapshotMeta,
  Term,
} from "./core/types.ts";
import type { Message as WireMessage } from "../gen/covey/raft/v1/transport_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import type {
  EntrySchema,
  FrameSchema,
  MessageSchema,
  SnapshotMetaSchema,
} from "../gen/covey/raft/v1/transport_pb.ts";

export type FrameInit = MessageInitShape<typeof FrameSchema>;
export type MessageInit = MessageInitShape<typeof MessageSchema>;
export type EntryInit = MessageInitShape<typeof EntrySchema>;
export type MetaInit = MessageInitShape<typeof SnapshotMetaSchema>;

const noEntries: readonly Entry[] = Object.freeze([]);

export function encodeMessage(group: number, message: Message): MessageInit {
  return {
    group,
    type: message.type,
    from: BigInt(message.from),
    to: BigInt(message.to),
    term: BigInt(message.term),
    logTerm: BigInt(message.logTerm),
    index: BigInt(message.index),
    entries: message.entries.length === 0
      ? undefined
      : encodeEntries(message.entries, message.logTerm),
    commit: BigInt(message.commit),
    reject: message.reject,
    rejectHint: BigInt(message.rejectHint),
    forced: message.forced,
    round: BigInt(message.round),
    snapshot: message.snapshot === undefined ? undefined : encodeMeta(message.snapshot),
  };
}

export function encodeEntries(entries: readonly Entry[], before: number): EntryInit[] {
  let term = before;
  return entries.map((entry) => {
    const same = entry.term === term;
    term = entry.term;
    return { term: same ? 0n : BigInt(term), type: entry.type, data: entry.data };
  });
}

/** Undefined when it cannot be a message of this protocol's. */
export function decodeMessage(wire: WireMessage): Message | undefined {
  const snapshot = wire.snapshot === undefined ? undefined : decodeMeta(wire.snapshot);
  if (wire.snapshot !== undefined && snapshot === undefined) return undefined;
  const logTerm = Number(wire.logTerm) as Term;
  const index = Number(wire.index) as LogIndex;
  return {
    type: wire.type as MessageType,
    from: Number(wire.from),
    to: Number(wire.to),
    term: Number(wire.term) as Term,
    logTerm,
    index,
    entries: wire.entries.length === 0 ? noEntries : decodeEntries(wire.entries, index, logTerm),
    commit: Number(wire.commit) as LogIndex,
    reject: wire.reject,
    rejectHint: Number(wire.rejectHint) as LogIndex,
    forced: wire.forced,
    round: Number(wire.round),
    snapshot,
  };
}

/** `index` and `before` are those of the entry before the first. */
export function decodeEntries(
  wire: WireMessage["entries"],
  index: LogIndex,
  before: Term,
): Entry[] {
  let term: number = before;
  let at: number = index;
  return wire.map((entry) => {
    if (entry.term !== 0n) term = Number(entry.term);
    return {
      term: term as Term,
      index: ++at as LogIndex,
      type: entry.type as EntryType,
      data: entry.data,
    };
  });
}

export function encodeMeta(meta: SnapshotMeta): MetaInit {
  return {
    index: BigInt(meta.index),
    term: BigInt(meta.term),
    configuration: encodeConfiguration(meta.configuration),
  };
}

export function decodeMeta(
  wire: { readonly index: bigint; readonly term: bigint; readonly configuration: Uint8Array },
): SnapshotMeta | undefined {
  const configuration = decodeConfiguration(wire.configuration);
  if (configuration === undefined) return undefined;
  return {
    index: Number(wire.index) as LogIndex,
    term: Number(wire.term) as Term,
    configuration,
  };
}
