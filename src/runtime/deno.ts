/**
 * The seam on Deno: its own sockets, server and files, and Node's modules where it has none.
 *
 * Reached by `await import` only, after the runtime check. Nothing here asks for a permission
 * before it is needed: whoever imports the library and dials needs `--allow-net` alone, and what
 * lacks a permission fails as `denied` with the flag to add.
 */
import type { Runtime } from "./port.ts";
import { createClock, createRandom } from "./deno/clock.ts";
import { createDisk } from "./deno/disk.ts";
import { createHost } from "./deno/host.ts";
import { createHttp } from "./deno/http.ts";
import { createNet } from "./deno/net.ts";

/** The runtime of a process that Deno executes. */
export function createDenoRuntime(): Runtime {
  const clock = createClock();
  return {
    name: "deno",
    version: Deno.version.deno,
    features: {
      // Deno shows neither SO_PEERCRED nor a socket's descriptor.
      peerCredentials: false,
      // Behind --unstable-vsock.
      vsock: false,
      abstractSockets: Deno.build.os === "linux",
    },
    net: createNet(clock),
    http: createHttp(),
    clock,
    random: createRandom(),
    disk: createDisk(),
    host: createHost(),
  };
}
