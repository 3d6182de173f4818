/** What failed or ended leaves nothing behind in the system. */
import assert from "node:assert/strict";
import type { Address } from "../../src/base/address.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { compliance, type Harness, pass, within, type World } from "./harness.ts";
import { anyTcp, connectTo, listenOn, Probe, text } from "./probe.ts";
import { Output } from "./programs.ts";
import { tlsOptions } from "./tls_support.ts";

/** Declares the cases of this area. */
export function leakCompliance(harness: Harness): void {
  memoryCases(harness);

  compliance(
    harness,
    "leaks: what fails leaves no descriptor open",
    async (world) => {
      const attempts = await makeAttempts(world);
      // What is loaded or opened once, at the first use, is no leak.
      for (const attempt of attempts) await assert.rejects(attempt(), `${attempt}`);
      const before = await steady(world.runtime, world.openDescriptors!);
      for (let round = 0; round < 20; round++) {
        for (const attempt of attempts) await assert.rejects(attempt(), `${attempt}`);
      }
      const after = await steady(world.runtime, world.openDescriptors!);
      assert.ok(after <= before, `${before} were open before, ${after} after`);
    },
    "unixFiles",
    "tls",
    "udp",
    "http",
    "child",
    "processTable",
  );

  compliance(
    harness,
    "leaks: children that nobody waits for leave nothing",
    async (world) => {
      const { runtime } = world;
      const run = async (): Promise<void> => {
        await runtime.host.spawn(world.program!("exit", "3"));
        const options = { stdin: true, stdout() {}, stderr() {} };
        await runtime.host.spawn({ ...world.program!("exit", "0"), ...options });
      };
      await run();
      await untilNone(runtime, world.children!);
      const before = await steady(runtime, world.openDescriptors!);
      for (let round = 0; round < 5; round++) await run();
      await untilNone(runtime, world.children!);
      const after = await steady(runtime, world.openDescriptors!);
      assert.ok(after <= before, `${before} were open before, ${after} after`);
    },
    "child",
    "processTable",
  );
}

/** Declares the case of memory. */
function memoryCases(harness: Harness): void {
  compliance(
    harness,
    "leaks: who leaves during a TLS handshake leaves nothing",
    async (world) => {
      const { runtime } = world;
      const { authorities, good } = await world.certificates!();
      const args = [authorities, good.certificate, good.key];
      const stdout = new Output();
      const stderr = new Output();
      const child = await runtime.host.spawn({
        ...world.collectingProgram!("left", ...args),
        stdout: stdout.take,
        stderr: stderr.take,
      });
      const exit = await within(runtime, "the program", child.exit);
      assert.deepEqual(exit, { code: 0, signal: null }, stderr.text());
      // A thousand of them: kept, they were 13 MB on Deno.
      const bytes = Number(stdout.text());
      assert.ok(bytes < 4_000_000, `${bytes} bytes are left`);
    },
    "tls",
    "child",
    "collector",
  );
}

/** Things that fail, each in a way of its own. */
async function makeAttempts(world: World): Promise<(() => Promise<unknown>)[]> {
  const { runtime, directory } = world;
  const { net, http, disk, host } = runtime;
  const set = await world.certificates!();
  const tls = tlsOptions(set, set.good, { serverName: "localhost" });
  const probe = new Probe(runtime, { end: (side) => side.connection.close() });
  const plain = await net.listen(listenOn(anyTcp, probe));
  const secure = await net.listen(listenOn(anyTcp, probe, { tls }));
  // The last to be made: its port must not be given to another one.
  const dead = await net.listen(listenOn(anyTcp, probe));
  dead.stop();
  const file = `${directory}/file`;
  await disk.replaceFile(file, text("x"));
  await disk.makeDirectory(`${directory}/folder`);
  const unix: Address = { kind: "unix", path: file };
  const dial = (address: Address, more = {}) => connectTo(runtime, address, probe, more);
  const local = { host: "127.0.0.1", port: (plain.address as { port: number }).port };
  const handler = { message() {}, error() {} };
  const fetch = () => new Response();
  const late = { tls, timeoutMs: 20 };
  const other = { ...tls, serverName: "elsewhere.example" };
  return [
    () => dial(dead.address),
    () => dial(unix),
    // A server that never shakes hands, one of another name, and one that is told nothing good.
    () => dial(plain.address, late),
    () => dial(secure.address, { tls: other }),
    () => dial(secure.address, { tls: { ...tls, verifyPeer: () => "nobody" } }),
    () => dial(plain.address, { signal: AbortSignal.abort() }),
    () => net.listen(listenOn(plain.address, probe)),
    () => net.listen(listenOn(unix, probe)),
    () => net.listen(listenOn(anyTcp, probe, { tls: { ...tls, key: set.renewed.key } })),
    () => net.bindUdp({ ...local, host: "192.0.2.1", handler }),
    () => net.bindUdp({ ...local, port: 0, multicast: { group: "127.0.0.1" }, handler }),
    () => http.serve({ ...local, bodyBytesMax: 0, fetch }),
    () => disk.open(`${file}/x`, { read: true }),
    () => disk.open(directory, { write: true }),
    () => disk.readFile(file, 0),
    () => disk.readFile(directory, 100),
    () => disk.replaceFile(`${directory}/folder`, text("x")),
    () => disk.syncDirectory(file),
    () => disk.lock(`${directory}/none/lock`),
    () => host.spawn({ command: "covey-no-such-program", args: [], stdin: true, stdout() {} }),
  ];
}

/** Waits until a number stays the same for a while: the system closes some things a little later. */
async function steady(runtime: Runtime, read: () => number): Promise<number> {
  let least = read();
  for (let quiet = 0; quiet < 10; quiet++) {
    await pass(runtime, 20);
    const now = read();
    if (now !== least) quiet = 0;
    least = now;
  }
  return least;
}

async function untilNone(runtime: Runtime, read: () => readonly string[]): Promise<void> {
  for (let round = 0; round < 500 && read().length > 0; round++) await pass(runtime, 20);
  assert.deepEqual(read(), []);
}
