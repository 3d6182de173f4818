/** The configuration of a node on a simulated machine, as the schema makes it of a file's keys. */
import { resolve } from "../../src/config/resolve.ts";
import type { Config } from "../../src/config/types.ts";
import type { Runtime } from "../../src/runtime/port.ts";

export const meshPort = 7946;
export const dataDirectory = "/var/lib/covey";

/** `node` are keys of its section beside those that all nodes share, `sections` are all others. */
export function nodeConfig(
  runtime: Runtime,
  node: { readonly name: string; readonly advertise?: string },
  sections: Readonly<Record<string, unknown>>,
): Config {
  return resolve(runtime, {
    options: {
      node: { data: dataDirectory, listen: [`tcp://0.0.0.0:${meshPort}`], ...node },
      tls: { mode: "off" },
      admin: { enabled: false },
      // It has a simulation of its own.
      membership: { enabled: false },
      ...sections,
    },
    environment: false,
    flags: [],
    dev: false,
  }).config;
}
