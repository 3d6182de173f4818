/**
 * What nodes call out on their network: "there is a node of this cluster at this address". A
 * datagram proves nothing and holds nothing that is secret.
 *
 * | offset | bytes | field                                                                  |
 * | ------ | ----- | ---------------------------------------------------------------------- |
 * | 0      | 4     | `cvyd`                                                                 |
 * | 4      | 1     | version, 1; what a later version writes is not read                    |
 * | 5      | 1     | 1 announcement, 2 question: who hears it is to announce itself soon    |
 * | 6      | 8     | drawn at the sender's start, so that it knows its own                  |
 * | 14     | 1 + n | length and text: the cluster's id; empty as long as there is none      |
 * |        | 1 + n | length and text: the address of the mesh listener                      |
 * |        | 4     | CRC-32C of all that is before it, big-endian; and nothing behind it    |
 */
import { formatAddress, parseAddress } from "../../base/address.ts";
import { assert } from "../../base/assert.ts";
import { concatBytes, encodeText } from "../../base/bytes.ts";
import { crc32c } from "../../base/crc32c.ts";
import { CoveyError } from "../../base/error.ts";
import { parseIp } from "../../base/ip_address.ts";
import { isHostName } from "../../base/name_lookup.ts";

export const announcementVersion = 1;
export const senderBytes = 8;
export const clusterCharactersMax = 64;
const addressCharactersMax = 255;
const magic = encodeText("cvyd");
const kindNumbers = { announcement: 1, question: 2 } as const;
const fixedBytes = 14;
const checksumBytes = 4;

export interface Announcement {
  readonly kind: "announcement" | "question";
  /** {@link senderBytes} bytes. */
  readonly sender: Uint8Array;
  /** Empty: the sender is in no cluster yet. */
  readonly cluster: string;
  /** `tcp://host:port`. A host of `0.0.0.0` or `::` stands for whoever sent the datagram. */
  readonly address: string;
}

/** What a datagram is, or why it is nothing. */
export type Heard = Announcement | { readonly kind: "garbage" } | { readonly kind: "version" };

/** The datagram's bytes. */
export function encodeAnnouncement(announcement: Announcement): Uint8Array {
  const { kind, sender, cluster, address } = announcement;
  assert(sender.length === senderBytes, "a sender is eight bytes");
  assert(isCluster(cluster), "a cluster is at most 64 letters, digits, -, _ and .");
  assert(isAnnounced(address), "a TCP address with a port can be announced");
  const body = concatBytes([
    magic,
    Uint8Array.of(announcementVersion, kindNumbers[kind]),
    sender,
    Uint8Array.of(cluster.length),
    encodeText(cluster),
    Uint8Array.of(address.length),
    encodeText(address),
  ]);
  const checksum = new Uint8Array(checksumBytes);
  new DataView(checksum.buffer).setUint32(0, crc32c(body));
  return concatBytes([body, checksum]);
}

const garbage: Heard = { kind: "garbage" };

/** Reads a datagram strictly; never throws. */
export function parseAnnouncement(bytes: Uint8Array): Heard {
  if (bytes.length < magic.length + 1 || !magic.every((byte, at) => bytes[at] === byte)) {
    return garbage;
  }
  if (bytes[4] !== announcementVersion) return { kind: "version" };
  if (bytes.length < fixedBytes + 2 + checksumBytes) return garbage;
  const end = bytes.length - checksumBytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(end) !== crc32c(bytes.subarray(0, end))) return garbage;
  const kind = bytes[5] === kindNumbers.announcement
    ? "announcement"
    : bytes[5] === kindNumbers.question
    ? "question"
    : undefined;
  const clusterEnd = fixedBytes + 1 + bytes[fixedBytes];
  if (kind === undefined || clusterEnd >= end) return garbage;
  if (clusterEnd + 1 + bytes[clusterEnd] !== end) return garbage;
  const cluster = asciiText(bytes.subarray(fixedBytes + 1, clusterEnd));
  const address = asciiText(bytes.subarray(clusterEnd + 1, end));
  if (!isCluster(cluster) || !isAnnounced(address)) return garbage;
  return { kind, sender: bytes.slice(6, fixedBytes), cluster, address };
}

/** One character a byte; what is not ASCII fails the checks behind. */
function asciiText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

export function isCluster(text: string): boolean {
  return text.length <= clusterCharactersMax && /^[A-Za-z0-9._-]*$/.test(text);
}

/** Whether an address is one to dial, written in the one way in which covey writes it. */
export function isAnnounced(text: string): boolean {
  if (text.length > addressCharactersMax || !text.startsWith("tcp://")) return false;
  let address;
  try {
    address = parseAddress(text);
  } catch (error) {
    if (error instanceof CoveyError) return false;
    throw error;
  }
  if (address.kind !== "tcp" || address.port === 0 || formatAddress(address) !== text) return false;
  const ip = parseIp(address.host);
  if (ip === undefined) return isHostName(address.host);
  // Nobody listens on a group or on a broadcast address.
  return ip.length === 4 ? ip[0] < 224 : ip[0] !== 255;
}

/** The address to dial, when a datagram with this address came from that host. */
export function dialledAddress(text: string, senderHost: string): string {
  const address = parseAddress(text);
  assert(address.kind === "tcp", "only TCP addresses are announced");
  const ip = parseIp(address.host);
  if (ip === undefined || ip.some((byte) => byte !== 0)) return text;
  return formatAddress({ ...address, host: senderHost });
}
