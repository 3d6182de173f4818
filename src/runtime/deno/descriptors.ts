/** The process's limit of open descriptors. Deno raises the soft limit to the hard one at start. */
import { isGranted } from "./permission.ts";

/** Left free for files, children and the engine itself. */
export const spareDescriptors = 64;

/** What is assumed where the limit cannot be read: the least that systems set by default. */
export const descriptorsMaxUnknown = 1024;

const limitsFile = "/proc/self/limits";

/**
 * The limit; undefined where there is no /proc, and where not everything is permitted: Deno gives
 * files of /proc to `--allow-all` only. Asks nobody.
 */
export function readDescriptorsMax(): number | undefined {
  if (!isGranted({ name: "read", path: limitsFile })) return undefined;
  try {
    const match = /^Max open files\s+(\d+)/m.exec(Deno.readTextFileSync(limitsFile));
    return match === null ? undefined : Number(match[1]);
  } catch {
    return undefined;
  }
}
