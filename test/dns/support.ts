/** Questions and answers as bytes, by code of the tests' own, so that ours is not its own judge. */
import assert from "node:assert/strict";
import type { DnsMember, DnsView } from "../../src/dns/core/directory.ts";

export const types = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  HINFO: 13,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  AXFR: 252,
  ANY: 255,
} as const;

export interface Ask {
  readonly id?: number;
  readonly class?: number;
  readonly recursionDesired?: boolean;
  readonly edns?: { readonly bytes?: number; readonly version?: number; readonly dnssec?: boolean };
}

/** One question. */
export function question(name: string, type: keyof typeof types | number, ask: Ask = {}) {
  const labels = name === "" ? [] : name.split(".");
  const bytes: number[] = [];
  const uint16 = (...values: number[]): void => {
    for (const value of values) bytes.push(value >> 8, value & 255);
  };
  uint16(ask.id ?? 0x1234, ask.recursionDesired === true ? 0x0100 : 0, 1, 0, 0);
  uint16(ask.edns === undefined ? 0 : 1);
  for (const label of labels) bytes.push(label.length, ...new TextEncoder().encode(label));
  bytes.push(0);
  uint16(typeof type === "number" ? type : types[type], ask.class ?? 1);
  if (ask.edns !== undefined) {
    bytes.push(0);
    uint16(types.OPT, ask.edns.bytes ?? 1232);
    bytes.push(0, ask.edns.version ?? 0);
    uint16(ask.edns.dnssec === true ? 0x8000 : 0, 0);
  }
  return Uint8Array.from(bytes);
}

export interface Answer {
  readonly id: number;
  readonly code: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  /** "NAME TYPE", the name as it was written. */
  readonly questions: readonly string[];
  /** "NAME TTL TYPE CONTENT". */
  readonly answers: readonly string[];
  readonly authority: readonly string[];
  readonly additional: readonly string[];
  readonly edns: { readonly bytes: number; readonly dnssec: boolean } | undefined;
}

/** Reads an answer to its last byte; fails the test for what is no DNS message. */
export function decode(bytes: Uint8Array): Answer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint16(2);
  assert.equal(flags >> 15, 1, "an answer says that it is one");
  let at = 12;
  const name = (): string => {
    const read = readName(bytes, at);
    at = read.end;
    return read.name;
  };
  const questions: string[] = [];
  for (let count = view.getUint16(4); count > 0; count--) {
    const asked = name();
    questions.push(`${asked} ${typeName(view.getUint16(at))}`);
    at += 4;
  }
  let edns: Answer["edns"];
  let upper = 0;
  const section = (count: number): string[] => {
    const records: string[] = [];
    for (; count > 0; count--) {
      const owner = name();
      const type = view.getUint16(at);
      const length = view.getUint16(at + 8);
      const content = bytes.subarray(at + 10, at + 10 + length);
      assert.equal(content.length, length, "a record is as long as it says");
      if (type === types.OPT) {
        upper = view.getUint8(at + 4) << 4;
        edns = {
          bytes: view.getUint16(at + 2),
          dnssec: (view.getUint16(at + 6) & 0x8000) !== 0,
        };
      } else {
        assert.equal(view.getUint16(at + 2), 1, "class IN");
        const text = contentText(bytes, at + 10, length, type);
        records.push(`${owner} ${view.getUint32(at + 4)} ${typeName(type)} ${text}`);
      }
      at += 10 + length;
    }
    return records;
  };
  const answers = section(view.getUint16(6));
  const authority = section(view.getUint16(8));
  const additional = section(view.getUint16(10));
  assert.equal(at, bytes.length, "nothing is behind an answer");
  return {
    id: view.getUint16(0),
    code: upper | flags & 15,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    recursionDesired: (flags & 0x0100) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    questions,
    answers,
    authority,
    additional,
    edns,
  };
}

function contentText(bytes: Uint8Array, at: number, length: number, type: number): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = at + length;
  const exactly = (read: { name: string; end: number }): string => {
    assert.equal(read.end, end, "a name ends with its record");
    return read.name;
  };
  switch (type) {
    case types.A:
      assert.equal(length, 4);
      return bytes.subarray(at, end).join(".");
    case types.AAAA:
      assert.equal(length, 16);
      return Array.from({ length: 8 }, (_, group) => view.getUint16(at + group * 2).toString(16))
        .join(":");
    case types.NS:
    case types.CNAME:
      return exactly(readName(bytes, at));
    case types.SRV: {
      const numbers = [0, 2, 4].map((offset) => view.getUint16(at + offset)).join(" ");
      const target = readName(bytes, at + 6);
      assert.ok(!target.compressed, "a target is not compressed");
      return `${numbers} ${exactly(target)}`;
    }
    case types.SOA: {
      const primary = readName(bytes, at);
      const mailbox = readName(bytes, primary.end);
      assert.equal(mailbox.end + 20, end);
      const serial = view.getUint32(mailbox.end);
      return `${primary.name} ${mailbox.name} ${serial} ${view.getUint32(end - 4)}`;
    }
    default:
      return JSON.stringify(String.fromCharCode(...bytes.subarray(at, end)));
  }
}

function readName(bytes: Uint8Array, start: number) {
  const labels: string[] = [];
  let at = start;
  let end: number | undefined;
  for (let steps = 0;; steps++) {
    assert.ok(steps < 200 && at < bytes.length, "a name ends");
    const length = bytes[at];
    if (length >= 0xc0) {
      end ??= at + 2;
      const target = (length & 0x3f) << 8 | bytes[at + 1];
      assert.ok(target < at && target >= 12, "a pointer points back");
      at = target;
    } else if (length === 0) {
      const name = labels.join(".");
      return { name, end: end ?? at + 1, compressed: end !== undefined };
    } else {
      assert.ok(length <= 63);
      // A dot within a label is not one between two.
      const label = String.fromCharCode(...bytes.subarray(at + 1, at + 1 + length));
      labels.push(label.replaceAll(".", "\\."));
      at += 1 + length;
    }
  }
}

function typeName(type: number): string {
  return Object.entries(types).find(([, value]) => value === type)?.[0] ?? `TYPE${type}`;
}

/** A member; what is not given is plain. */
export function member(name: string, address: string, more: Partial<DnsMember> = {}): DnsMember {
  return { name, address, services: [], tags: [], ...more };
}

/** A view of four members that are reached in different ways. */
export const smallView: DnsView = {
  epoch: 7,
  self: "gw1",
  members: [
    member("gw1", "tcp://10.0.0.1:7946", { services: ["kv", "pumps"], tags: ["hall-1"] }),
    member("GW2", "tcp://10.0.0.2:7000", { services: ["kv"], tags: ["hall-2", "Spare"] }),
    member("gw3", "tcp://[2001:db8::3]:7946", { services: ["kv"], tags: ["hall-2"] }),
    member("gw4", "tcp://gw4.plant.example:7946", { services: ["kv", "valves"] }),
    member("south.gw5", "tcp://10.0.0.5:7946"),
    member("local", "unix:/run/covey.sock", { services: ["kv"] }),
  ],
};

/** Many members with one service. */
export function wideView(count: number): DnsView {
  const members = Array.from(
    { length: count },
    (_, at) => member(`gw${at}`, `tcp://10.1.${at >> 8}.${at & 255}:7946`, { services: ["kv"] }),
  );
  return { epoch: 1, self: "gw0", members };
}
