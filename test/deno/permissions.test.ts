/**
 * The table of docs/permissions.md: each row's program runs with the row's flags, and not with any
 * one of them taken away.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { createRpcServer } from "../../src/standalone.ts";
import { startNode } from "../../src/start.ts";
import { deno, freePort, inFolder, missingPackages, root, serveCheckout } from "./support.ts";

const unreachable = await missingPackages();
const ignore = unreachable !== undefined;
if (ignore) console.error(`test/deno/permissions.test.ts: npm cannot be reached: ${unreachable}`);

const mod = `${root}/mod.ts`;

function client(address: string): string {
  return `
import { createClient, Health, openChannel } from "${mod}";
using channel = await openChannel("${address}");
console.log((await createClient(Health, channel).check({}, { timeoutMs: 5000 })).status);
`;
}

function server(address: string): string {
  return `
import { createRpcServer, parseAddress } from "${mod}";
const server = await createRpcServer();
await server.listen({ address: parseAddress("${address}") });
await server.stop(0);
console.log(1);
`;
}

function node(options: string): string {
  return `
import { startNode } from "${mod}";
await using node = await startNode(${options});
console.log(node.state === "ready" ? 1 : 0);
`;
}

const listen = 'listen: ["tcp://127.0.0.1:7946"]';
const admin = 'admin: { listen: "tcp://127.0.0.1:7980" }';
const noAdmin = "admin: { enabled: false }";

/** By the first column of the table. Each prints 1. */
const programs: Readonly<Record<string, string>> = {
  "imports covey": `import { Code } from "${mod}";\nconsole.log(Code.canceled);\n`,
  "imports it by URL":
    'import { Code } from "http://127.0.0.1:8000/mod.ts";\nconsole.log(Code.canceled);\n',
  "calls over TCP": client("tcp://127.0.0.1:7946"),
  "calls over a unix socket": client("unix:/run/app/a.sock"),
  "serves over TCP": server("tcp://127.0.0.1:7946"),
  "serves over a unix socket": server("unix:/run/app/a.sock"),
  "runs a node in memory": node(`{ dev: true, node: { ${listen} }, ${admin} }`),
  "the same, with `node.name` set": node(`{ dev: true, node: { name: "x", ${listen} }, ${admin} }`),
  "the same, with admin off": node(`{ dev: true, node: { name: "x", ${listen} }, ${noAdmin} }`),
  "the same, with its data": node(
    `{ node: { name: "x", data: "/run/app/data", ${listen} }, ${noAdmin} }`,
  ),
};

interface Row {
  readonly title: string;
  readonly flags: readonly string[];
}

async function readTable(): Promise<Row[]> {
  const text = await Deno.readTextFile(`${root}/docs/permissions.md`);
  const [table] = /^\| the program[^]*?\n\n/m.exec(text) ?? [""];
  return table.trim().split("\n").slice(2).map((line) => {
    const [, title, flags] = line.split(" | ").length === 2
      ? /^\| (.*?) +\| (.*?) *\|$/.exec(line)!
      : [];
    const given = flags === "none" ? [] : flags.replaceAll("`", "").split(" ");
    return { title, flags: given };
  });
}

/** The flags with one permission less, for each: of a list, each item. */
function* withoutOne(flags: readonly string[]): Generator<{ left: string[]; gone: string }> {
  for (const [at, flag] of flags.entries()) {
    const [name, values] = flag.split("=");
    for (const value of values.split(",")) {
      const others = values.split(",").filter((other) => other !== value);
      const kept = others.length === 0 ? [] : [`${name}=${others.join(",")}`];
      yield { left: [...flags.slice(0, at), ...kept, ...flags.slice(at + 1)], gone: value };
    }
  }
}

Deno.test("permissions: each row of the table has its program", async () => {
  assertEquals((await readTable()).map(({ title }) => title), Object.keys(programs));
});

