/** Writing answers: names compressed, never a byte beyond the limit. */
import { assert } from "../../base/assert.ts";
import { concatBytes, encodeText } from "../../base/bytes.ts";
import {
  classInternet,
  headerBytes,
  optBytes,
  RecordType,
  type ResponseCode,
  udpBytesMost,
} from "./protocol.ts";
import type { Extension } from "./query.ts";

/** One record. Names are text, labels with dots between them, of letters, digits, `-` and `_`. */
export type DnsRecord = {
  /** Undefined: the name that was asked for. */
  readonly owner?: string;
  readonly ttlSeconds: number;
} & Content;

type Content =
  /** 4 bytes or 16; the length says which record it is. */
  | { readonly kind: "address"; readonly ip: Uint8Array }
  | { readonly kind: "alias"; readonly target: string }
  | { readonly kind: "nameServer"; readonly target: string }
  | {
    readonly kind: "service";
    readonly priority: number;
    readonly weight: number;
    readonly port: number;
    readonly target: string;
  }
  | {
    readonly kind: "authority";
    readonly primary: string;
    readonly mailbox: string;
    readonly serial: number;
    /** How long whoever was told that there is nothing may believe it. */
    readonly negativeSeconds: number;
  }
  /** The whole answer to a question for everything, RFC 8482. */
  | { readonly kind: "minimal" };

export interface ResponseHead {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  readonly authoritative: boolean;
  readonly code: ResponseCode;
  /** Name, type and class as they came; empty for a message that made no sense. */
  readonly question: Uint8Array;
  readonly extension: Extension | undefined;
}

export type Section = "answer" | "authority" | "additional";

/** How many of the secondaries' fields, RFC 1035 3.3.13: nobody transfers this zone. */
const refreshSeconds = 3600;
const retrySeconds = 600;
const expireSeconds = 86_400;
/** Where a pointer can still point, RFC 1035 4.1.4. */
const pointerMax = 0x3fff;

const typeNumbers: Readonly<Record<Exclude<Content["kind"], "address">, number>> = {
  alias: RecordType.cname,
  nameServer: RecordType.ns,
  service: RecordType.srv,
  authority: RecordType.soa,
  minimal: RecordType.hinfo,
};

export class ResponseWriter {
  readonly #head: ResponseHead;
  readonly #limit: number;
  #bytes = new Uint8Array(udpBytesMost);
  #view = new DataView(this.#bytes.buffer);
  #at = headerBytes;
  /** Where a name, or the end of one, was written. */
  readonly #names = new Map<string, number>();
  readonly #counts: Record<Section, number> = { answer: 0, authority: 0, additional: 0 };
  #truncated = false;

