/**
 * What a node must not forget of its membership: who it is, the newest configuration and what it
 * promised and voted for there. One file, replaced as a whole and durable before anything that it
 * holds is told to anybody.
 */
import { create, fromBinary, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import { xxh64 } from "../base/xxh64.ts";
import { RecordSchema } from "../gen/covey/membership/v1/membership_pb.ts";
import { type Disk, DiskError } from "../runtime/port.ts";
import { Configuration } from "./core/configuration.ts";
import type { Acceptor } from "./core/consensus.ts";
import type { Member } from "./core/member.ts";
import {
  decodeCut,
  decodeId,
  decodeMember,
  decodeMembers,
  encodeId,
  encodeMember,
} from "./wire.ts";

const format = 1;
const fileName = "membership";
const fileBytesMax = 16 << 20;
const hashBytes = 8;

export interface MembershipRecord {
  readonly clusterId: string;
  readonly self: Member;
  readonly configuration: Configuration;
  readonly acceptor: Acceptor;
}

export function encodeRecord(record: MembershipRecord): Uint8Array {
  const { clusterId, self, configuration, acceptor } = record;
  const message = create(RecordSchema, {
    format,
    clusterId,
    self: encodeMember(self),
    configuration: encodeId(configuration),
    members: configuration.members.map(encodeMember),
    promised: BigInt(acceptor.promised),
    voted: BigInt(acceptor.voted),
    value: acceptor.value,
    cut: acceptor.cut && {
      joined: acceptor.cut.joined.map(encodeMember),
      left: [...acceptor.cut.left],
    },
  });
  const body = toBinary(RecordSchema, message);
  const bytes = new Uint8Array(body.length + hashBytes);
  bytes.set(body);
  new DataView(bytes.buffer).setBigUint64(body.length, xxh64(body));
  return bytes;
}

/** Throws `data_loss` when the bytes are no record, `failed_precondition` when a newer one wrote them. */
export function decodeRecord(bytes: Uint8Array, rings: number, file: string): MembershipRecord {
  const damaged = (): CoveyError =>
    new CoveyError(
      Code.dataLoss,
      `${file} is damaged: take it away, and the node joins its cluster anew, as another member`,
    );
  if (bytes.length < hashBytes) throw damaged();
  const body = bytes.subarray(0, bytes.length - hashBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getBigUint64(body.length) !== xxh64(body)) throw damaged();
  const record = fromBinary(RecordSchema, body);
  if (record.format > format) {
    throw new CoveyError(
      Code.failedPrecondition,
      `${file} has format ${record.format}, and this version of covey knows up to ${format}: run ` +
        "the newer covey that wrote it",
    );
  }
  const self = decodeMember(record.self);
  const id = decodeId(record.configuration);
  const members = decodeMembers(record.members);
  const cut = record.cut && decodeCut(record.cut);
  if (self === undefined || id === undefined || members === undefined) throw damaged();
  return {
    clusterId: record.clusterId,
    self,
    configuration: Configuration.restored(id, members, rings),
    acceptor: {
      promised: Number(record.promised),
      voted: Number(record.voted),
      value: record.value,
      cut,
    },
  };
}

/** Undefined when the node was never a member. */
export async function readRecord(
  disk: Disk,
  directory: string,
  rings: number,
): Promise<MembershipRecord | undefined> {
  const file = `${directory}/${fileName}`;
  try {
    return decodeRecord(await disk.readFile(file, fileBytesMax), rings, file);
  } catch (error) {
    if (error instanceof DiskError && error.kind === "not-found") return undefined;
    throw CoveyError.from(error, Code.internal);
  }
}

export async function writeRecord(
  disk: Disk,
  directory: string,
  record: MembershipRecord,
): Promise<void> {
  await disk.replaceFile(`${directory}/${fileName}`, encodeRecord(record), 0o600);
}
