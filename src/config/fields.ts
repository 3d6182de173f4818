/**
 * The kinds of settings there are. Each builder makes the Zod schema of one key and notes, in a
 * registry, what people are told about it: the reference, the sample, the JSON Schema, the types
 * and every error message are written from these notes.
 */
import * as z from "npm:zod@4.6.7";
import { type Address, formatAddress, parseAddress } from "../base/address.ts";
import { CoveyError } from "../base/error.ts";
import {
  durationPattern,
  formatDuration,
  formatSize,
  parseDuration,
  parseSize,
  sizePattern,
  type UnitResult,
} from "./units.ts";

/** What a key holds: durations become milliseconds, sizes bytes; the rest stays as written. */
export type FieldKind =
  | "duration"
  | "size"
  | "integer"
  | "boolean"
  | "text"
  | "choice"
  | "address"
  | "text list"
  | "address list";

/** What is known about a key beside its Zod schema. */
export interface FieldNotes {
  readonly kind: FieldKind;
  /** One or two sentences for people. */
  readonly doc: string;
  /** What the key takes, as it ends an error message. */
  readonly allowed: string;
  /** The same for one item of a list. */
  readonly itemAllowed?: string;
  /** The values of a choice. */
  readonly choices?: readonly string[];
  /** As a file would write it; absent for a key that may stay unset. */
  readonly default?: FieldDefault;
  /** Regular expression and sample for the JSON Schema. */
  readonly pattern?: string;
  readonly example?: string;
}

/** A default as a file would write it. */
export type FieldDefault = string | number | boolean | readonly string[];

/** The notes of every key's schema. */
export const fieldNotes: z.core.$ZodRegistry<FieldNotes> = z.registry<FieldNotes>();

/** A key with a default: the file writes an `Input`, the program sees an `Output`. */
export type Field<Output, Input> = z.core.$ZodPrefault<z.core.$ZodType<Output, Input>>;
/** A key that may stay unset. */
export type OptionalField<Value> = z.core.$ZodOptional<z.core.$ZodType<Value, Value>>;

function withDefault<Output, Input extends FieldDefault>(
  schema: z.core.$ZodType<Output, Input>,
  notes: FieldNotes & { readonly default: Input },
): Field<Output, Input> {
  const field = z.prefault(schema, notes.default as never);
  fieldNotes.add(field, notes);
  return field as unknown as Field<Output, Input>;
}

function unset<Value>(
  schema: z.core.$ZodType<Value, Value>,
  notes: FieldNotes,
): OptionalField<Value> {
  const field = z.optional(schema);
  fieldNotes.add(field, notes);
  return field as unknown as OptionalField<Value>;
}

/** Text that becomes a whole number of some unit, within bounds. */
function measured(
  parse: (text: string) => UnitResult,
  inBounds: (value: number) => boolean,
): z.core.$ZodType<number, string> {
  const toNumber = z.transform((text: string, context): number => {
    const result = parse(text);
    if (result.ok && inBounds(result.value)) return result.value;
    const message = result.ok ? "which is out of range" : result.reason;
    context.issues.push({ code: "custom", input: text, message });
    return z.NEVER;
  });
  return z.pipe(z.string(), toNumber);
}

export function duration(options: {
  readonly doc: string;
  readonly default: string;
  readonly least: string;
  readonly most: string;
  /** What zero means, where it is allowed beside the range. */
  readonly zero?: string;
}): Field<number, string> {
  const least = bound(parseDuration(options.least));
  const most = bound(parseDuration(options.most));
  const zero = options.zero === undefined ? "" : `, or "0s" for ${options.zero}`;
  return withDefault(
    measured(
      parseDuration,
      (value) => (value >= least && value <= most) || (value === 0 && zero !== ""),
    ),
    {
      kind: "duration",
      doc: options.doc,
      default: options.default,
      allowed: `a duration with its unit from "${formatDuration(least)}" to ` +
        `"${formatDuration(most)}"${zero}`,
      pattern: durationPattern,
      // Zero shows nothing of the form that is asked for.
      example: parsesToZero(options.default) ? options.least : options.default,
    },
  );
}

