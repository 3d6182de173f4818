/** `covey config schema`: the JSON Schema of the file. */
import type { CliContext } from "./context.ts";

/** The flags of `covey config schema`. */
export interface SchemaFlags {
  readonly "draft-04"?: boolean;
  readonly json?: boolean;
}

/** Prints it indented, or on one line with `--json`. */
export async function configSchemaCommand(this: CliContext, flags: SchemaFlags): Promise<void> {
  const { jsonSchema } = await import("../config/json_schema.ts");
  const schema = jsonSchema(flags["draft-04"] ? "draft-04" : "draft-2020-12");
  if (flags.json) await this.printJson(schema);
  else await this.print(JSON.stringify(schema, null, 2));
}
