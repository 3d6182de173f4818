/** docs/quickstart.md and the README's TypeScript, as a reader would follow them. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type Block,
  freePorts,
  isDeno,
  noPackages,
  readBlocks,
  withScene,
} from "./import_support.ts";

const npmOutOfReach = isDeno ? await noPackages() : false;
const blocks = readBlocks("docs/quickstart.md");
const ports = [7946, 7947, 7980];
const used = new Set<Block>();

function named(name: string): Block {
  const block = blocks.find((one) => one.name === name);
  assert.ok(block !== undefined, `docs/quickstart.md has no block ${name}`);
  used.add(block);
  return block;
}

/** The first shell block that contains this. */
function shell(text: string): string {
  const block = blocks.find((one) => one.language === "sh" && one.text.includes(text));
  assert.ok(block !== undefined, `docs/quickstart.md has no shell block with ${text}`);
  used.add(block);
  return block.text;
}

/** How this runtime runs a program of the user's folder. */
const run = isDeno ? "deno run --allow-net=127.0.0.1" : "bun";

test("quickstart: a node to try things with", () =>
  withScene(ports, async (scene) => {
    // What the document leaves to the defaults, here on free ports.
    const addresses = " --listen tcp://127.0.0.1:7946 --admin-listen tcp://127.0.0.1:7980";
    const node = scene.start(shell("agent --dev").trim() + addresses);
    await node.printed("is ready");
    const { code, stdout, stderr } = await scene.run(shell("--list"));
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^covey\.node\.v1\.Node\/Info \(covey\.node\.v1\.InfoRequest\) -> /m);
    assert.match(stdout, /\n\{"status":"SERVING"\}\n/);
    assert.equal(stdout.match(/"nodeId":\s?"[0-9a-f]{32}"/g)?.length, 3, stdout);
    assert.equal(await node.terminate(), 0);
    assert.deepEqual(readdirSync(scene.folder), []);
  }));

test("quickstart: a node that lasts", () =>
  withScene(ports, async (scene) => {
    const lines = shell("config init").trim().split("\n");
    const start = lines.pop() as string;
    const prepared = await scene.run(lines.join("\n"));
    assert.deepEqual([prepared.code, prepared.stdout], [0, "covey.toml: ok\n"], prepared.stderr);
    const addresses = " --listen tcp://127.0.0.1:7946 --admin-listen tcp://127.0.0.1:7980";
    const node = scene.start(start + addresses);
    await node.printed("is ready");
    const checked = await scene.run(shell("covey-data/covey.sock"));
    assert.deepEqual([checked.code, checked.stdout], [0, '{"status":"SERVING"}\n'], checked.stderr);
    const refused = await scene.run("covey call tcp://127.0.0.1:7946 grpc.health.v1.Health/Check");
    assert.equal(refused.code, 5, refused.stderr);
    assert.equal(await node.terminate(), 0);
    assert.ok(existsSync(join(scene.folder, "covey-data/node.json")));
  }));

test("quickstart: three nodes", async () => {
  const hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
  const ports = await freePorts(hosts.length);
  await withScene([], async (scene) => {
    const { text } = named("gateway-1.toml");
    for (const [at, host] of hosts.entries()) {
      // What differs on the other devices, and what the document says of a trial on one machine.
      let own = text.replace("gateway-1", `gateway-${at + 1}`)
        .replace("/var/lib/covey", `data-${at + 1}`)
        .replace(`listen = ["tcp://10.0.0.1:`, `listen = ["tcp://${host}:`)
        .replace(/mode = "on"\n(?:\w+_file = .*\n){3}/, 'mode = "off"\n');
      for (const [to, port] of ports.entries()) {
        own = own.replaceAll(`${hosts[to]}:7946`, `127.0.0.1:${port}`);
      }
      assert.doesNotMatch(own, /10\.0|_file|"on"/);
      writeFileSync(join(scene.folder, `gateway-${at + 1}.toml`), own);
    }
    const start = shell("agent --config gateway-1").trim();
    const nodes = hosts.map((_, at) => {
      const line = start.replace("gateway-1", `gateway-${at + 1}`);
      return scene.start(`${line} --admin-listen tcp://127.0.0.1:0`);
    });
    for (const node of nodes) await node.printed("there is a leader");
    const { code, stdout, stderr } = await scene.run(shell("kv put site/name"));
    assert.equal(code, 0, stderr);
    for (const at of [1, 2, 3]) {
      assert.match(stdout, new RegExp(`^.*\\bgateway-${at}\\b.*\\b(?:voter|leader)\\b`, "m"));
    }
    // Two are enough.
    assert.equal(await nodes[0].terminate(), 0);
    const get = await scene.run("covey kv get site/name --config gateway-2.toml");
    assert.deepEqual([get.code, get.stdout], [0, "site/name\nNorth gate\n"], get.stderr);
    for (const node of nodes.slice(1)) assert.equal(await node.terminate(), 0);
  });
});

