/**
 * Who the replicas of a group are: replicated beside the machine by the group's own log, and part of
 * every snapshot. Configuration changes bring it in their context; a replica id is given out once.
 */
import { create, fromBinary, type MessageShape, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import {
  ChangeContextSchema,
  DriverCommandSchema,
  GroupStateSchema,
} from "../gen/covey/raft/v1/state_pb.ts";
import { decodeConfigurationChange } from "./core/configuration_codec.ts";
import { members as replicasOf } from "./core/configuration.ts";
import type { Configuration } from "./core/types.ts";

/** A replica and the node that it runs on. */
export interface Member {
  readonly replica: number;
  /** 32 hexadecimal digits. */
  readonly nodeId: string;
  readonly name: string;
  /** Where its mesh listener is reached. */
  readonly address: string;
}

/** Where a group is placed. */
export interface GroupRecord {
  readonly id: number;
  readonly name: string;
  /** Who founded it; its own log says who takes part since. */
  readonly founders: readonly Member[];
}

/** First byte of an entry that is the driver's own, or that begins with this very byte. */
const marker = 0xff;
/** Behind the marker: the machine's data as it is, which begins with the marker. */
const escaped = 0;
/** Behind the marker: a driver command. */
const driverCommand = 1;

/** What an entry's data is. */
export type EntryData =
  | { readonly kind: "machine"; readonly data: Uint8Array }
  | { readonly kind: "driver"; readonly command: DriverCommand };

export type DriverCommand =
  | { readonly kind: "updateMember"; readonly member: Member }
  | { readonly kind: "createGroup"; readonly group: GroupRecord }
  | { readonly kind: "removeGroup"; readonly id: number }
  /** A newer build wrote it. */
  | { readonly kind: "unknown" };

/** The machine's data as an entry: nearly always the same bytes. */
export function encodeMachineData(data: Uint8Array): Uint8Array {
  if (data.length === 0 || data[0] !== marker) return data;
  const out = new Uint8Array(data.length + 2);
  out[0] = marker;
  out[1] = escaped;
  out.set(data, 2);
  return out;
}

/** The machine's part of an entry; undefined for one of the driver's own. */
export function machineDataOf(encoded: Uint8Array): Uint8Array | undefined {
  if (encoded.length === 0 || encoded[0] !== marker) return encoded;
  return encoded[1] === escaped ? encoded.subarray(2) : undefined;
}

export function encodeDriverCommand(command: DriverCommand): Uint8Array {
  const bytes = toBinary(
    DriverCommandSchema,
    create(DriverCommandSchema, {
      command: command.kind === "updateMember"
        ? { case: "updateMember", value: toWire(command.member) }
        : command.kind === "createGroup"
        ? {
          case: "createGroup",
          value: {
            id: command.group.id,
            name: command.group.name,
            founders: command.group.founders.map(toWire),
          },
        }
        : command.kind === "removeGroup"
        ? { case: "removeGroup", value: command.id }
        : { case: undefined },
    }),
  );
  const out = new Uint8Array(bytes.length + 2);
  out[0] = marker;
  out[1] = driverCommand;
  out.set(bytes, 2);
  return out;
}

export function decodeEntryData(data: Uint8Array): EntryData {
  if (data.length === 0 || data[0] !== marker) return { kind: "machine", data };
  if (data[1] === escaped) return { kind: "machine", data: data.subarray(2) };
  if (data[1] !== driverCommand) return { kind: "driver", command: { kind: "unknown" } };
  const { command } = readCommand(data.subarray(2));
  switch (command.case) {
    case "updateMember":
      return { kind: "driver", command: { kind: command.case, member: fromWire(command.value) } };
    case "createGroup": {
      const { id, name, founders } = command.value;
      const group = { id, name, founders: founders.map(fromWire) };
      return { kind: "driver", command: { kind: command.case, group } };
    }
    case "removeGroup":
      return { kind: "driver", command: { kind: command.case, id: command.value } };
    default:
      return { kind: "driver", command: { kind: "unknown" } };
  }
}

/** Bytes that cannot be read are a newer build's, too. */
function readCommand(bytes: Uint8Array): Pick<MessageShape<typeof DriverCommandSchema>, "command"> {
  try {
    return fromBinary(DriverCommandSchema, bytes);
  } catch {
    return { command: { case: undefined } };
  }
}

/** The context of a configuration change that adds these. */
export function encodeContext(members: readonly Member[]): Uint8Array {
  return toBinary(
    ChangeContextSchema,
    create(ChangeContextSchema, { members: members.map(toWire) }),
  );
}

/** Those that left are remembered for the last word to them. */
const departedMax = 16;

export class Members {
  #byReplica = new Map<number, Member>();
  readonly #departed = new Map<number, Member>();
  #groups = new Map<number, GroupRecord>();
  /** Lower ids were given out. */
  nextReplica = 1;
  nextGroup = 1;

  constructor(founders: readonly Member[] = []) {
    for (const member of founders) this.#add(member);
  }

  /** Ascending by replica. */
  get all(): Member[] {
    return [...this.#byReplica.values()].sort((a, b) => a.replica - b.replica);
  }

  get(replica: number): Member | undefined {
    return this.#byReplica.get(replica);
  }

  /** One of the last that were removed while this process ran. */
  departed(replica: number): Member | undefined {
    return this.#departed.get(replica);
  }

  ofNode(nodeId: string): Member | undefined {
    for (const member of this.#byReplica.values()) if (member.nodeId === nodeId) return member;
    return undefined;
  }

  /** Ascending by id. */
  get groups(): GroupRecord[] {
    return [...this.#groups.values()].sort((a, b) => a.id - b.id);
  }

  group(id: number): GroupRecord | undefined {
    return this.#groups.get(id);
  }

  /** A configuration entry took effect. */
  changed(data: Uint8Array, configuration: Configuration): void {
    const change = decodeConfigurationChange(data);
    if (change !== undefined && change.context.length > 0) {
      const { members } = fromBinary(ChangeContextSchema, change.context);
      for (const member of members) this.#add(fromWire(member));
    }
    const present = new Set(replicasOf(configuration));
    for (const [replica, member] of [...this.#byReplica]) {
      if (present.has(replica)) continue;
      this.#byReplica.delete(replica);
      this.#departed.set(replica, member);
      if (this.#departed.size <= departedMax) continue;
      for (const first of this.#departed.keys()) {
        this.#departed.delete(first);
        break;
      }
    }
  }

  apply(command: DriverCommand): void {
    switch (command.kind) {
      case "updateMember": {
        const known = this.#byReplica.get(command.member.replica);
        if (known?.nodeId === command.member.nodeId) this.#add(command.member);
        return;
      }
      case "createGroup": {
        // Of two that were made in the same moment, the log gives the second one the next id.
        const { group } = command;
        if (this.groups.some(({ name }) => name === group.name)) return;
        const id = Math.max(group.id, this.nextGroup);
        this.#groups.set(id, { ...group, id });
        this.nextGroup = id + 1;
        return;
      }
      case "removeGroup":
        this.#groups.delete(command.id);
        return;
      case "unknown":
    }
  }

  encode(): Uint8Array {
    return toBinary(
      GroupStateSchema,
      create(GroupStateSchema, {
        members: this.all.map(toWire),
        nextReplica: BigInt(this.nextReplica),
        groups: this.groups.map(({ id, name, founders }) => ({
          id,
          name,
          founders: founders.map(toWire),
        })),
        nextGroup: this.nextGroup,
      }),
    );
  }

  /** Replaces everything by what {@link encode} wrote; false when it is not that. */
  decode(bytes: Uint8Array): boolean {
    let state;
    try {
      state = fromBinary(GroupStateSchema, bytes);
    } catch {
      return false;
    }
    this.#byReplica = new Map();
    this.#groups = new Map();
    for (const member of state.members) this.#add(fromWire(member));
    for (const { id, name, founders } of state.groups) {
      this.#groups.set(id, { id, name, founders: founders.map(fromWire) });
    }
    this.nextReplica = Number(state.nextReplica);
    this.nextGroup = state.nextGroup;
    return true;
  }

  #add(member: Member): void {
    this.#byReplica.set(member.replica, member);
    this.nextReplica = Math.max(this.nextReplica, member.replica + 1);
  }
}

interface WireMember {
  readonly replica: bigint;
  readonly nodeId: string;
  readonly name: string;
  readonly address: string;
}

export function toWire({ replica, nodeId, name, address }: Member): WireMember {
  return { replica: BigInt(replica), nodeId, name, address };
}

export function fromWire({ replica, nodeId, name, address }: WireMember): Member {
  return { replica: Number(replica), nodeId, name, address };
}
