/** What `/v1/kv` and the paths below it take, and how keys and values are written. */
import { base64Decode, base64Encode } from "npm:@bufbuild/protobuf@2.17.0/wire";
import * as z from "npm:zod@4.6.7";
import { decodeText, encodeText } from "../base/bytes.ts";
import { flag, invalid, wants, whole } from "./input.ts";

/** Entries that a range gives where no limit is asked for, and the most that it may. */
const entriesDefault = 1_000;
const entriesMax = 100_000;

const textWanted = wants("text");
const base64Wanted = wants("base64 (in an address, write + as - and / as _)");

const text = (what: string): z.ZodOptional<z.ZodString> =>
  z.string(textWanted).refine((value) => !/\p{Surrogate}/u.test(value), textWanted).describe(what)
    .optional();
const base64 = (what: string): z.ZodOptional<z.ZodString> =>
  z.string(base64Wanted).regex(/^[A-Za-z0-9+/_-]*={0,2}$/, base64Wanted).describe(what)
    .meta({ contentEncoding: "base64" }).optional();
/** A choice that is off where it is not named. */
const choice = (what: string): z.ZodOptional<z.ZodBoolean> => flag().describe(what).optional();

const key = {
  key: text("One key, as text."),
  keyBase64: base64("One key, as base64."),
};
const selection = {
  ...key,
  prefix: text("All keys that begin so; empty means every key."),
  prefixBase64: base64("The same, as base64."),
  from: text("Keys from this one on."),
  fromBase64: base64("The same, as base64."),
  to: text("With from: up to but without this one."),
  toBase64: base64("The same, as base64."),
};

export const rangeQuery = z.strictObject({
  ...selection,
  limit: whole(1, entriesMax).describe(`The most entries; ${entriesDefault} where it is not given.`)
    .optional(),
  revision: whole(1).describe("As of this revision; without it, of the newest.").optional(),
  order: z.enum(["ascend", "descend"], wants("ascend or descend")).describe("Which way to sort.")
    .optional(),
  sortBy: z.enum(
    ["key", "version", "create", "mod", "value"],
    wants("key, version, create, mod or value"),
  ).describe("What to sort by.").optional(),
  keysOnly: choice("Leave the values out."),
  countOnly: choice("Leave the entries out."),
  serializable: choice("Take this node's own state, which may be old."),
});

export const putBody = z.strictObject({
  ...key,
  value: text("The value, as text."),
  valueBase64: base64("The value, as base64."),
  lease: whole(1).describe("The lease that the key is to hang on; without it, none.").optional(),
  keepLease: choice("Keep the lease that is there; the key must exist."),
  previous: choice("Answer with what was there."),
});

export const deleteQuery = z.strictObject({
  ...key,
  previous: choice("Answer with what was there."),
});

export const watchQuery = z.strictObject({
  ...selection,
  fromRevision: whole(1).describe("The first revision to tell of; without it, the next one.")
    .optional(),
  previous: choice("With what was there before."),
  withoutPuts: choice("Tell of deletions alone."),
  withoutDeletes: choice("Tell of puts alone."),
});

type Selection = Partial<Record<keyof typeof selection, string>>;
type BytesName = "key" | "value" | "prefix" | "from" | "to";
type Given = { readonly [N in BytesName | `${BytesName}Base64`]?: string };

/** The bytes that are given under a name, or under that name with `Base64` behind it. */
export function givenBytes(given: Given, name: BytesName): Uint8Array | undefined {
  const plain = given[name];
  const encoded = given[`${name}Base64`];
  if (plain !== undefined && encoded !== undefined) {
    throw invalid(`${name} and ${name}Base64 are both given`, "give one of them");
  }
  if (plain !== undefined) return encodeText(plain);
  if (encoded === undefined) return undefined;
  try {
    return base64Decode(encoded);
  } catch {
    throw invalid(`${name}Base64: ${JSON.stringify(encoded)} is not base64`);
  }
}

/** The bytes under a name that must be there. */
export function neededBytes(given: Given, name: "key" | "value"): Uint8Array {
  const bytes = givenBytes(given, name);
  if (bytes !== undefined) return bytes;
  throw invalid(`${name}: is missing`, `give ${name} as text, or ${name}Base64`);
}

/** Keys as the store's requests name them: see RangeRequest in kv.proto. */
export interface Interval {
  readonly key: Uint8Array<ArrayBuffer>;
  readonly rangeEnd: Uint8Array<ArrayBuffer>;
}

/** Which keys a request means. */
export function readSelection(given: Selection): Interval {
  const one = givenBytes(given, "key");
  const prefix = givenBytes(given, "prefix");
  const from = givenBytes(given, "from");
  const to = givenBytes(given, "to");
  if ([one, prefix, from].filter((bytes) => bytes !== undefined).length !== 1) {
    throw invalid(
      "which keys is not said, or said twice",
      "give key, prefix (empty for every key), or from with or without to",
    );
  }
  if (to !== undefined && from === undefined) throw invalid("to: goes with from only");
  if (to?.length === 0) throw invalid("to: is empty", "leave it out for every key from one on");
  if (one !== undefined) return interval(one, noBytes);
  if (prefix !== undefined) {
    return prefix.length === 0 ? interval(zero, zero) : interval(prefix, behind(prefix));
  }
  return interval(from === undefined || from.length === 0 ? zero : from, to ?? zero);
}

function interval(first: Uint8Array, rangeEnd: Uint8Array): Interval {
  return { key: first.slice(), rangeEnd: rangeEnd.slice() };
}

const noBytes = new Uint8Array(0);
/** As an end: every key from the first on. As a first key: the lowest there can be. */
const zero = new Uint8Array(1);

/** The first key behind all that begin with the prefix. */
function behind(prefix: Uint8Array): Uint8Array {
  for (let at = prefix.length - 1; at >= 0; at--) {
    if (prefix[at] === 0xff) continue;
    const end = prefix.slice(0, at + 1);
    end[at]++;
    return end;
  }
  return zero;
}

export function limitOf(limit: number | undefined): bigint {
  return BigInt(limit ?? entriesDefault);
}

/** Bytes as the field of an answer: `{key: "text"}` or `{keyBase64: "…"}`. */
export function shownBytes<N extends "key" | "value">(
  name: N,
  bytes: Uint8Array,
): { readonly [K in N | `${N}Base64`]?: string } {
  const plain = decodeText(bytes);
  const field = plain === undefined
    ? { [`${name}Base64`]: base64Encode(bytes) }
    : { [name]: plain };
  return field as { readonly [K in N | `${N}Base64`]?: string };
}