function parsesToZero(text: string): boolean {
  return bound(parseDuration(text)) === 0;
}

export function size(options: {
  readonly doc: string;
  readonly default: string;
  readonly least: string;
  readonly most: string;
  /** What zero means, where it is allowed beside the range. */
  readonly zero?: string;
}): Field<number, string> {
  const least = bound(parseSize(options.least));
  const most = bound(parseSize(options.most));
  const zero = options.zero === undefined ? "" : `, or "0B" for ${options.zero}`;
  return withDefault(
    measured(parseSize, (value) => (value >= least && value <= most) || (value === 0 && !!zero)),
    {
      kind: "size",
      doc: options.doc,
      default: options.default,
      allowed: `a size with its unit from "${formatSize(least)}" to "${formatSize(most)}"${zero}`,
      pattern: sizePattern,
      example: options.default,
    },
  );
}

function bound(result: UnitResult): number {
  if (!result.ok) throw new Error(`a bound in the schema is wrong: ${result.reason}`);
  return result.value;
}

export function integer(options: {
  readonly doc: string;
  readonly default: number;
  readonly least: number;
  readonly most: number;
}): Field<number, number> {
  const { least, most } = options;
  return withDefault<number, number>(z.int().check(z.gte(least), z.lte(most)), {
    kind: "integer",
    doc: options.doc,
    default: options.default,
    allowed: `a whole number from ${least} to ${most}`,
  });
}

export function flag(options: {
  readonly doc: string;
  readonly default: boolean;
}): Field<boolean, boolean> {
  return withDefault<boolean, boolean>(z.boolean(), {
    kind: "boolean",
    doc: options.doc,
    default: options.default,
    allowed: "true or false",
  });
}

const choiceNotes = (
  doc: string,
  choices: readonly string[],
): { kind: "choice"; doc: string; choices: readonly string[]; allowed: string } => ({
  kind: "choice",
  doc,
  choices,
  allowed: choices.map((choice) => `"${choice}"`).join(", "),
});

export function choice<const Choice extends string>(options: {
  readonly doc: string;
  readonly choices: readonly Choice[];
  readonly default: NoInfer<Choice>;
}): Field<Choice, Choice> {
  const schema = z.enum(options.choices) as unknown as z.core.$ZodType<Choice, Choice>;
  const notes = choiceNotes(options.doc, options.choices);
  return withDefault<Choice, Choice>(schema, { ...notes, default: options.default });
}

export function optionalChoice<const Choice extends string>(options: {
  readonly doc: string;
  readonly choices: readonly Choice[];
}): OptionalField<Choice> {
  const schema = z.enum(options.choices) as unknown as z.core.$ZodType<Choice, Choice>;
  return unset(schema, choiceNotes(options.doc, options.choices));
}

/** Text that matches a pattern; `allowed` says the pattern in words. */
export function text(options: {
  readonly doc: string;
  readonly default: string;
  readonly pattern: string;
  readonly allowed: string;
}): Field<string, string> {
  const schema = z.string().check(z.regex(new RegExp(options.pattern, "u")));
  return withDefault<string, string>(schema, { kind: "text", ...options });
}

/** A path to a file, which may stay unset. */
export function optionalPath(options: { readonly doc: string }): OptionalField<string> {
  return unset(z.string().check(z.regex(new RegExp(pathPattern, "u"))), {
    kind: "text",
    doc: options.doc,
    allowed: "the path of a file",
    pattern: pathPattern,
  });
}

/** A path is any text but the empty one; a zero byte ends it early in the kernel. */
export const pathPattern = "^[^\\u0000]+$";

const addressAllowed = "an address: tcp://host:port, unix:/path, unix://@abstract or " +
  "vsock://cid:port";

/**
 * Text that {@link parseAddress} reads. It stays text, so that the configuration is plain data;
 * `fits` refuses addresses that make no sense for the key, by saying why.
 */
