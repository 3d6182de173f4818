/**
 * The seam on Bun: native sockets, `Bun.serve`, and the file calls of `node:fs`.
 *
 * Reached by `await import` only, after the runtime check: the files beside it name `Bun` and
 * `bun:` modules, which would end Deno.
 */
import type { Runtime } from "./port.ts";
import { createClock, createRandom } from "./bun/clock.ts";
import { createDisk } from "./bun/disk.ts";
import { createHost } from "./bun/host.ts";
import { createHttp } from "./bun/http.ts";
import { readDescriptorsMax } from "./bun/listener.ts";
import { createNet } from "./bun/net.ts";
import process from "node:process";

/** The runtime of a process that Bun executes. */
export function createBunRuntime(): Runtime {
  const clock = createClock();
  const descriptorsMax = readDescriptorsMax();
  return {
    name: "bun",
    version: Bun.version,
    features: {
      peerCredentials: process.platform === "linux",
      vsock: false,
      abstractSockets: process.platform === "linux",
    },
    net: createNet(clock, descriptorsMax),
    http: createHttp(clock),
    clock,
    random: createRandom(),
    disk: createDisk(),
    host: createHost(descriptorsMax),
  };
}
