/** `covey config init`: a file to start from. */
import { encodeText } from "../base/bytes.ts";
import { DiskError, type Runtime } from "../runtime/port.ts";
import type { CliContext } from "./context.ts";
import { UsageError } from "./exit.ts";

/** The flags of `covey config init`. */
export interface InitFlags {
  readonly schema: string;
  readonly json?: boolean;
}

/** Prints the sample, or writes it to a file that does not exist yet. */
export async function configInit(
  this: CliContext,
  flags: InitFlags,
  file?: string,
): Promise<void> {
  const isJson = flags.json === true || file?.toLowerCase().endsWith(".json") === true;
  const { sampleFile, sampleObject } = await import("../config/sample.ts");
  const text = isJson
    ? JSON.stringify(sampleObject(flags.schema), null, flags.json ? undefined : 2) + "\n"
    : sampleFile(flags.schema);
  if (file === undefined) {
    await this.print(text);
    return;
  }
  if (file === "") throw new UsageError("FILE is empty; name a file, or leave it out");
  await writeNew(this.runtime, file, text);
  this.note(
    `wrote ${file}; for your editor: covey config schema${
      isJson ? "" : " --draft-04"
    } > ${flags.schema}`,
  );
}

async function writeNew(runtime: Pick<Runtime, "disk">, path: string, text: string): Promise<void> {
  try {
    const file = await runtime.disk.open(path, {
      write: true,
      create: true,
      exclusive: true,
      mode: 0o644,
    });
    await file.append(encodeText(text));
    await file.close();
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    switch (error.kind) {
      case "exists":
        throw new UsageError(`${path} exists already; name another file, or move that one away`);
      case "not-found":
      case "not-a-directory":
        throw new UsageError(`${path} cannot be made: its folder does not exist`);
      default:
        throw error;
    }
  }
}
