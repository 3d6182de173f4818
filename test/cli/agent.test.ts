/** `covey agent` as a process: ready, drained, refused. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { Raft } from "../../src/gen/covey/raft/v1/raft_pb.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { openChannel } from "../../src/standalone.ts";
import { createClient } from "../../src/ttrpc/client.ts";
import { version } from "../../src/version.ts";
import { runCli, spawnCli } from "../support/cli.ts";
import { anyPorts, inFolder, withAgent } from "./agent_support.ts";

const bound = /^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/;

test("agent: with --dev it says where it serves, and keeps nothing", () =>
  inFolder((directory) =>
    withAgent(["--dev", ...anyPorts, "--node-name", "kiosk-1"], async (agent) => {
      const { ready } = agent;
      assert.deepEqual(Object.keys(ready), ["event", "name", "nodeId", "pid", "listeners"]);
      assert.equal(ready.name, "kiosk-1");
      assert.match(ready.nodeId, /^[0-9a-f]{32}$/);
      assert.deepEqual(Object.keys(ready.listeners), ["mesh", "admin"]);
      assert.match(ready.listeners.mesh, bound);
      const live = await fetch(`${ready.listeners.admin}/livez`);
      assert.equal(live.status, 200);
      await live.body?.cancel();
      using channel = await openChannel(ready.listeners.mesh);
      assert.equal((await createClient(Health, channel).check({})).status, 1);
      agent.signal("SIGTERM");
      assert.deepEqual(await agent.ended, { code: 0, signal: null });
      assert.deepEqual(readdirSync(directory), []);
      const log = agent.log();
      assert.deepEqual(
        log.filter(({ component }) => component === "node").map((one) => one.message),
        [
          ...["ready", "draining", "stopped"],
        ],
      );
      for (const line of log) assert.equal(line.node, "kiosk-1");
    }, { directory })
  ));

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
  test(`agent: ${signal} drains: a stream in flight is told, then it exits 0`, () =>
    inFolder((folder) =>
      withAgent([...anyPorts, "--data", `${folder}/data`], async (agent) => {
        using channel = await openChannel(agent.ready.listeners.local, { peer: "covey" });
        const health = createClient(Health, channel);
        const watch = health.watch({})[Symbol.asyncIterator]();
        assert.equal((await watch.next()).value?.status, 1);
        agent.signal(signal);
        assert.equal((await watch.next()).value?.status, 2, "NOT_SERVING before the end");
        await assert.rejects(watch.next(), (error) =>
          error instanceof CoveyError && error.code === Code.unavailable);
        assert.deepEqual(await agent.ended, { code: 0, signal: null });
        assert.deepEqual(readdirSync(`${folder}/data`).sort(), [
          ...["cluster.json", "lock", "membership", "node.json", "raft"],
        ]);
      })
    ));
}

test("agent: one that is to end with its starter does so, drained, however that ends", () =>
  inFolder((folder) =>
    withAgent(
      [...anyPorts, "--data", `${folder}/data`, "--while-input-lasts"],
      async (agent) => {
        agent.closeInput();
        assert.deepEqual(await agent.ended, { code: 0, signal: null });
        assert.ok(!readdirSync(`${folder}/data`).includes("covey.sock"));
      },
    )
  ));

test("agent: a second one on the same data exits with one line, the first goes on", () =>
  inFolder((folder) =>
    withAgent([...anyPorts, "--data", `${folder}/data`], async (agent) => {
      const second = await runCli(["agent", ...anyPorts, "--data", `${folder}/data`]);
      assert.equal(
        second.stderr,
        `covey: data directory ${folder}/data is in use by another covey agent: stop that one, or ` +
          "give this one a folder of its own as node.data (failed_precondition)\n",
      );
      assert.deepEqual([second.code, second.stdout], [1, ""]);
      using channel = await openChannel(agent.ready.listeners.local);
      assert.equal((await createClient(Health, channel).check({})).status, 1);
    })
  ));

test("agent: kill -9 and a new start keep the node id and take the socket over", () =>
  inFolder(async (folder) => {
    const args = [...anyPorts, "--data", `${folder}/data`];
    const first = await withAgent(args, async ({ ready, signal, ended }) => {
      signal("SIGKILL");
      assert.deepEqual(await ended, { code: null, signal: "SIGKILL" });
      return ready;
    });
    assert.ok(
      readdirSync(`${folder}/data`).includes("covey.sock"),
      "a killed agent cleans nothing",
    );
    await withAgent(args, async ({ ready }) => {
      assert.equal(ready.nodeId, first.nodeId);
      assert.equal(ready.listeners.local, first.listeners.local);
      using channel = await openChannel(ready.listeners.local);
      assert.equal((await createClient(Health, channel).check({})).status, 1);
    });
  }));

test("agent: what cannot be served or kept ends it with one line that names the thing", () =>
  inFolder((folder) =>
    withAgent(["--dev", ...anyPorts], async ({ ready }) => {
      const { mesh, admin } = ready.listeners;
      const adminTcp = admin.replace("http:", "tcp:");
      const data = `${folder}/data`;
      writeFileSync(`${folder}/file`, "");
      const cases: [args: string[], code: number, line: RegExp][] = [
        [
          ["--listen", mesh, "--admin-listen", "tcp://127.0.0.1:0", "--data", data],
          1,
          new RegExp(
            `^covey: cannot listen on ${mesh} \\(node\\.listen\\): another process listens`,
          ),
        ],
        [
          ["--listen", "tcp://127.0.0.1:0", "--admin-listen", adminTcp, "--data", data],
          1,
          new RegExp(
            `^covey: cannot listen on ${adminTcp} \\(admin\\.listen\\): another process l`,
          ),
        ],
        [
          [...anyPorts, "--data", `${folder}/file`],
          1,
          /^covey: data directory .*\/file is not a folder: name another one as node\.data /,
        ],
        [
          [...anyPorts, "--data", `${folder}/${"x".repeat(90)}`],
          3,
          /^--data: node\.data: found .* makes the path of a unix socket \d+ bytes long; allowed: up/,
        ],
        [
          [...anyPorts, "--data", `${folder}/file/x`],
          1,
          /^covey: data directory .*\/file\/x is not a folder: /,
        ],
        [
          ["--dev", "--listen", "tcp://0.0.0.0:0"],
          3,
          /^--listen: node\.listen\[0\]: found "tcp:\/\/0\.0\.0\.0:0", which is beyond loopback/,
        ],
        [["--dev", "--listen", "127.0.0.1:1"], 3, /^--listen: node\.listen\[0\]: .*missing scheme/],
        [["--config", `${folder}/none.toml`], 3, /none\.toml: there is no such file; /],
        [["--set", "rpc.drain_timeout=soon"], 3, /^--set rpc\.drain_timeout: .*found "soon"/],
        [["--lisen", "x"], 2, /^covey: there is no flag --lisen; did you mean --listen\?/],
      ];
      // Where the kernel makes no folders, not even for root.
      if (existsSync("/sys")) {
        const denied =
          /^covey: data directory \/sys\/covey-test is not writable .* grant access to it/;
        cases.push([[...anyPorts, "--data", "/sys/covey-test"], 5, denied]);
      }
      for (const [args, code, line] of cases) {
        const run = await runCli(["agent", ...args]);
        assert.match(run.stderr, line);
        const lines = run.stderr.trimEnd().split("\n");
        assert.equal(lines.length, code === 2 ? 2 : 1, run.stderr);
        assert.deepEqual([run.code, run.stdout], [code, ""], run.stderr);
      }
    })
  ));

test("agent: addresses are absolute, for whoever was started elsewhere", () =>
  inFolder(async (directory) => {
    mkdirSync(`${directory}/x`);
    const listen = ["--listen", "unix:./a.sock", "--admin-listen", "tcp://127.0.0.1:0"];
    await withAgent([...listen, "--data", "x/../data//"], async (agent) => {
      const { mesh, local } = agent.ready.listeners;
      // The temporary folder may itself be behind a link, which the process sees through.
      const whole = realpathSync(directory);
      assert.equal(mesh, `unix:${whole}/a.sock`);
      assert.equal(local, `unix:${whole}/x/../data/covey.sock`);
      using channel = await openChannel(local);
      assert.equal((await createClient(Health, channel).check({})).status, 1);
      agent.signal("SIGTERM");
      assert.deepEqual(await agent.ended, { code: 0, signal: null });
    }, { directory });
    const data = "d".repeat(107 - directory.length);
    for (const flags of [["--data", data], ["--dev", "--listen", `unix:${data}`]]) {
      const long = await runCli(["agent", ...flags], { directory });
      assert.equal(long.code, 3);
      assert.match(
        long.stderr,
        /^--(data|listen): .* socket 1\d\d bytes long; allowed: up to 107, /,
      );
    }
  }));

test("agent: without --json a person is told where it serves and what to try next", async () => {
  // Port 0 a second time gives another port.
  const more = ["--listen", "tcp://127.0.0.1:0"];
  const child = spawnCli(["agent", "--dev", ...anyPorts, ...more, "--node-name", "x"]);
  const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
  let shown = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
    if (shown.includes("curl -H")) process.kill(child.pid!, "SIGTERM");
  });
  child.stderr?.resume();
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(limit);
  assert.equal(code, 0, shown);
  const mesh = /^ {2}rpc {4}(tcp:\S+)$/m.exec(shown)?.[1];
  const second = /^ {9}(tcp:\S+)$/m.exec(shown)?.[1];
  assert.notEqual(second, mesh);
  const admin = /^ {2}admin {2}(http:\S+)$/m.exec(shown)?.[1];
  assert.equal(
    shown,
    [
      `covey ${version} node x is ready`,
      `  rpc    ${mesh}`,
      `         ${second}`,
      `  admin  ${admin}`,
      "try, in another terminal:",
      `  covey kv put greeting hello --node ${mesh}`,
      `  covey kv get greeting --node ${mesh}`,
      `  covey call ${mesh} covey.node.v1.Node/Info '{}'`,
      `  curl ${admin}/v1/status`,
      `  curl -H 'content-type: application/json' -d '{}' ${admin}/covey.node.v1.Node/Info\n`,
    ].join("\n"),
  );
});

test(
  "agent: an idle one writes nothing to disk",
  { skip: noProc() },
  () =>
    inFolder((folder) =>
      withAgent([...anyPorts, "--data", `${folder}/data`], async ({ ready, logged }) => {
        await logged("ready");
        const data = `${folder}/data`;
        const look = () => ({
          written: /^write_bytes: (\d+)$/m.exec(readFileSync(`/proc/${ready.pid}/io`, "utf8"))?.[1],
          files: readdirSync(data).sort().map((name) => {
            const { ino, size, mtimeMs, ctimeMs } = statSync(`${data}/${name}`);
            return { name, ino, size, mtimeMs, ctimeMs };
          }),
          folder: statSync(data).mtimeMs,
        });
        assert.ok(Number(look().written) >= 0);
        using channel = await openChannel(ready.listeners.local, {
          peer: "covey",
          limits: { keepaliveIntervalMs: 1000 },
        });
        await channel.connect();
        const raft = createClient(Raft, channel);
        // Two sweeps of the server's connections, which come every second, are behind the watcher's
        // keepalive: the agent was idle, and not merely asked too early.
        const twoSweeps = () => {
          const start = channel.counters.receivedBytesTotal;
          return new Promise<void>((resolve) => {
            const timer = setInterval(() => {
              if (channel.counters.receivedBytesTotal < start + 20) return;
              clearInterval(timer);
              resolve();
            }, 50);
          });
        };
        // What founding a cluster of one takes is written at the beginning.
        let before = look();
        for (let tries = 0; tries < 5; tries++) {
          await twoSweeps();
          const { groups: [group] } = await raft.status({});
          const isFounded = group !== undefined && group.appliedIndex > 0n &&
            group.appliedIndex === group.lastIndex;
          const after = look();
          if (isFounded && JSON.stringify(after) === JSON.stringify(before)) break;
          before = after;
        }
        await twoSweeps();
        assert.deepEqual(look(), before);
      })
    ),
);

/** Counters of another process's writes are Linux's, and only for whoever may trace it. */
function noProc(): string | false {
  try {
    readFileSync("/proc/self/io");
    return false;
  } catch {
    return "/proc/self/io cannot be read here";
  }
}
