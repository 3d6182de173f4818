/**
 * The little of a runtime that the configuration and the command line touch, without a process:
 * files that are named in a table, an environment, and output that is kept.
 */
import type { TlsInspection } from "../../src/base/certificate.ts";
import {
  type Clock,
  type Disk,
  DiskError,
  type Host,
  type Net,
  type Runtime,
} from "../../src/runtime/port.ts";

export interface FakeOptions {
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** Paths whose reading fails, and how. */
  readonly failing?: Readonly<Record<string, DiskError["kind"]>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly hostname?: string;
  readonly descriptorsMax?: number;
  readonly features?: Partial<Runtime["features"]>;
  /** What its TLS material is worth. Default: nothing is wrong with it. */
  readonly tls?: TlsInspection;
  /** Milliseconds since 1970. Default 0. */
  readonly wallMs?: number;
}

export type FakeRuntime =
  & Pick<Runtime, "name" | "version" | "features" | "disk" | "host" | "net" | "clock">
  & { readonly out: string[]; readonly notes: string[]; readonly written: Map<string, string> };

/** Everything that is not listed here throws when touched, as a missing method does. */
export function fakeRuntime(options: FakeOptions = {}): FakeRuntime {
  const out: string[] = [];
  const notes: string[] = [];
  const written = new Map<string, string>();
  const environment = options.environment ?? {};
  const disk: Pick<Disk, "readFile" | "open"> = {
    readFile(path, bytesMax) {
      const kind = options.failing?.[path];
      if (kind !== undefined) return Promise.reject(new DiskError(kind, path, "made to fail"));
      const content = options.files?.[path];
      if (content === undefined) {
        return Promise.reject(new DiskError("not-found", path, "no such file"));
      }
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      return bytes.length > bytesMax
        ? Promise.reject(new DiskError("too-large", path, "too large"))
        : Promise.resolve(bytes);
    },
    open(path, { exclusive }) {
      if (exclusive && (written.has(path) || options.files?.[path] !== undefined)) {
        return Promise.reject(new DiskError("exists", path, "exists"));
      }
      return Promise.resolve({
        append(bytes: Uint8Array) {
          written.set(path, (written.get(path) ?? "") + new TextDecoder().decode(bytes));
          return Promise.resolve();
        },
        close: () => Promise.resolve(),
      } as Awaited<ReturnType<Disk["open"]>>);
    },
  };
  const host: Partial<Host> = {
    args: [],
    hostname: options.hostname ?? "box",
    architecture: "x64",
    descriptorsMax: options.descriptorsMax ?? 65_536,
    environment: (name) => environment[name],
    environmentNames: (prefix) =>
      Object.keys(environment).filter((name) => name.startsWith(prefix)),
    isTerminal: () => false,
    stdout(text) {
      out.push(typeof text === "string" ? text : new TextDecoder().decode(text));
      return Promise.resolve();
    },
    stderr: (text) => void notes.push(text),
  };
  return {
    name: "sim",
    version: "0",
    features: {
      peerCredentials: false,
      vsock: false,
      abstractSockets: true,
      ...options.features,
    },
    net: { inspectTls: () => options.tls ?? { problems: [] } } as unknown as Net,
    clock: { wallMs: () => options.wallMs ?? 0 } as Clock,
    disk: disk as Disk,
    host: host as Host,
    out,
    notes,
    written,
  };
}
