/**
 * Answers of covey.membership.v1.Members as JSON objects, the same in the routes below `/v1/members`
 * and in the commands with `--json`.
 */
import { decodeText } from "../base/bytes.ts";
import {
  type ListResponse,
  type MemberInfo,
  MemberState,
} from "../gen/covey/membership/v1/members_pb.ts";

export type MembershipState = "waiting" | "joining" | "member" | "left" | "unknown";

export interface MemberReport {
  readonly name: string;
  readonly address: string;
  /** 32 hexadecimal digits. */
  readonly nodeId: string;
  /** Of this stay: 16 hexadecimal digits. */
  readonly incarnation: string;
  readonly role: "core" | "leaf";
  /** Fixed when it joined; absent where there is none. */
  readonly metadata?: ReportedValues;
  /** What it says of itself now; absent where that is nothing. */
  readonly facts?: ReportedValues;
}

/** Text, and in base64 what is no UTF-8. */
export type ReportedValues = Readonly<Record<string, string | { readonly base64: string }>>;

export interface MembershipReport {
  readonly state: MembershipState;
  /** Why the node is no member, or cannot follow what happens; absent while all is well. */
  readonly problem?: string;
  readonly clusterId: string;
  /** 0 before the first view. */
  readonly epoch: number;
  /** 16 hexadecimal digits; with the epoch it says which view this is. */
  readonly digest: string;
  readonly members: readonly MemberReport[];
}

/** A newer node may say what is not in this table. */
const states: Readonly<Record<number, MembershipState>> = {
  [MemberState.WAITING]: "waiting",
  [MemberState.JOINING]: "joining",
  [MemberState.MEMBER]: "member",
  [MemberState.LEFT]: "left",
};

export function membershipReport(
  { state, problem, clusterId, view }: ListResponse,
): MembershipReport {
  return {
    state: states[state] ?? "unknown",
    ...(problem === "" ? {} : { problem }),
    clusterId,
    epoch: Number(view?.epoch ?? 0),
    digest: hex(view?.digest ?? 0n),
    members: view?.members.map(memberReport) ?? [],
  };
}

export function memberReport(member: MemberInfo): MemberReport {
  return {
    name: member.name,
    address: member.address,
    nodeId: member.nodeId,
    incarnation: hex(member.incarnation),
    role: member.core ? "core" : "leaf",
    ...valuesOf("metadata", member.metadata),
    ...valuesOf("facts", member.facts),
  };
}

function valuesOf<Name extends "metadata" | "facts">(
  name: Name,
  values: Readonly<Record<string, Uint8Array>>,
): { readonly [N in Name]?: ReportedValues } {
  const entries = Object.entries(values).sort(([a], [b]) => a < b ? -1 : 1);
  if (entries.length === 0) return {};
  const shown = Object.fromEntries(
    entries.map(([key, value]) => [key, decodeText(value) ?? { base64: base64(value) }]),
  );
  return { [name]: shown } as { readonly [N in Name]?: ReportedValues };
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function hex(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}
