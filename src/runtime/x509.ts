/**
 * Reads the four facts that the port promises out of a certificate's DER form (RFC 5280, X.690).
 *
 * The engine's own text form joins all alternative names with commas, and a name that contains one
 * reads like two. The node id sits in such a name, so the bytes decide. Only certificates whose
 * chain the TLS library has verified come here; whatever does not parse is refused.
 */
import { createHash } from "node:crypto";
import type { PeerCertificate, Validity } from "../base/certificate.ts";

interface Element {
  readonly tag: number;
  /** Where the content begins and ends. */
  readonly start: number;
  readonly end: number;
}

class Reader {
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** The element that begins at `at`. */
  element(at: number, end: number): Element {
    const { bytes } = this;
    if (at + 2 > end) throw new Error("certificate: truncated");
    const tag = bytes[at];
    let length = bytes[at + 1];
    let start = at + 2;
    if (length & 0x80) {
      const digits = length & 0x7f;
      if (digits === 0 || digits > 4 || start + digits > end) {
        throw new Error("certificate: bad length");
      }
      length = 0;
      for (let index = 0; index < digits; index++) length = length * 256 + bytes[start + index];
      start += digits;
    }
    if (start + length > end) throw new Error("certificate: truncated");
    return { tag, start, end: start + length };
  }

  children(parent: Element): Element[] {
    const found: Element[] = [];
    for (let at = parent.start; at < parent.end;) {
      const child = this.element(at, parent.end);
      found.push(child);
      at = child.end;
    }
    return found;
  }

  slice(element: Element): Uint8Array {
    return this.bytes.subarray(element.start, element.end);
  }

  text(element: Element): string {
    // BMPString is UTF-16 in network order; all other string kinds read as UTF-8.
    if (element.tag === 0x1e) return new TextDecoder("utf-16be").decode(this.slice(element));
    return new TextDecoder().decode(this.slice(element));
  }

  is(element: Element | undefined, object: readonly number[]): boolean {
    if (element === undefined || element.tag !== tagObject) return false;
    const bytes = this.slice(element);
    return bytes.length === object.length && object.every((byte, at) => byte === bytes[at]);
  }
}

const tagBoolean = 0x01;
const tagOctets = 0x04;
const tagObject = 0x06;
const tagUtcTime = 0x17;
const tagVersion = 0xa0;
const tagExtensions = 0xa3;
/** 2.5.4.3 and 2.5.29.17 in their encoded form. */
const objectCommonName = [0x55, 0x04, 0x03];
const objectAlternativeName = [0x55, 0x1d, 0x11];

/** The fields of a certificate from its serial number on, and all of them. */
function fieldsOf(reader: Reader): { readonly all: Element[]; readonly named: Element[] } {
  const outer = reader.children(reader.element(0, reader.bytes.length));
  if (outer.length !== 3) throw new Error("certificate: not three parts");
  const all = reader.children(outer[0]);
  // version [0], serial, signature, issuer, validity, subject, key, …
  const named = all.slice(all[0]?.tag === tagVersion ? 1 : 0);
  if (named.length < 5) throw new Error("certificate: truncated");
  return { all, named };
}

function validityOf(reader: Reader, element: Element): Validity {
  const [notBefore, notAfter] = reader.children(element);
  if (notAfter === undefined) throw new Error("certificate: no validity");
  const timeOf = (time: Element): number => readTime(reader.text(time), time.tag === tagUtcTime);
  return { notBeforeMs: timeOf(notBefore), notAfterMs: timeOf(notAfter) };
}

/** Reads a certificate; throws when it is not one. */
export function readCertificate(der: Uint8Array): PeerCertificate {
  const reader = new Reader(der);
  const { all, named } = fieldsOf(reader);
  return {
    commonName: commonName(reader, named[4]),
    names: alternativeNames(reader, all.find((field) => field.tag === tagExtensions)),
    notAfterMs: validityOf(reader, named[3]).notAfterMs,
    fingerprint: createHash("sha256").update(der).digest("hex"),
  };
}

/** When a certificate is good; throws when it is none. */
export function readValidity(der: Uint8Array): Validity {
  const reader = new Reader(der);
  return validityOf(reader, fieldsOf(reader).named[3]);
}

function commonName(reader: Reader, subject: Element): string {
  for (const set of reader.children(subject)) {
    for (const attribute of reader.children(set)) {
      const [type, value] = reader.children(attribute);
      if (value !== undefined && reader.is(type, objectCommonName)) return reader.text(value);
    }
  }
  return "";
}

function alternativeNames(reader: Reader, extensions: Element | undefined): string[] {
  if (extensions === undefined) return [];
  for (const list of reader.children(extensions)) {
    for (const extension of reader.children(list)) {
      const parts = reader.children(extension);
      if (!reader.is(parts[0], objectAlternativeName)) continue;
      const value = parts[1]?.tag === tagBoolean ? parts[2] : parts[1];
      if (value === undefined || value.tag !== tagOctets) throw new Error("certificate: bad names");
      const names = reader.element(value.start, value.end);
      return reader.children(names).flatMap((name) => alternativeName(reader, name) ?? []);
    }
  }
  return [];
}

/** GeneralName of RFC 5280 4.2.1.6; the kinds that nobody here asks for are left out. */
function alternativeName(reader: Reader, name: Element): string | undefined {
  switch (name.tag) {
    case 0x81:
      return `email:${reader.text(name)}`;
    case 0x82:
      return `DNS:${reader.text(name)}`;
    case 0x86:
      return `URI:${reader.text(name)}`;
    case 0x87:
      return `IP:${formatIp(reader.slice(name))}`;
  }
  return undefined;
}

function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new Error("certificate: bad IP address");
  const groups: string[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(((bytes[at] << 8) | bytes[at + 1]).toString(16));
  return canonicalIp(groups.join(":")) ?? groups.join(":");
}

/** The one text form of an IP address; undefined when the text is none. */
export function canonicalIp(text: string): string | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) return URL.parse(`http://${text}/`)?.hostname;
  if (!text.includes(":") || !/^[0-9a-fA-F:.]+$/.test(text)) return undefined;
  return URL.parse(`http://[${text}]/`)?.hostname.slice(1, -1);
}

/** UTCTime has two digits of the year, of which those from 50 on lie in the last century. */
function readTime(text: string, utc: boolean): number {
  const match =
    (utc ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/)
      .exec(text);
  if (match === null) throw new Error("certificate: bad time");
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number);
  return Date.UTC(
    utc ? year + (year < 50 ? 2000 : 1900) : year,
    month - 1,
    day,
    hour,
    minute,
    second,
  );
}

/** Whether one of a certificate's names stands for `name` (RFC 6125, RFC 9525). */
export function certifiesName(names: readonly string[], name: string): boolean {
  const ip = canonicalIp(name);
  if (ip !== undefined) return names.includes(`IP:${ip}`);
  if (names.includes(`URI:${name}`)) return true;
  const wanted = name.toLowerCase().replace(/\.$/, "");
  const dot = wanted.indexOf(".");
  return names.some((entry) => {
    if (!entry.startsWith("DNS:")) return false;
    const offered = entry.slice(4).toLowerCase().replace(/\.$/, "");
    if (offered === wanted) return true;
    // A wildcard stands for exactly one label, the leftmost, and never for a top-level domain.
    return offered.startsWith("*.") && dot > 0 && offered.slice(1) === wanted.slice(dot) &&
      offered.indexOf(".", 2) > 0;
  });
}
