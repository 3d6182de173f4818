/**
 * The core's messages as protobuf, both ways. What a peer sent is judged by the core; here it is only
 * brought into the core's types, and what has no place in them is refused as a whole.
 */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { fromHex, toHex } from "../base/bytes.ts";
import type {
  ConfigurationId as WireId,
  DecidedCut,
  Frame,
  FrameSchema,
  Gossip as WireGossip,
  GossipSchema,
  Hello,
  Member as WireMember,
  MemberSchema,
  Tally,
} from "../gen/covey/membership/v1/membership_pb.ts";
import type { ConfigurationId, Cut } from "./core/configuration.ts";
import type { Note, Saying } from "./core/consensus.ts";
import { type Member, MemberRole } from "./core/member.ts";
import type { Facts, FactsMessage } from "./core/facts.ts";
import type { AlertFact, Gossip, Message, TallyFact } from "./core/message.ts";

export type FrameInit = MessageInitShape<typeof FrameSchema>;
export type HelloInit = NonNullable<FrameInit["hello"]>;
export type MemberInit = MessageInitShape<typeof MemberSchema>;
export type { Frame, Hello };

/** Texts of a record, in characters. */
const textMax = 512;
/** What a member may carry with it, keys and values. */
export const metadataBytesMax = 4_096;
const metadataKeysMax = 32;
/** Of one message: more members than a view can have. */
const placesMax = 1 << 16;

export function encodeMember(member: Member): MemberInit {
  return {
    address: member.address,
    nodeId: fromHex(member.nodeId),
    incarnation: member.incarnation,
    name: member.name,
    role: member.role,
    metadata: Object.fromEntries(member.metadata),
  };
}

/** Undefined when it is no record that a member could have. */
export function decodeMember(wire: WireMember | undefined): Member | undefined {
  if (wire === undefined || wire.nodeId.length !== 16 || wire.incarnation === 0n) return undefined;
  const { address, name, role } = wire;
  if (address === "" || address.length > textMax || name === "" || name.length > textMax) {
    return undefined;
  }
  if (role !== MemberRole.core && role !== MemberRole.leaf) return undefined;
  const metadata = Object.entries(wire.metadata);
  if (!fitsMetadata(metadata)) return undefined;
  return {
    address,
    nodeId: toHex(wire.nodeId),
    incarnation: wire.incarnation,
    name,
    role,
    metadata: new Map(metadata),
  };
}

export function decodeMembers(wires: readonly WireMember[]): Member[] | undefined {
  const members: Member[] = [];
  for (const wire of wires) {
    const member = decodeMember(wire);
    if (member === undefined) return undefined;
    members.push(member);
  }
  return members;
}

export function encodeId({ epoch, digest }: ConfigurationId): { epoch: bigint; digest: bigint } {
  return { epoch: BigInt(epoch), digest };
}

