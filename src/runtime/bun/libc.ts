/**
 * The few calls of the C library that Bun has no name for, by `bun:ffi`, which is loaded (1.4 MB of
 * memory, below a millisecond) when the first of them is needed.
 */
import process from "node:process";

/** See socket(7), shutdown(2), flock(2) and fcntl(2). */
export interface Libc {
  getsockopt(
    descriptor: number,
    level: number,
    name: number,
    value: Int32Array,
    length: Uint32Array,
  ): number;
  shutdown(descriptor: number, how: number): number;
  flock(descriptor: number, operation: number): number;
  fcntl(descriptor: number, command: number, argument: number): number;
  /** Where the thread's last error is. */
  __errno_location(): number;
}

const symbols = {
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  flock: { args: ["i32", "i32"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

/** SHUT_RDWR. */
export const shutBoth = 2;
/** F_DUPFD_CLOEXEC. */
export const duplicate = 1030;

/** What is used of `bun:ffi`. */
interface Ffi {
  dlopen(name: string, wanted: typeof symbols): { symbols: Libc };
  readonly read: { i32(pointer: number): number };
}

/**
 * Opens the C library that the process itself runs on, glibc's or musl's; undefined where there is
 * none of that kind. Opening it again gives the same one.
 */
export function openLibc(): Libc | undefined {
  if (process.platform !== "linux") return undefined;
  const ffi = loadFfi();
  const musl = process.arch === "arm64" ? "libc.musl-aarch64.so.1" : "libc.musl-x86_64.so.1";
  for (const name of ["libc.so.6", musl]) {
    try {
      return ffi?.dlopen(name, symbols).symbols;
    } catch {
      // The other library's name is tried next.
    }
  }
  return undefined;
}

/** Why the call just before failed, errno(3). */
export function lastError(libc: Libc): number {
  return loadFfi()!.read.i32(libc.__errno_location());
}

function loadFfi(): Ffi | undefined {
  return process.getBuiltinModule("bun:ffi") as Ffi | undefined;
}