test(
  "quickstart: a node inside a program",
  { skip: npmOutOfReach },
  () =>
    withScene(ports, async (scene) => {
      scene.write(named("node.ts"));
      const own = shell("node.ts").trim().split("\n").find((line) => line.startsWith(run));
      assert.ok(own !== undefined, `no line runs node.ts with ${run}`);
      const { code, stdout, stderr } = await scene.run(own);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /\nserving\n$/);
      assert.match(stderr, /"node":"kiosk-1","message":"stopped"/);
      assert.deepEqual(readdirSync(scene.folder), ["node.ts"]);
    }),
);

test(
  "quickstart: calls without a node, with Connect, through a proxy",
  { skip: npmOutOfReach },
  () =>
    withScene(ports, async (scene) => {
      for (const name of ["check.ts", "connect.ts", "proxy.ts"]) scene.write(named(name));
      const tsconfig = { extends: "../covey/tsconfig.json" };
      writeFileSync(join(scene.folder, "tsconfig.json"), JSON.stringify(tsconfig));
      const away = await scene.run(`${run} check.ts`);
      assert.equal(away.code, 0, away.stderr);
      assert.match(away.stdout, /^14 cannot reach tcp:\/\/127\.0\.0\.1:\d+: .* false\n$/);
      const node = scene.start(
        "covey agent --dev --listen tcp://127.0.0.1:7946 --admin-listen tcp://127.0.0.1:7980 " +
          "--node-name kiosk-2",
      );
      await node.printed("is ready");
      const checked = await scene.run(`${run} check.ts`);
      assert.deepEqual([checked.code, checked.stdout], [0, "serving\n"], checked.stderr);
      const connected = await scene.run(`${run} connect.ts`);
      assert.deepEqual([connected.code, connected.stdout], [0, "kiosk-2\n"], connected.stderr);
      const proxy = scene.start(`${run} proxy.ts`);
      await proxy.printed("passing on");
      const passed = await scene.run("covey call tcp://127.0.0.1:7947 grpc.health.v1.Health/Check");
      assert.deepEqual([passed.code, passed.stdout], [0, '{"status":"SERVING"}\n'], passed.stderr);
    }),
);

test(
  "quickstart: the admin endpoint in a server of one's own",
  { skip: npmOutOfReach },
  () =>
    withScene(ports, async (scene) => {
      scene.write(named("mount.ts"));
      const tsconfig = { extends: "../covey/tsconfig.json" };
      writeFileSync(join(scene.folder, "tsconfig.json"), JSON.stringify(tsconfig));
      const { code, stdout, stderr } = await scene.run(`${run} mount.ts`);
      assert.deepEqual([code, stdout], [0, "200 kiosk-1\n"], stderr);
    }),
);

test("quickstart: every block of the document is tried", { skip: npmOutOfReach }, () => {
  assert.deepEqual(blocks.filter((block) => !used.has(block)).map(({ text }) => text), []);
});

test(
  "README: its TypeScript runs beside the checkout",
  { skip: npmOutOfReach },
  () =>
    withScene(ports, async (scene) => {
      const programs = readBlocks("README.md").filter(({ language }) => language === "ts");
      assert.ok(programs.length > 0, "the README has a program");
      for (const [at, { text }] of programs.entries()) {
        // A port that the text leaves to the defaults may be somebody's here.
        const free = text.includes("admin:")
          ? text
          : text.replace("dev: true,", 'dev: true, admin: { listen: "tcp://127.0.0.1:7980" },');
        const name = `readme_${at}.ts`;
        scene.write({
          language: "ts",
          name,
          text: free.replace('"./mod.ts"', '"../covey/mod.ts"'),
        });
        const sys = isDeno ? run.replace("run ", "run --allow-sys=hostname ") : run;
        const { code, stdout, stderr } = await scene.run(`${sys} ${name}`);
        assert.equal(code, 0, stderr);
        assert.notEqual(stdout, "", `${name} says nothing`);
      }
    }),
);
