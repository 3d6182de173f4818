/** The schema as a flat list: one entry per key, in the order of the reference. */
import type * as z from "npm:zod@4.6.7";
import { type FieldDefault, type FieldNotes, fieldNotes } from "./fields.ts";
import { keysSchema, sectionDocs } from "./schema.ts";
import { formatDuration, formatSize } from "./units.ts";

/** One key of the configuration. */
export interface Setting extends FieldNotes {
  readonly section: string;
  readonly key: string;
  /** `rpc.message_bytes_max` */
  readonly path: string;
  /** `COVEY_RPC__MESSAGE_BYTES_MAX` */
  readonly variable: string;
}

/** A section with its keys. */
export interface Section {
  readonly name: string;
  readonly doc: string;
  readonly settings: readonly Setting[];
}

function shapeOf(schema: z.core.$ZodType): Readonly<Record<string, z.core.$ZodType>> {
  const definition = schema._zod.def as z.core.$ZodObjectDef & { innerType?: z.core.$ZodType };
  if (definition.innerType !== undefined) return shapeOf(definition.innerType);
  return definition.shape as Readonly<Record<string, z.core.$ZodType>>;
}

function readSections(): Section[] {
  return Object.entries(shapeOf(keysSchema)).map(([name, table]) => ({
    name,
    doc: sectionDocs[name],
    settings: Object.entries(shapeOf(table)).map(([key, field]): Setting => {
      const notes = fieldNotes.get(field);
      if (notes === undefined) throw new Error(`${name}.${key} is not made by fields.ts`);
      return {
        ...notes,
        section: name,
        key,
        path: `${name}.${key}`,
        variable: `COVEY_${name}__${key}`.toUpperCase(),
      };
    }),
  }));
}

/** All sections in order. */
export const sections: readonly Section[] = readSections();
/** All keys in order. */
export const settings: readonly Setting[] = sections.flatMap((section) => section.settings);
/** All keys by their path. */
export const settingsByPath: ReadonlyMap<string, Setting> = new Map(
  settings.map((setting) => [setting.path, setting]),
);

/** A parsed value as a file would write it: 4194304 of a size becomes "4MiB". */
export function writtenValue(setting: Setting, value: unknown): FieldDefault | undefined {
  if (value === undefined) return undefined;
  if (setting.kind === "duration") return formatDuration(value as number);
  if (setting.kind === "size") return formatSize(value as number);
  return value as FieldDefault;
}

/** A value in TOML. JSON's escapes are all TOML's too; only U+007F must be escaped by hand. */
export function tomlValue(value: FieldDefault): string {
  if (typeof value === "object") return `[${value.map(tomlValue).join(", ")}]`;
  return typeof value === "string"
    ? JSON.stringify(value).replaceAll("\u007f", "\\u007f")
    : String(value);
}
