/**
 * The files that a configuration names. A key is good when it is text; whether the file is there
 * is another question, which only those ask who start a node or judge whether one would start.
 */
import { decodeText } from "../base/bytes.ts";
import { type Disk, DiskError } from "../runtime/port.ts";
import { ConfigError, type Origin, type Problem, quote } from "./problem.ts";
import type { Resolved } from "./resolve.ts";

/** More than any PEM file holds. */
export const pemBytesMax: number = 1 << 20;

const keys = ["certificate_file", "key_file", "authorities_file"] as const;

/** Throws a {@link ConfigError} for every file of `[tls]` that a node could not use. */
export async function checkFiles(
  disk: Disk,
  { config, origins }: Pick<Resolved, "config" | "origins">,
): Promise<void> {
  if (config.tls.mode !== "on") return;
  const problems: Problem[] = [];
  for (const name of keys) {
    const path = config.tls[name];
    const wrong = path === undefined ? undefined : await whyNoPem(disk, path);
    if (wrong === undefined) continue;
    const key = `tls.${name}`;
    const origin: Origin = origins.get(key) ?? { layer: "default" };
    const message = `found ${quote(path ?? "")}, ${wrong}; allowed: the path of a PEM file that ` +
      `this process may read`;
    problems.push({ origin, key, message });
  }
  if (problems.length > 0) throw new ConfigError(problems);
}

/** What is wrong with a file that is to be PEM, as it follows its name. */
async function whyNoPem(disk: Disk, path: string): Promise<string | undefined> {
  try {
    const text = decodeText(await disk.readFile(path, pemBytesMax));
    return text?.includes("-----BEGIN ") === true ? undefined : "which is no PEM file";
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    switch (error.kind) {
      case "not-found":
      case "not-a-directory":
        return "where there is no file";
      case "is-a-directory":
        return "which is a folder";
      case "too-large":
        return "which is larger than any PEM file";
      default:
        return `which cannot be read (${error.message})`;
    }
  }
}