async function tryRow(folder: string, { title, flags }: Row): Promise<void> {
  const [mesh, admin] = [freePort(), freePort()];
  const web = serveCheckout();
  const peer = await createRpcServer();
  peer.registry.add(Health, { check: () => ({ status: 1 }), async *watch() {} });
  const fill = (text: string): string =>
    text.replaceAll("/run/app", folder).replaceAll(":8000", `:${web.port}`)
      .replaceAll(":7946", `:${mesh}`).replaceAll(":7980", `:${admin}`);
  const run = (given: readonly string[]) => deno(folder, ["run", ...given.map(fill), "app.ts"]);
  await Deno.writeTextFile(`${folder}/app.ts`, fill(programs[title]));
  try {
    if (title.startsWith("calls")) {
      await peer.listen({ address: { kind: "tcp", host: "127.0.0.1", port: mesh } });
      await peer.listen({ address: { kind: "unix", path: `${folder}/a.sock` } });
    }
    const ran = await run(flags);
    assertEquals([ran.code, ran.stdout], [0, "1\n"]);
    for (const { left, gone } of withoutOne(flags)) {
      const refused = await run(left);
      assert(refused.code !== 0, `${title} runs without ${gone}`);
      assertMatch(refused.stderr, /Deno needs the permission|Requires import access/);
    }
  } finally {
    await peer.stop(0);
    await web.stop();
  }
}

for (const row of await readTable()) {
  const name = `permissions: what ${row.title.replaceAll("`", "")} needs`;
  Deno.test({ name, ignore }, () => inFolder((folder) => tryRow(folder, row)));
}

Deno.test(
  { name: "permissions: the command line, with the least flags", ignore },
  () =>
    inFolder(async (folder) => {
      const mesh = freePort();
      const peer = await createRpcServer();
      peer.registry.add(Health, { check: () => ({ status: 1 }), async *watch() {} });
      await peer.listen({ address: { kind: "tcp", host: "127.0.0.1", port: mesh } });
      await Deno.writeTextFile(`${folder}/covey.toml`, "");
      const cases: [flags: string[], args: string[], out: RegExp][] = [
        [[], ["version"], /^covey \d/],
        [[], ["config", "schema"], /^\{/],
        [
          ["--allow-env", "--allow-sys=hostname", "--allow-read=covey.toml"],
          ["config", "check", "--config", "covey.toml"],
          /^covey\.toml: ok/,
        ],
        [
          [`--allow-net=127.0.0.1:${mesh}`],
          ["call", `tcp://127.0.0.1:${mesh}`, "grpc.health.v1.Health/Check"],
          /^\{"status":"SERVING"\}\n$/,
        ],
      ];
      try {
        for (const [flags, args, out] of cases) {
          const ran = await deno(folder, ["run", ...flags, `${root}/src/main.ts`, ...args]);
          assert(ran.code === 0, ran.stderr);
          assertMatch(ran.stdout, out);
        }
        const refused = await deno(folder, [
          ...["run", `${root}/src/main.ts`, "call", `tcp://127.0.0.1:${mesh}`],
          "grpc.health.v1.Health/Check",
        ]);
        assertEquals(refused.code, 5);
        assertMatch(
          refused.stderr,
          /^covey: cannot reach .* Deno needs the permission --allow-net=127/,
        );
      } finally {
        await peer.stop(0);
      }
    }),
);

Deno.test(
  { name: "permissions: what operators ask a node, with the least flags", ignore },
  () =>
    inFolder(async (folder) => {
      const address = `127.0.0.1:${freePort()}`;
      await using _node = await startNode({
        dev: true,
        node: { name: "x", listen: [`tcp://${address}`] },
        admin: { enabled: false },
        log: { level: "error" },
      });
      const run = (flags: readonly string[], args: readonly string[]) =>
        deno(folder, [
          "run",
          ...flags,
          `${root}/src/main.ts`,
          ...args,
          "--node",
          `tcp://${address}`,
        ]);
      const commands = [["kv", "put", "a", "1"], ["kv", "get", "a"], ["raft", "peers"], ["status"]];
      for (const args of commands) {
        const ran = await run([`--allow-net=${address}`, "--allow-env"], args);
        assert(ran.code === 0, ran.stderr);
      }
      const refused = await run([`--allow-net=${address}`], ["status"]);
      assertEquals(refused.code, 5);
      assertMatch(refused.stderr, /^covey: .*Deno needs the permission --allow-env=COVEY_NODE/);
    }),
);
