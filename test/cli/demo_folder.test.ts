/** Where `covey demo` keeps its data, and where it refuses to. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { test } from "node:test";
import { Code } from "../../src/base/error.ts";
import { makeDemoFolder } from "../../src/cli/demo/folder.ts";
import { failure, runtime } from "../node/support.ts";
import { runCli } from "../support/cli.ts";

test("demo: a TMPDIR that is missing is refused and not made", async () => {
  const missing = `${tmpdir()}/covey-test-missing-${process.pid}`;
  const { code, stderr } = await runCli(["demo"], { environment: { TMPDIR: missing } });
  assert.equal(code, 1);
  assert.match(stderr, /^covey: \S+missing-\d+ is no folder, and the demo keeps its data below it/);
  assert.ok(!existsSync(missing));
});

test("demo: a disk without room for the nodes is refused by name, before anything is made", async () => {
  const made: string[] = [];
  const withRoom = (freeBytes: number) => {
    const disk = new Proxy(runtime.disk, {
      get: (target, name) => {
        if (name === "freeBytes") return () => Promise.resolve(freeBytes);
        if (name === "makeDirectory") return (path: string) => Promise.resolve(made.push(path));
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    return { ...runtime, disk };
  };
  for (const mib of [8, 14, 64, 99]) {
    await failure(
      makeDemoFolder(withRoom(mib << 20), 3),
      Code.resourceExhausted,
      /^the disk of \S+ has \S+ \S+ free, and the demo needs 100(\.0)? MiB: make room there, or /,
    );
  }
  assert.deepEqual(made, []);
  const folder = await makeDemoFolder(withRoom(100 << 20), 3);
  assert.match(folder, /\/covey-demo-[0-9a-f]{12}$/);
  assert.deepEqual(made, [folder]);
});
