/** The schema for editors: JSON Schema 2020-12, or draft-04, which is what Taplo reads. */
import * as z from "npm:zod@4.6.7";
import { fieldNotes } from "./fields.ts";
import { keysSchema, sectionDocs } from "./schema.ts";

/** The dialects that editors ask for. */
export type SchemaDialect = "draft-2020-12" | "draft-04";

/** A JSON Schema of the file. The rules between keys are beyond it. */
export function jsonSchema(dialect: SchemaDialect): Record<string, unknown> {
  const schema = z.toJSONSchema(keysSchema, {
    // The file's side: what has a default need not be written.
    io: "input",
    target: dialect,
    override: ({ zodSchema, jsonSchema }) => {
      const notes = fieldNotes.get(zodSchema as z.core.$ZodType);
      if (notes === undefined) return;
      jsonSchema.description = `${notes.doc} Allowed: ${notes.itemAllowed ?? notes.allowed}.`;
      if (notes.pattern !== undefined && notes.kind !== "text") jsonSchema.pattern = notes.pattern;
    },
  }) as Record<string, unknown>;
  const properties = schema.properties as Record<string, Record<string, unknown>>;
  for (const [name, doc] of Object.entries(sectionDocs)) properties[name].description = doc;
  const { $schema, ...rest } = schema;
  return {
    $schema,
    title: "covey",
    description: "The configuration of a covey node.",
    ...rest,
    // A JSON file may name its schema.
    properties: { $schema: { type: "string" }, ...properties },
  };
}