export function decodeId(wire: WireId | undefined): ConfigurationId | undefined {
  if (wire === undefined || wire.epoch > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
  return { epoch: Number(wire.epoch), digest: wire.digest };
}

/** Everything but a view, which goes in parts. */
export function encodeMessage(message: Message): FrameInit {
  switch (message.kind) {
    case "gossip":
      return { gossip: encodeGossip(message) };
    case "decided":
      return {
        decided: { configuration: encodeId(message.configuration), value: message.value },
      };
    case "cuts":
      return {
        cuts: {
          from: encodeId(message.from),
          to: encodeId(message.to),
          cuts: message.cuts.map(({ joined, left }) => ({
            joined: joined.map(encodeMember),
            left: [...left],
          })),
        },
      };
    case "view":
      return {
        view: {
          configuration: encodeId(message.configuration),
          members: message.members.map(encodeMember),
        },
      };
    case "pull":
      return { pull: encodeId(message.configuration) };
    case "leave":
      return {
        leave: { configuration: encodeId(message.configuration), place: message.place },
      };
  }
}

/**
 * The message of a frame. `joinerOf`: whose record has come before, with whatever message. Undefined
 * when there is none, `"invalid"` when it cannot be one.
 */
export function decodeMessage(
  frame: Frame,
  joinerOf: (incarnation: bigint) => Member | undefined,
): Message | "invalid" | undefined {
  if (frame.gossip !== undefined) return decodeGossip(frame.gossip, joinerOf) ?? "invalid";
  if (frame.decided !== undefined) {
    const configuration = decodeId(frame.decided.configuration);
    if (configuration === undefined) return "invalid";
    return { kind: "decided", configuration, value: frame.decided.value };
  }
  if (frame.cuts !== undefined) {
    const from = decodeId(frame.cuts.from);
    const to = decodeId(frame.cuts.to);
    const cuts = decodeCuts(frame.cuts.cuts);
    if (from === undefined || to === undefined || cuts === undefined) return "invalid";
    return { kind: "cuts", from, to, cuts };
  }
  if (frame.view !== undefined) {
    const configuration = decodeId(frame.view.configuration);
    const members = decodeMembers(frame.view.members);
    if (configuration === undefined || members === undefined) return "invalid";
    return { kind: "view", configuration, members };
  }
  if (frame.pull !== undefined) {
    const configuration = decodeId(frame.pull);
    return configuration === undefined ? "invalid" : { kind: "pull", configuration };
  }
  if (frame.leave !== undefined) {
    const configuration = decodeId(frame.leave.configuration);
    if (configuration === undefined) return "invalid";
    return { kind: "leave", configuration, place: frame.leave.place };
  }
  return undefined;
}

function encodeGossip(gossip: Gossip): MessageInitShape<typeof GossipSchema> {
  const cuts: { value: bigint; cut: { joined: bigint[]; left: number[] } }[] = [];
  const prepares: bigint[] = [];
  const accepts: { rank: bigint; value: bigint }[] = [];
  for (const note of gossip.notes) {
    if (note.kind === "cut") {
      const { joined, left } = note.cut;
      const cut = { joined: joined.map(({ incarnation }) => incarnation), left: [...left] };
      cuts.push({ value: note.value, cut });
    } else if (note.kind === "prepare") prepares.push(BigInt(note.rank));
    else accepts.push({ rank: BigInt(note.rank), value: note.value });
  }
  return {
    configuration: encodeId(gossip.configuration),
    joiners: gossip.joiners.map(encodeMember),
    alerts: gossip.alerts.map(({ place, joiner, rings }) => ({
      place: place === undefined ? 0 : place + 1,
      joiner: joiner ?? 0n,
      rings: [...rings],
    })),
    cuts,
    prepares,
    accepts,
    tallies: gossip.tallies.map(({ saying, places }) => ({
      rank: saying.kind === "vote" ? 0n : BigInt(saying.rank),
      isPromise: saying.kind === "promise",
      voted: saying.kind === "promise" ? BigInt(saying.voted) : 0n,
      value: saying.value,
      places: bitsOf(places),
    })),
  };
}

function decodeGossip(
  wire: WireGossip,
  joinerOf: (incarnation: bigint) => Member | undefined,
): Gossip | undefined {
  const configuration = decodeId(wire.configuration);
  const joiners = decodeMembers(wire.joiners);
  if (configuration === undefined || joiners === undefined) return undefined;
  const here = new Map(joiners.map((joiner) => [joiner.incarnation, joiner]));
  const alerts: AlertFact[] = wire.alerts.map(({ place, joiner, rings }) => ({
    place: place === 0 ? undefined : place - 1,
    joiner: place === 0 ? joiner : undefined,
    rings,
  }));
  const notes: Note[] = [];
  for (const { value, cut } of wire.cuts) {
    const joined = cut?.joined.map((incarnation) => here.get(incarnation) ?? joinerOf(incarnation));
    // Without a record it is of a configuration that this node does not know yet.
    if (joined === undefined || !joined.every((joiner) => joiner !== undefined)) continue;
    notes.push({ kind: "cut", value, cut: { joined, left: cut?.left ?? [] } });
  }
  for (const rank of wire.prepares) notes.push({ kind: "prepare", rank: numberOf(rank) });
  for (const { rank, value } of wire.accepts) {
    notes.push({ kind: "accept", rank: numberOf(rank), value });
  }
  const tallies: TallyFact[] = [];
  for (const tally of wire.tallies) {
    if (tally.places.length * 8 > placesMax) return undefined;
    tallies.push({ saying: sayingOf(tally), places: placesOf(tally.places) });
  }
  return { kind: "gossip", configuration, joiners, alerts, notes, tallies };
}

function sayingOf({ rank, isPromise, voted, value }: Tally): Saying {
  if (rank === 0n) return { kind: "vote", value };
  return isPromise
    ? { kind: "promise", rank: numberOf(rank), voted: numberOf(voted), value }
    : { kind: "accepted", rank: numberOf(rank), value };
}

export function decodeCut({ joined, left }: DecidedCut): Cut | undefined {
  const members = decodeMembers(joined);
  return members === undefined ? undefined : { joined: members, left };
}

function decodeCuts(wires: readonly DecidedCut[]): Cut[] | undefined {
  const cuts: Cut[] = [];
  for (const wire of wires) {
    const cut = decodeCut(wire);
    if (cut === undefined) return undefined;
    cuts.push(cut);
  }
  return cuts;
}

/** A rank beyond what is safe is none: 0 is passed over. */
function numberOf(rank: bigint): number {
  return rank > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : Number(rank);
}

function bitsOf(places: readonly number[]): Uint8Array<ArrayBuffer> {
  const last = places.length === 0 ? -1 : places[places.length - 1];
  const bits = new Uint8Array((last >> 3) + 1);
  for (const place of places) bits[place >> 3] |= 1 << (place & 7);
  return bits;
}

function placesOf(bits: Uint8Array): number[] {
  const places: number[] = [];
  for (let at = 0; at < bits.length; at++) {
    for (let bit = 0; bit < 8; bit++) if ((bits[at] & (1 << bit)) !== 0) places.push(at * 8 + bit);
  }
  return places;
}

export function encodeFacts(message: FactsMessage): FrameInit {
  if (message.kind === "facts") {
    const members = message.facts.map(({ incarnation, version, entries }) => ({
      incarnation,
      version: BigInt(version),
      entries: Object.fromEntries(entries),
    }));
    return { facts: { members } };
  }
  const { versions, isAnswer } = message;
  return {
    versions: {
      incarnations: [...versions.keys()],
      versions: [...versions.values()].map(BigInt),
      isAnswer,
    },
  };
}

/** Undefined when the frame has none; `"invalid"` when it says more than a member may. */
export function decodeFacts({ facts, versions }: Frame): FactsMessage | "invalid" | undefined {
  if (versions !== undefined) {
    const { incarnations } = versions;
    if (incarnations.length !== versions.versions.length || incarnations.length > placesMax) {
      return "invalid";
    }
    const pairs = incarnations.map((incarnation, at) =>
      [incarnation, numberOf(versions.versions[at])] as const
    );
    return { kind: "versions", versions: new Map(pairs), isAnswer: versions.isAnswer };
  }
  if (facts === undefined) return undefined;
  const found: Facts[] = [];
  for (const { incarnation, version, entries } of facts.members) {
    const pairs = Object.entries(entries);
    if (!fitsMetadata(pairs)) return "invalid";
    found.push({ incarnation, version: numberOf(version), entries: new Map(pairs) });
  }
  return { kind: "facts", facts: found };
}

/** Whether it is no more than a member may say of itself. */
export function fitsMetadata(entries: readonly (readonly [string, Uint8Array])[]): boolean {
  const bytes = entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  return entries.length <= metadataKeysMax && bytes <= metadataBytesMax;
}
