/** From the bytes of a question to the bytes of its answer. */
import type { Prng } from "../../base/prng.ts";
import { Directory, type DnsView, EntryMaker } from "./directory.ts";
import {
  classInternet,
  RecordType,
  ResponseCode,
  udpBytesLeast,
  udpBytesMost,
} from "./protocol.ts";
import { type Extension, parseQuery, type Query } from "./query.ts";
import { ResponseWriter } from "./writer.ts";
import { Zone, type ZoneAnswer, type ZoneOptions } from "./zone.ts";

export interface ResponderOptions extends ZoneOptions {
  /** Members that one answer names, chosen anew each time. */
  readonly udpMembersMax: number;
  readonly tcpMembersMax: number;
}

/** What became of a message. */
export const outcomes = [
  "answered",
  /** The name exists and has nothing of this kind. */
  "no_data",
  "nonexistent",
  /** Another zone, another class, or a transfer. */
  "refused",
  /** Malformed, or of a version or an operation that this server does not have. */
  "rejected",
  /** There is no view yet. */
  "failed",
  /** Not answered at all. */
  "garbage",
] as const;
export type Outcome = (typeof outcomes)[number];

export interface Response {
  readonly outcome: Outcome;
  /** Absent for garbage. A view that is the caller's to keep. */
  readonly bytes?: Uint8Array;
  readonly truncated: boolean;
  /** Members were left out of the answer. */
  readonly sampled: boolean;
}

const noQuestion = new Uint8Array(0);
const tcpBytesMax = 65_535;

export class Responder {
  readonly #options: ResponderOptions;
  readonly #zone: Zone;
  readonly #entries: EntryMaker;
  #view: DnsView | undefined;
  #directory: Directory | undefined;

  constructor(options: ResponderOptions, random: Prng) {
    this.#options = options;
    this.#zone = new Zone(options, random);
    this.#entries = new EntryMaker(options.domain);
  }

  /** Names of members and services that cannot be shown. */
  get hidden(): number {
    return this.#directory?.hidden ?? 0;
  }

  /** Answers from this view from now on; from none, every question of the zone fails. */
  update(view: DnsView | undefined): void {
    if (view === this.#view) return;
    this.#view = view;
    this.#directory = view === undefined ? undefined : new Directory(view, this.#entries);
  }

  /** Never throws, whatever the bytes are. `short`: not a byte more than what was asked with. */
  respond(message: Uint8Array, transport: "udp" | "tcp", short = false): Response {
    const parsed = parseQuery(message);
    if (parsed.kind === "garbage") {
      return { outcome: "garbage", truncated: false, sampled: false };
    }
    if (parsed.kind === "rejected") {
      const { code, ...head } = parsed.rejection;
      const question = { question: noQuestion, extension: undefined };
      const writer = new ResponseWriter(
        { ...head, ...question, code, authoritative: false },
        udpBytesLeast,
      );
      return { outcome: "rejected", bytes: writer.finish(), truncated: false, sampled: false };
    }
    const { query } = parsed;
    const refusal = this.#refusal(query);
    if (refusal !== undefined) return simple(query, refusal);
    if (this.#directory === undefined) return simple(query, ResponseCode.serverFailure);
    const { udpMembersMax, tcpMembersMax } = this.#options;
    const most = transport === "udp" ? udpMembersMax : tcpMembersMax;
    const answer = this.#zone.answer(this.#directory, query, most);
    const bytesMax = transport === "tcp" ? tcpBytesMax : udpBytes(query.extension);
    return write(query, answer, { bytesMax, short });
  }

  /** Why a well-formed question has no answer here. */
  #refusal(query: Query): ResponseCode | undefined {
    const { extension, type } = query;
    if (extension !== undefined && extension.version !== 0) return ResponseCode.badVersion;
    if (query.class !== classInternet) return ResponseCode.refused;
    if (!this.#zone.holds(query.labels)) return ResponseCode.refused;
    // Transfers, and whatever else is no record.
    const isMeta = type === RecordType.opt ||
      (type >= RecordType.metaFirst && type < RecordType.any);
    return isMeta ? ResponseCode.refused : undefined;
  }
}

/** What a client takes over UDP, within what arrives. */
function udpBytes(extension: Extension | undefined): number {
  if (extension === undefined) return udpBytesLeast;
  return Math.min(udpBytesMost, Math.max(udpBytesLeast, extension.udpBytes));
}

function headOf(query: Query, code: ResponseCode, authoritative: boolean) {
  const { id, recursionDesired, question, extension } = query;
  return { id, opcode: 0, recursionDesired, question, extension, code, authoritative };
}

/** An answer that is its code alone. */
function simple(query: Query, code: ResponseCode): Response {
  const outcome = code === ResponseCode.refused
    ? "refused"
    : code === ResponseCode.serverFailure
    ? "failed"
    : "rejected";
  const bytes = new ResponseWriter(headOf(query, code, false), udpBytesLeast).finish();
  return { outcome, bytes, truncated: false, sampled: false };
}

function write(
  query: Query,
  answer: ZoneAnswer,
  { bytesMax, short }: { bytesMax: number; short: boolean },
): Response {
  const { code, answers, authority, additional, leftOut } = answer;
  const outcome = code === ResponseCode.nonexistentDomain
    ? "nonexistent"
    : answers.length > 0
    ? "answered"
    : "no_data";
  const writer = new ResponseWriter(headOf(query, code, true), bytesMax);
  const fits = !short && answers.every((record) => writer.add("answer", record)) &&
    authority.every((record) => writer.add("authority", record));
  if (!fits) writer.truncate();
  // What nobody asked for is left out without a word, from the first record that has no room.
  else additional.every((record) => writer.add("additional", record));
  return { outcome, bytes: writer.finish(), truncated: !fits, sampled: leftOut > 0 };
}