function addressText(
  fits: (address: Address) => string | undefined = () => undefined,
): z.core.$ZodType<string, string> {
  return z.string().check((payload) => {
    const reason = addressFault(payload.value, fits);
    if (reason === undefined) return;
    payload.issues.push({
      code: "custom",
      input: payload.value,
      message: reason,
      // The sentence names what was found and what is allowed by itself.
      params: { whole: true },
    });
  });
}

function addressFault(
  value: string,
  fits: (address: Address) => string | undefined,
): string | undefined {
  try {
    return fits(parseAddress(value));
  } catch (error) {
    return CoveyError.from(error).rawMessage;
  }
}

export function address(options: {
  readonly doc: string;
  readonly default: string;
  readonly fits?: (address: Address) => string | undefined;
  readonly allowed?: string;
}): Field<string, string> {
  return withDefault(addressText(options.fits), {
    kind: "address",
    doc: options.doc,
    default: options.default,
    allowed: options.allowed ?? addressAllowed,
  });
}

export function optionalAddress(options: {
  readonly doc: string;
  readonly fits?: (address: Address) => string | undefined;
  readonly allowed?: string;
}): OptionalField<string> {
  return unset(addressText(options.fits), {
    kind: "address",
    doc: options.doc,
    allowed: options.allowed ?? addressAllowed,
  });
}

interface ListOptions {
  readonly doc: string;
  readonly default: readonly string[];
  readonly least: number;
  readonly most: number;
}

/** By what two items count as the same; undefined for an item that may come again. */
type Sameness = (item: string) => string | undefined;

function list(
  item: z.core.$ZodType<string, string>,
  options: ListOptions,
  notes: { readonly kind: FieldKind; readonly items: string; readonly itemAllowed: string },
  sameness: Sameness = (text) => text,
): Field<readonly string[], readonly string[]> {
  const schema = z.array(item).check(
    z.minLength(options.least),
    z.maxLength(options.most),
    (payload) => {
      const seen = new Set<string>();
      for (const [index, value] of payload.value.entries()) {
        const same = sameness(value);
        if (same === undefined) continue;
        if (seen.has(same)) {
          payload.issues.push({
            code: "custom",
            input: value,
            path: [index],
            message: `found ${JSON.stringify(value)} a second time; allowed: each once`,
            params: { whole: true },
          });
        }
        seen.add(same);
      }
    },
  );
  const count = options.least === 0
    ? `up to ${options.most}`
    : `${options.least} to ${options.most}`;
  return withDefault<readonly string[], readonly string[]>(
    schema as z.core.$ZodType<readonly string[], readonly string[]>,
    {
      kind: notes.kind,
      doc: options.doc,
      default: options.default,
      allowed: `a list of ${count} ${notes.items}`,
      itemAllowed: notes.itemAllowed,
    },
  );
}

export function addressList(
  options: ListOptions & { readonly fits?: (address: Address) => string | undefined },
): Field<readonly string[], readonly string[]> {
  const notes = {
    kind: "address list",
    items: "addresses, each once",
    itemAllowed: addressAllowed,
  } as const;
  return list(addressText(options.fits), options, notes, (item) => {
    if (addressFault(item, () => undefined) !== undefined) return undefined;
    const address = parseAddress(item);
    // The system chooses another port for each.
    if (address.kind === "tcp" && address.port === 0) return undefined;
    return formatAddress(address);
  });
}

export function textList(
  options: ListOptions & {
    readonly items: string;
    readonly itemPattern: string;
    readonly itemAllowed: string;
  },
): Field<readonly string[], readonly string[]> {
  const item = z.string().check(z.regex(new RegExp(options.itemPattern, "u")));
  return list(item, options, {
    kind: "text list",
    items: `${options.items}, each once`,
    itemAllowed: options.itemAllowed,
  });
}

/** A section may be missing as a whole: each of its keys then has its default. */
export function section<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
): z.core.$ZodPrefault<z.core.$ZodObject<Shape, z.core.$strict>> {
  const table = z.prefault(z.strictObject(shape), {} as never);
  return table as unknown as z.core.$ZodPrefault<z.core.$ZodObject<Shape, z.core.$strict>>;
}
