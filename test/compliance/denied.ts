/** What the system or the runtime's user forbids: `denied`, whatever was tried. */
import assert from "node:assert/strict";
import type { Runtime } from "../../src/runtime/port.ts";
import { compliance, type Harness, within } from "./harness.ts";
import { listenOn, Probe } from "./probe.ts";
import { Output } from "./programs.ts";

/** Runs a program of the suite that prints kinds of errors. */
async function kindsOf(
  runtime: Runtime,
  program: { command: string; args: string[] },
): Promise<Record<string, string>> {
  const stdout = new Output();
  const stderr = new Output();
  const streams = { stdout: stdout.take, stderr: stderr.take };
  const child = await runtime.host.spawn({ ...program, ...streams });
  const exit = await within(runtime, "the program", child.exit);
  assert.deepEqual(exit, { code: 0, signal: null }, stderr.text());
  return JSON.parse(stdout.text());
}

function assertAllDenied(kinds: Record<string, string>, count: number): void {
  assert.equal(Object.keys(kinds).length, count);
  const others = Object.entries(kinds).filter(([, kind]) => kind !== "denied");
  assert.deepEqual(others, []);
}

/** Declares the cases of this area. */
export function deniedCompliance(harness: Harness): void {
  compliance(
    harness,
    "denied: sockets, folders and files that the system forbids",
    async (world) => {
      const { runtime, directory } = world;
      const path = `${directory}/socket`;
      const server = new Probe(runtime);
      const listener = await runtime.net.listen(listenOn({ kind: "unix", path }, server));
      const locked = `${directory}/locked`;
      await runtime.disk.makeDirectory(locked);
      world.forbid!(path);
      world.forbid!(locked);
      const program = world.unprivilegedProgram!("forbidden", path, locked);
      assertAllDenied(await kindsOf(runtime, program), 7);
      assert.equal(server.sides.length, 0);
      listener.stop();
    },
    "unixFiles",
    "child",
    "unprivileged",
  );

  compliance(
    harness,
    "denied: ports that are the superuser's",
    async (world) => {
      assertAllDenied(await kindsOf(world.runtime, world.unprivilegedProgram!("ports")), 3);
    },
    "child",
    "privilegedPort",
  );

  compliance(
    harness,
    "denied: what the runtime's user did not grant",
    async (world) => {
      const { authorities, good } = await world.certificates!();
      const args = [`${world.directory}/x`, authorities, good.certificate, good.key];
      const program = world.ungrantedProgram!("ungranted", ...args);
      assertAllDenied(await kindsOf(world.runtime, program), 17);
    },
    "child",
    "tls",
    "permissions",
  );
}
