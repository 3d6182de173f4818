/**
 * flock(2) through the C library, loaded at the first lock: the kernel releases it when the
 * process ends, however it ends, which no pid file can say of itself.
 */
import fs from "node:fs";
import { DiskError, type DiskLock } from "../port.ts";
import { diskError } from "./error.ts";
import { lastError, openLibc } from "./libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * What flock(2) says where it cannot lock at all, as on some network file systems. Everything else
 * is EWOULDBLOCK.
 */
const failures: ReadonlyMap<number, string> = new Map([
  [5, "EIO"],
  [22, "EINVAL"],
  [37, "ENOLCK"],
  [38, "ENOSYS"],
  [95, "EOPNOTSUPP"],
]);

/** Takes the lock, or rejects with `busy`; see the port. */
// deno-lint-ignore require-await -- what goes wrong must reach the caller as a rejection
export async function lockFile(path: string): Promise<DiskLock> {
  const libc = openLibc();
  if (libc === undefined) {
    // The loader does not tell the two apart.
    const why =
      "no C library with flock could be loaded: the system has none that is known here, " +
      "or a limit of the address space (ulimit -v, LimitAS) leaves no room for it";
    throw new DiskError("io", path, `lock: ${why}`);
  }
  let descriptor: number;
  try {
    // Bun opens close-on-exec, so a child does not inherit the lock and outlive us with it.
    descriptor = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
  } catch (error) {
    throw diskError(error, path, "lock");
  }
  if (libc.flock(descriptor, LOCK_EX | LOCK_NB) !== 0) {
    const failure = failures.get(lastError(libc));
    fs.closeSync(descriptor);
    if (failure !== undefined) throw new DiskError("io", path, `lock: ${failure}`);
    throw new DiskError("busy", path, "lock: somebody holds it");
  }
  let held = true;
  return {
    // deno-lint-ignore require-await -- the port's form; closing needs no waiting
    async release() {
      if (!held) return;
      held = false;
      // The file stays: removing it would let two processes lock two files of the same name.
      fs.closeSync(descriptor);
    },
  };
}
