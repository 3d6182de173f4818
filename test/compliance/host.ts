/** The process itself, and its children. */
import assert from "node:assert/strict";
import type { Child, Runtime, SpawnOptions } from "../../src/runtime/port.ts";
import { compliance, type Harness, kindOf, pattern, sameBytes, within } from "./harness.ts";
import { connectTo, Probe, text } from "./probe.ts";
import { Output } from "./programs.ts";

/** Declares the cases of this area. */
export function hostCompliance(harness: Harness): void {
  selfCases(harness);
  outputCases(harness);
  inputCases(harness);
  endCases(harness);
  lockCases(harness);
  descriptorCases(harness);
}

/** A child with its output. */
interface Run {
  readonly child: Child;
  readonly stdout: Output;
  readonly stderr: Output;
}

async function start(
  runtime: Runtime,
  program: { command: string; args: string[] },
  more: Partial<SpawnOptions> = {},
): Promise<Run> {
  const stdout = new Output();
  const stderr = new Output();
  const streams = { stdout: stdout.take, stderr: stderr.take };
  const child = await runtime.host.spawn({ ...program, ...streams, ...more });
  return { child, stdout, stderr };
}

function selfCases(harness: Harness): void {
  // deno-lint-ignore require-await -- the case's form
  compliance(harness, "host: what a process knows about itself", async ({ runtime }) => {
    const { host } = runtime;
    assert.ok(Number.isInteger(host.pid) && host.pid > 0);
    assert.ok(host.hostname.length > 0);
    assert.ok(host.architecture === "x64" || host.architecture === "arm64", host.architecture);
    assert.ok(host.executable.length > 0);
    assert.match(host.directory, /^\//);
    assert.ok(Number.isInteger(host.descriptorsMax) && host.descriptorsMax > 16);
    const { rssBytes, heapUsedBytes, heapTotalBytes } = host.memory();
    assert.ok(rssBytes > 0 && heapUsedBytes > 0 && heapTotalBytes > 0);
    assert.equal(host.collectGarbage(), undefined);
    for (const stream of ["stdin", "stdout", "stderr"] as const) {
      assert.equal(typeof host.isTerminal(stream), "boolean");
    }
    assert.equal(host.environment("COVEY_TEST_MISSING"), undefined);
    assert.deepEqual(host.environmentNames("COVEY_TEST_MISSING"), []);
  });

  compliance(harness, "host: arguments and environment reach a child", async (world) => {
    const { runtime } = world;
    const program = world.program!("about", "one", "two words", "");
    const path = runtime.host.environment("PATH") ?? "";
    const { child, stdout } = await start(runtime, program, {
      environment: { PATH: path, COVEY_TEST_VARIABLE: "välue", COVEY_TEST_OTHER: "" },
    });
    assert.deepEqual(await within(runtime, "the exit", child.exit), { code: 0, signal: null });
    const about = JSON.parse(stdout.text());
    assert.deepEqual(about.args, ["about", "one", "two words", ""]);
    assert.equal(about.pid, child.pid);
    assert.equal(about.variable, "välue");
    assert.equal(about.missing, null);
    assert.deepEqual([...about.names].sort(), ["COVEY_TEST_OTHER", "COVEY_TEST_VARIABLE"]);
    assert.equal(about.terminal, false);
  }, "child");
}

function outputCases(harness: Harness): void {
  compliance(harness, "host: all of a child's output comes before its exit", async (world) => {
    const { runtime } = world;
    const run = await start(runtime, world.program!("print", "1000000"));
    assert.deepEqual(await within(runtime, "the exit", run.child.exit), { code: 0, signal: null });
    sameBytes(run.stdout.bytes, pattern(1_000_000), "output");
    assert.equal(run.stderr.text(), "printed\n");
  }, "child");

  compliance(harness, "host: output that nobody asked for is dropped", async (world) => {
    const { runtime } = world;
    const child = await runtime.host.spawn(world.program!("print", "300000"));
    assert.deepEqual(await within(runtime, "the exit", child.exit), { code: 0, signal: null });
  }, "child");

  compliance(
    harness,
    "host: output keeps its order, in a pipe and in a file",
    async (world) => {
      const { runtime, directory } = world;
      const lines = Array.from({ length: 50 }, (_, index) => `${index} `.repeat(index * 7) + "\n");
      const expected = lines.join("") + "end\n";
      const piped = await start(runtime, world.program!("lines"));
      assert.equal((await within(runtime, "the exit", piped.child.exit)).code, 0);
      assert.equal(piped.stdout.text(), expected);
      const path = `${directory}/output`;
      await runtime.disk.replaceFile(path, text("before\n"));
      const redirected = await start(runtime, world.redirectedProgram!(path, "lines"));
      assert.equal((await within(runtime, "the exit", redirected.child.exit)).code, 0);
      const written = await runtime.disk.readFile(path, 1 << 20);
      sameBytes(written, text(`before\n${expected}`), "file");
    },
    "child",
    "brokenPipe",
  );

  compliance(harness, "host: writing to a broken pipe is reset", async (world) => {
    const { runtime } = world;
    const run = await start(runtime, world.brokenPipeProgram!("broken"));
    assert.equal((await within(runtime, "the exit", run.child.exit)).code, 0);
    assert.equal(run.stderr.text(), "reset\n");
  }, "brokenPipe");
}

function inputCases(harness: Harness): void {
  compliance(harness, "host: standard input reaches a child, to its end", async (world) => {
    const { runtime } = world;
    const run = await start(runtime, world.program!("copy"), { stdin: true });
    await run.child.write(text("hello "));
    await within(runtime, "the echo", run.stdout.has("hello "));
    const bytes = pattern(500_000);
    await run.child.write(bytes);
    run.child.closeStdin();
    assert.deepEqual(await within(runtime, "the exit", run.child.exit), { code: 0, signal: null });
    sameBytes(run.stdout.bytes.subarray(6), bytes, "output");
  }, "child");

  compliance(harness, "host: without stdin a child's input is empty", async (world) => {
    const { runtime } = world;
    const run = await start(runtime, world.program!("copy"));
    assert.deepEqual(await within(runtime, "the exit", run.child.exit), { code: 0, signal: null });
    assert.equal(run.stdout.bytes.length, 0);
  }, "child");

  compliance(harness, "host: input for a child that is gone is an error", async (world) => {
    const { runtime } = world;
    const run = await start(runtime, world.program!("exit", "0"), { stdin: true });
    await within(runtime, "the exit", run.child.exit);
    assert.equal(await kindOf(run.child.write(text("late"))), "reset");
    run.child.closeStdin();
  }, "child");
}

function endCases(harness: Harness): void {
  compliance(harness, "host: exit codes", async (world) => {
    const { runtime } = world;
    for (const code of [0, 1, 3, 255]) {
      const { child } = await start(runtime, world.program!("exit", `${code}`));
      assert.deepEqual(await within(runtime, "the exit", child.exit), { code, signal: null });
    }
    const quit = await start(runtime, world.program!("quit"));
    assert.deepEqual(await within(runtime, "the exit", quit.child.exit), { code: 9, signal: null });
    assert.equal(quit.stdout.text(), "before\n");
  }, "child");

  compliance(harness, "host: a signal is handled, or ends the child", async (world) => {
    const { runtime } = world;
    const handled = await start(runtime, world.program!("wait"));
    await within(runtime, "ready", handled.stdout.has("ready"));
    handled.child.kill("SIGTERM");
    assert.deepEqual(await within(runtime, "the exit", handled.child.exit), {
      code: 7,
      signal: null,
    });
    assert.equal(handled.stdout.text(), "ready\ngot SIGTERM\n");
    assert.equal(handled.stderr.text(), "");
    for (const signal of ["SIGKILL", "SIGHUP"] as const) {
      const killed = await start(runtime, world.program!("wait"));
      await within(runtime, "ready", killed.stdout.has("ready"));
      killed.child.kill(signal);
      assert.deepEqual(await within(runtime, "the exit", killed.child.exit), {
        code: null,
        signal,
      });
      // Too late, and harmless.
      killed.child.kill("SIGTERM");
    }
  }, "child");

  compliance(harness, "host: a stopped child waits to be continued", async (world) => {
    const { runtime } = world;
    const run = await start(runtime, world.program!("copy"), { stdin: true });
    await run.child.write(text("one."));
    await within(runtime, "the echo", run.stdout.has("one."));
    run.child.kill("SIGSTOP");
    await run.child.write(text("two."));
    await new Promise((resolve) => void runtime.clock.timer(50, resolve, undefined));
    assert.equal(run.stdout.text(), "one.");
    run.child.kill("SIGCONT");
    await within(runtime, "the echo", run.stdout.has("two."));
    run.child.closeStdin();
    await within(runtime, "the exit", run.child.exit);
  }, "child");

  compliance(harness, "host: a program that does not exist is not-found", async ({ runtime }) => {
    const spawned = runtime.host.spawn({ command: "covey-no-such-program", args: [] });
    assert.equal(await kindOf(spawned), "not-found");
  }, "child");
}

function lockCases(harness: Harness): void {
  compliance(harness, "host: the lock goes with the process that held it", async (world) => {
    const { runtime } = world;
    const path = `${world.directory}/lock`;
    const run = await start(runtime, world.program!("lock", path));
    await within(runtime, "the lock", run.stdout.has("locked"));
    assert.equal(await kindOf(runtime.disk.lock(path)), "busy");
    run.child.kill("SIGKILL");
    await within(runtime, "the exit", run.child.exit);
    const lock = await runtime.disk.lock(path);
    // And a child that is alive does not inherit it.
    const child = await start(runtime, world.program!("wait"));
    await within(runtime, "ready", child.stdout.has("ready"));
    await lock.release();
    const again = await runtime.disk.lock(path);
    await again.release();
    child.child.kill("SIGKILL");
    await within(runtime, "the exit", child.child.exit);
  }, "child");
}

function descriptorCases(harness: Harness): void {
  compliance(harness, "disk: without a descriptor, what opens fails with limit", async (world) => {
    const { runtime, directory } = world;
    const run = await start(runtime, world.limitedProgram!(64, "openings", directory));
    assert.equal((await within(runtime, "the exit", run.child.exit)).code, 0, run.stderr.text());
    assert.deepEqual(JSON.parse(run.stdout.text()), {
      first: "limit",
      open: "limit",
      readFile: "limit",
      replaceFile: "limit",
      list: "limit",
      syncDirectory: "limit",
    });
  }, "descriptorLimit");

  compliance(harness, "host: connections stop below the limit of descriptors", async (world) => {
    const { runtime } = world;
    const run = await start(runtime, world.limitedProgram!(256, "accept", "300"));
    await within(runtime, "the port", run.stdout.has("\n"));
    const { port, descriptorsMax } = JSON.parse(run.stdout.text());
    assert.equal(descriptorsMax, 256);
    const address = { kind: "tcp", host: "127.0.0.1", port } as const;
    const client = new Probe(runtime);
    for (let index = 0; index < 300; index++) await connectTo(runtime, address, client);
    assert.equal((await within(runtime, "the exit", run.child.exit)).code, 0);
    const { connections, refused } = JSON.parse(run.stdout.text().split("\n")[1]);
    assert.equal(connections + refused, 300, `${connections} and ${refused}`);
    assert.ok(refused >= 64 && connections > 100, `${connections} and ${refused}`);
    for (const side of client.sides) side.connection.abort();
  }, "descriptorLimit");
}