  /** `bytesMax` is what the client takes; header and question always fit. */
  constructor(head: ResponseHead, bytesMax: number) {
    this.#head = head;
    this.#limit = bytesMax - (head.extension === undefined ? 0 : optBytes);
    this.#rememberQuestion();
    this.#append(head.question);
    assert(this.#at <= this.#limit, "header and question fit into the smallest answer");
  }

  /** Adds a record; false, and nothing written, when there is no room for it. */
  add(section: Section, record: DnsRecord): boolean {
    const start = this.#at;
    if (record.owner === undefined) this.#uint16(0xc000 | headerBytes);
    else this.#name(record.owner, true);
    this.#uint16(record.kind === "address" ? addressType(record.ip) : typeNumbers[record.kind]);
    this.#uint16(classInternet);
    this.#uint32(record.ttlSeconds);
    const lengthAt = this.#at;
    this.#uint16(0);
    this.#content(record);
    if (this.#at > this.#limit) {
      this.#at = start;
      for (const [name, at] of this.#names) if (at >= start) this.#names.delete(name);
      return false;
    }
    this.#view.setUint16(lengthAt, this.#at - lengthAt - 2);
    this.#counts[section]++;
    return true;
  }

  /** Says that there is more than this message holds: the client asks again over TCP. */
  truncate(): void {
    this.#truncated = true;
  }

  finish(): Uint8Array {
    const { id, opcode, recursionDesired, authoritative, code, question, extension } = this.#head;
    const { answer, authority, additional } = this.#counts;
    if (extension !== undefined) this.#extension(extension, code);
    const view = this.#view;
    view.setUint16(0, id);
    view.setUint16(
      2,
      0x8000 | opcode << 11 | (authoritative ? 0x0400 : 0) | (this.#truncated ? 0x0200 : 0) |
        (recursionDesired ? 0x0100 : 0) | code & 15,
    );
    view.setUint16(4, question.length === 0 ? 0 : 1);
    view.setUint16(6, answer);
    view.setUint16(8, authority);
    view.setUint16(10, additional + (extension === undefined ? 0 : 1));
    return this.#bytes.subarray(0, this.#at);
  }

  #extension({ dnssecOk }: Extension, code: number): void {
    this.#uint8(0);
    this.#uint16(RecordType.opt);
    this.#uint16(udpBytesMost);
    this.#uint8(code >> 4);
    this.#uint8(0);
    // RFC 3225: the flag comes back as it was sent.
    this.#uint16(dnssecOk ? 0x8000 : 0);
    this.#uint16(0);
  }

  #content(record: Content): void {
    switch (record.kind) {
      case "address":
        return this.#append(record.ip);
      case "alias":
      case "nameServer":
        return this.#name(record.target, true);
      case "service":
        this.#uint16(record.priority);
        this.#uint16(record.weight);
        this.#uint16(record.port);
        // RFC 2782: the target is not compressed.
        return this.#name(record.target, false);
      case "authority":
        this.#name(record.primary, true);
        this.#name(record.mailbox, true);
        this.#uint32(record.serial);
        this.#uint32(refreshSeconds);
        this.#uint32(retrySeconds);
        this.#uint32(expireSeconds);
        return this.#uint32(record.negativeSeconds);
      case "minimal":
        return this.#append(minimalContent);
    }
  }

  #name(name: string, compressed: boolean): void {
    const labels = name.split(".");
    for (let at = 0; at < labels.length; at++) {
      const rest = labels.slice(at).join(".");
      const known = this.#names.get(rest);
      if (compressed && known !== undefined) return this.#uint16(0xc000 | known);
      if (known === undefined && this.#at <= pointerMax) this.#names.set(rest, this.#at);
      this.#label(labels[at]);
    }
    this.#uint8(0);
  }

  #label(label: string): void {
    const bytes = encodeText(label);
    this.#uint8(bytes.length);
    this.#append(bytes);
  }

  /** The question's name and the ends of it, so that later names can point there. */
  #rememberQuestion(): void {
    const { question } = this.#head;
    const starts: number[] = [];
    for (let at = 0; at < question.length - 5; at += 1 + question[at]) starts.push(at);
    let rest = "";
    for (const at of starts.reverse()) {
      const label = String.fromCharCode(...question.subarray(at + 1, at + 1 + question[at]));
      // What our own names cannot hold is not looked for either; a dot within would mislead.
      if (!/^[A-Za-z0-9_-]+$/.test(label)) return;
      rest = rest === "" ? label.toLowerCase() : `${label.toLowerCase()}.${rest}`;
      this.#names.set(rest, headerBytes + at);
    }
  }

  #append(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #uint8(value: number): void {
    this.#room(1);
    this.#bytes[this.#at++] = value;
  }

  #uint16(value: number): void {
    this.#room(2);
    this.#view.setUint16(this.#at, value);
    this.#at += 2;
  }

  #uint32(value: number): void {
    this.#room(4);
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }

  #room(count: number): void {
    if (this.#at + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

function addressType(ip: Uint8Array): number {
  return ip.length === 4 ? RecordType.a : RecordType.aaaa;
}

/** Two texts with their lengths: the processor that RFC 8482 asks for, and no operating system. */
const minimalContent = concatBytes([
  Uint8Array.of("RFC8482".length),
  encodeText("RFC8482"),
  Uint8Array.of(0),
]);
