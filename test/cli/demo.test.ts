/** `covey demo` as a process: its nodes are killed and come back, and never outlive it. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, rmSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { Raft } from "../../src/gen/covey/raft/v1/raft_pb.ts";
import { openChannel } from "../../src/standalone.ts";
import { createClient } from "../../src/ttrpc/client.ts";
import { runCli, spawnCli } from "../support/cli.ts";
import { gone, isAlive, withDemo } from "./demo_support.ts";

test("demo: a killed leader is replaced, started again and taken back; SIGTERM leaves nothing", () =>
  withDemo([], async ({ ready, next, signal, ended }) => {
    assert.deepEqual(ready.nodes.map(({ name }) => name), ["node-1", "node-2", "node-3"]);
    assert.ok(readdirSync(ready.folder).includes("node-3.log"));
    const victim = ready.nodes.find(({ name }) => name === ready.leader);
    assert.ok(victim, "the leader is one of the nodes");
    process.kill(victim.pid, "SIGKILL");
    assert.deepEqual(await next(({ event }) => event === "down"), {
      event: "down",
      name: victim.name,
      code: null,
      signal: "SIGKILL",
    });
    const { leader, term } = await next(({ event, leader }) =>
      event === "leader" && leader !== null
    );
    assert.notEqual(leader, victim.name);
    assert.ok(Number(term) > ready.term);
    const up = await next(({ event }) => event === "up");
    assert.equal(up.name, victim.name);
    assert.notEqual(up.pid, victim.pid);

    using channel = await openChannel(victim.listeners.local, { peer: "covey" });
    const status = await createClient(Raft, channel).status({});
    assert.equal(status.nodeId, victim.nodeId, "it is the node that it was");
    assert.deepEqual(status.groups[0].voters, [1n, 2n, 3n]);

    const pids = [...ready.nodes.map(({ pid }) => pid), Number(up.pid)];
    signal("SIGTERM");
    assert.deepEqual(await ended, { code: 0, stderr: "" });
    assert.deepEqual(pids.filter(isAlive), []);
    assert.ok(!existsSync(ready.folder), "its data went with it");
  }));

test("demo: its nodes end when it is killed with -9", () =>
  withDemo(["--nodes", "2"], async ({ ready, signal, ended }) => {
    signal("SIGKILL");
    await ended;
    await gone(ready.nodes.map(({ pid }) => pid));
    rmSync(ready.folder, { recursive: true });
  }));

test("demo: a reader that goes away ends it without a word, and without a trace", () =>
  withDemo(["--nodes", "1"], async ({ child, ready, ended }) => {
    child.stdout?.destroy();
    process.kill(ready.nodes[0].pid, "SIGKILL");
    assert.deepEqual(await ended, { code: 1, stderr: "" });
    assert.ok(!existsSync(ready.folder));
  }));

test("demo: without --json a person is told what to try, and what changes", async () => {
  const child = spawnCli(["demo", "--nodes", "1"]);
  const limit = setTimeout(() => child.kill("SIGKILL"), 30_000);
  let shown = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
    if (/leads in term \d+\n$/.test(shown)) process.kill(child.pid!, "SIGINT");
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(limit);
  assert.equal(code, 0, shown);
  const [, folder] = /its data is in (\S+) and goes with it/.exec(shown) ?? [];
  assert.ok(!existsSync(folder));
  const [, pid, mesh] = /^ {2}node-1 {2}pid (\d+) {2}(tcp:\S+) {2}http:\S+$/m.exec(shown) ?? [];
  for (
    const line of [
      "starting a node",
      `  export COVEY_NODE=${mesh}`,
      "  covey kv put greeting hello",
      "  covey members --watch    who takes part",
      `  kill -9 ${pid}    the leader: `,
      `1 of 1 nodes up, node-1 (pid ${pid}) leads in term `,
    ]
  ) {
    assert.ok(shown.includes(line), `${line} in ${shown}`);
  }
});

test("demo: bad numbers of nodes", async () => {
  for (const nodes of ["0", "10", "three", "1.5"]) {
    const { code, stderr } = await runCli(["demo", "--nodes", nodes]);
    assert.equal(code, 2);
    assert.match(stderr, /^covey: --nodes "[^"]*": give a whole number, 1 to 9\n/);
  }
});
