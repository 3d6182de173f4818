/** What the rules let pass, and why. An exception that excuses nothing any more fails the test. */
import type { Roots } from "./reach.ts";
import type { Exception } from "./source.ts";

export const exceptions: readonly Exception[] = [
  {
    path: "src/runtime/bun/udp.ts",
    rule: "sockets",
    about: "node:dgram",
    reason: "Bun.udpSocket cannot share a port for multicast (tried on 1.4.5)",
  },
  {
    path: "src/runtime/deno/udp.ts",
    rule: "sockets",
    about: "node:dgram",
    reason: "Deno.listenDatagram needs an unstable flag",
  },
  {
    path: "src/runtime/deno/tls.ts",
    rule: "sockets",
    about: "node:tls",
    reason: "Deno.listenTls cannot ask for a client certificate",
  },
  {
    path: "src/runtime/deno/tls.ts",
    rule: "sockets",
    about: "node:stream",
    reason: "the type of what node:tls wraps",
  },
  {
    path: "src/main.ts",
    rule: "effects",
    about: "console",
    reason: "a crash may come before there is a runtime to print with",
  },
  {
    path: "src/admin/page.ts",
    rule: "effects",
    about: "crypto",
    reason: "the hash of the embedded style sheet, once; pages are not served on the simulator",
  },
  {
    path: "src/cli/self_test.ts",
    rule: "layout",
    reason: "it uses every library and every part once, on purpose",
  },
  {
    path: "src/config/option_types.ts",
    rule: "length",
    reason: "generated: it has every key of the schema with its documentation",
  },
];

/** Where the product begins, and what only tests reach. */
export const roots: Roots = {
  product: ["mod.ts", "src/main.ts"],
  testOnly: {
    "src/runtime/sim/": "the simulator: whole nodes run on it in tests, `covey sim` comes later",
    "src/gen/covey/rpc/v1/rpc_pb.ts":
      "what the generator makes of our proto; the hand-written codec is compared with it",
    "test/ttrpc/fuzz/run.ts": "the long run of the frame fuzzer, started by command",
    "test/deno/std_assert.ts": "the test command's import map names it where JSR is out of reach",
  },
};
