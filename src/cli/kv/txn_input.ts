/**
 * A transaction as JSON, in the form of `mod.ts`:
 *
 *     {"compare": [{"keys": "a", "is": "=", "version": 0}],
 *      "success": [{"put": "a", "value": "1"}],
 *      "failure": [{"range": {"prefix": "a"}}]}
 *
 * Keys and values are text, or `{"base64": "…"}`. What is wrong is said with its place.
 */
import { base64Decode } from "npm:@bufbuild/protobuf@2.17.0/wire";
import { nearest } from "../../config/nearest.ts";
import type {
  KeyInput,
  KeySelection,
  KvCompare,
  KvOperation,
  KvTransaction,
} from "../../kv/client_types.ts";
import { UsageError } from "../exit.ts";
import type { JsonValue } from "../json_input.ts";

type Fields = Readonly<Record<string, JsonValue>>;

const source = "standard input";

function wrong(place: string, found: JsonValue | undefined, allowed: string): UsageError {
  const shown = found === undefined ? "nothing" : JSON.stringify(found);
  const short = shown.length > 60 ? `${shown.slice(0, 57)}...` : shown;
  return new UsageError(`${source}, ${place}: found ${short}; allowed: ${allowed}`);
}

/** An object that has none but the known fields. */
function fieldsOf(value: JsonValue, place: string, known: readonly string[]): Fields {
  const list = known.join(", ");
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(place, value, `an object with ${list}`);
  }
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const close = nearest(key, known);
    const help = close === undefined ? `there are ${list}` : `did you mean ${close}?`;
    throw new UsageError(`${source}, ${place}: unknown field ${JSON.stringify(key)}; ${help}`);
  }
  return value;
}

function listOf<T>(
  value: JsonValue | undefined,
  place: string,
  read: (item: JsonValue, place: string) => T,
): T[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw wrong(place, value, "a list");
  return value.map((item, index) => read(item, `${place}[${index}]`));
}

function bytesOf(value: JsonValue | undefined, place: string): KeyInput {
  if (typeof value === "string") return value;
  const allowed = 'text, or {"base64": "…"}';
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(place, value, allowed);
  }
  const { base64 } = fieldsOf(value, place, ["base64"]);
  if (typeof base64 !== "string") throw wrong(place, value, allowed);
  try {
    return base64Decode(base64);
  } catch {
    throw wrong(`${place}.base64`, base64, "base64");
  }
}

function wholeOf(value: JsonValue | undefined, place: string): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw wrong(place, value, "a whole number, 0 or more");
}

function flagOf(value: JsonValue, place: string): boolean {
  if (typeof value === "boolean") return value;
  throw wrong(place, value, "true or false");
}

function keysOf(value: JsonValue | undefined, place: string): KeySelection {
  const isInterval = typeof value === "object" && value !== null && !Array.isArray(value) &&
    !("base64" in value);
  if (!isInterval) return bytesOf(value, place);
  const { prefix, from, to } = fieldsOf(value, place, ["prefix", "from", "to"]);
  if ((prefix === undefined) === (from === undefined) || (to !== undefined && from === undefined)) {
    throw wrong(place, value, 'a key, {"prefix": …}, or {"from": …} with or without "to"');
  }
  if (prefix !== undefined) return { prefix: bytesOf(prefix, `${place}.prefix`) };
  return {
    from: bytesOf(from, `${place}.from`),
    ...(to === undefined ? {} : { to: bytesOf(to, `${place}.to`) }),
  };
}

const numbers = ["version", "createRevision", "modRevision", "lease"] as const;
const operators = ["=", "!=", "<", ">"] as const;

function compareOf(value: JsonValue, place: string): KvCompare {
  const fields = fieldsOf(value, place, ["keys", "is", ...numbers, "value"]);
  const given = [...numbers, "value" as const].filter((name) => fields[name] !== undefined);
  if (given.length !== 1) {
    throw wrong(place, value, `one of ${numbers.join(", ")}, value to compare with`);
  }
  const is = operators.find((one) => one === (fields.is ?? "="));
  if (is === undefined) throw wrong(`${place}.is`, fields.is, operators.join(" "));
  const keys = keysOf(fields.keys, `${place}.keys`);
  const what = `${place}.${given[0]}`;
  switch (given[0]) {
    case "version":
      return { keys, is, version: wholeOf(fields.version, what) };
    case "createRevision":
      return { keys, is, createRevision: wholeOf(fields.createRevision, what) };
    case "modRevision":
      return { keys, is, modRevision: wholeOf(fields.modRevision, what) };
    case "lease":
      return { keys, is, lease: wholeOf(fields.lease, what) };
    default:
      return { keys, is, value: bytesOf(fields.value, what) };
  }
}

/** What each operation may have beside the field that names it. */
const operations = {
  put: ["value", "lease", "previous", "keepLease"],
  delete: ["previous"],
  range: ["limit", "revision", "keysOnly", "countOnly"],
  transaction: [],
} as const;

function operationOf(value: JsonValue, place: string): KvOperation {
  const names = Object.keys(operations) as (keyof typeof operations)[];
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  const name = isObject ? names.filter((one) => one in value) : [];
  if (name.length !== 1) throw wrong(place, value, `an object with one of ${names.join(", ")}`);
  const fields = fieldsOf(value, place, [name[0], ...operations[name[0]]]);
  const at = (field: string): string => `${place}.${field}`;
  const flag = (field: string): Record<string, boolean> =>
    fields[field] === undefined ? {} : { [field]: flagOf(fields[field], at(field)) };
  const whole = (field: string): Record<string, number> =>
    fields[field] === undefined ? {} : { [field]: wholeOf(fields[field], at(field)) };
  switch (name[0]) {
    case "put":
      return {
        put: bytesOf(fields.put, at("put")),
        // Without a value the one that is there stays.
        value: fields.value === undefined ? undefined : bytesOf(fields.value, at("value")),
        ...whole("lease"),
        ...flag("previous"),
        ...flag("keepLease"),
      };
    case "delete":
      return { delete: keysOf(fields.delete, at("delete")), ...flag("previous") };
    case "range":
      return {
        range: keysOf(fields.range, at("range")),
        ...whole("limit"),
        ...whole("revision"),
        ...flag("keysOnly"),
        ...flag("countOnly"),
      };
    case "transaction":
      return { transaction: transactionOf(fields.transaction, at("transaction")) };
  }
}

/** Reads a transaction; a {@link UsageError} names what is wrong with which field. */
export function transactionOf(value: JsonValue, place = "the transaction"): KvTransaction {
  const fields = fieldsOf(value, place, ["compare", "success", "failure"]);
  const inside = place === "the transaction" ? "" : `${place}.`;
  return {
    compare: listOf(fields.compare, `${inside}compare`, compareOf),
    success: listOf(fields.success, `${inside}success`, operationOf),
    failure: listOf(fields.failure, `${inside}failure`, operationOf),
  };
}
