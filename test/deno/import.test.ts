/** From an empty folder, with Deno alone: import by path and by URL, serve and call. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { deno, freePort, inFolder, missingPackages, root, serveCheckout } from "./support.ts";

const unreachable = await missingPackages();
/** Packages come from npm, or from Deno's cache. */
const ignore = unreachable !== undefined;
if (ignore) console.error(`test/deno/import.test.ts: npm cannot be reached: ${unreachable}`);

/** Serves the health service on two addresses and calls it there. */
function program(specifier: string, addresses: readonly string[]): string {
  return `
import { createClient, createRpcServer, formatAddress, Health, openChannel, parseAddress } from ${
    JSON.stringify(specifier)
  };

const server = await createRpcServer();
server.registry.add(Health, {
  check: (request) => ({ status: request.service === "" ? 1 : 3 }),
  async *watch() {
    yield { status: 2 };
    yield { status: 1 };
  },
});
for (const address of ${JSON.stringify(addresses)}) {
  const listener = await server.listen({ address: parseAddress(address) });
  using channel = await openChannel(formatAddress(listener.address), { peer: "covey" });
  const health = createClient(Health, channel);
  const { status } = await health.check({}, { timeoutMs: 5000 });
  const watched: number[] = [];
  for await (const { status } of health.watch({})) watched.push(status);
  console.log(listener.address.kind, status, watched.join());
}
await server.stop(0);
`;
}

const expected = "tcp 1 2,1\nunix 1 2,1\n";

async function names(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
}

Deno.test(
  { name: "import by path: serve and call over TCP and a unix socket", ignore },
  () =>
    inFolder(async (folder) => {
      const port = freePort();
      const socket = `${folder}/a.sock`;
      const addresses = [`tcp://127.0.0.1:${port}`, `unix:${socket}`];
      await Deno.writeTextFile(`${folder}/app.ts`, program(`${root}/mod.ts`, addresses));
      const flags = [
        `--allow-net=127.0.0.1:${port},unix:${socket}`,
        ...[`--allow-read=${socket}`, `--allow-write=${socket}`],
      ];
      const ran = await deno(folder, ["run", ...flags, "app.ts"]);
      assertEquals([ran.code, ran.stdout], [0, expected]);
      assertEquals(await names(folder), ["app.ts"]);
      // What was fetched once is enough from then on.
      const cached = await deno(folder, ["run", "--cached-only", ...flags, "app.ts"]);
      assertEquals([cached.code, cached.stdout], [0, expected]);
    }),
);

Deno.test(
  { name: "import by URL: the same, with one more flag", ignore },
  () =>
    inFolder(async (folder) => {
      const web = serveCheckout();
      try {
        const port = freePort();
        const socket = `${folder}/a.sock`;
        const addresses = [`tcp://127.0.0.1:${port}`, `unix:${socket}`];
        const specifier = `http://127.0.0.1:${web.port}/mod.ts`;
        await Deno.writeTextFile(`${folder}/app.ts`, program(specifier, addresses));
        const flags = [
          `--allow-net=127.0.0.1:${port},unix:${socket}`,
          ...[`--allow-read=${socket}`, `--allow-write=${socket}`],
        ];
        const refused = await deno(folder, ["run", ...flags, "app.ts"]);
        assert(refused.code !== 0);
        assertMatch(
          refused.stderr,
          /Requires import access to "127\.0\.0\.1:\d+", run again with the/,
        );
        const allowed = ["run", `--allow-import=127.0.0.1:${web.port}`, ...flags, "app.ts"];
        const ran = await deno(folder, allowed);
        assertEquals([ran.code, ran.stdout], [0, expected]);
        assertEquals(await names(folder), ["app.ts"]);
        assert(web.asked.includes("/mod.ts"));
        // Nothing but source and the one page: no configuration, no package file.
        assertEquals(web.asked.filter((path) => !/^\/(mod|src\/.*)\.(ts|html)$/.test(path)), []);
      } finally {
        await web.stop();
      }
    }),
);

Deno.test(
  { name: "import by URL: a whole node with its admin page", ignore },
  () =>
    inFolder(async (folder) => {
      const web = serveCheckout();
      try {
        await Deno.writeTextFile(
          `${folder}/app.ts`,
          `
import { startNode } from "http://127.0.0.1:${web.port}/mod.ts";

await using node = await startNode({
  dev: true,
  node: { name: "x", listen: ["tcp://127.0.0.1:0"] },
  admin: { listen: "tcp://127.0.0.1:0" },
});
const page = await fetch(node.listeners.admin);
console.log(page.status, (await page.text()).includes("<html"));
`,
        );
        const flags = [`--allow-import=127.0.0.1:${web.port}`, "--allow-net=127.0.0.1"];
        const ran = await deno(folder, ["run", ...flags, "app.ts"]);
        assertEquals([ran.code, ran.stdout], [0, "200 true\n"]);
      } finally {
        await web.stop();
      }
    }),
);

Deno.test(
  { name: "import by path: the types are there for the program", ignore },
  () =>
    inFolder(async (folder) => {
      await Deno.writeTextFile(
        `${folder}/good.ts`,
        `
import { type CallContext, type Client, Health, type Node, startNode } from "${root}/mod.ts";

export async function status(node: Node): Promise<number> {
  const client: Client<typeof Health> = node.rpc.client(Health, node.rpc.addresses[0]);
  node.rpc.serve(Health, {
    check: (request, context: CallContext) => ({ status: request.service === "" ? 1 : 3 }),
    async *watch() {
      yield { status: 1 };
    },
  });
  return (await client.check({ service: "" }, { timeoutMs: 1000 })).status;
}
export const node: Promise<Node> = startNode({ rpc: { drain_timeout: "5s" } });
`,
      );
      await Deno.writeTextFile(
        `${folder}/bad.ts`,
        `
import { Health, startNode } from "${root}/mod.ts";

const node = await startNode({ rpc: { drain_timout: "5s" } });
node.rpc.serve(Health, { check: () => ({ status: "up" }) });
`,
      );
      const checked = await deno(folder, ["check", "good.ts", "bad.ts"]);
      assert(checked.code !== 0);
      assertMatch(checked.stderr, /drain_timout/);
      assertMatch(checked.stderr, /Found 2 errors/);
      assert(!/good\.ts:\d/.test(checked.stderr), checked.stderr);
    }),
);

Deno.test({
  name: "import in a folder with a package.json: the flag that the documents name",
  ignore,
}, () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/package.json`, "{}");
    const own = 'import { create } from "npm:@bufbuild/protobuf@2.17.0";';
    const app =
      `${own}\nimport { version } from "${root}/mod.ts";\nconsole.log(version, typeof create);\n`;
    await Deno.writeTextFile(`${folder}/app.ts`, app);
    const refused = await deno(folder, ["run", "app.ts"]);
    assertMatch(refused.stderr, /Could not find a matching package/);
    const ran = await deno(folder, ["run", "--node-modules-dir=none", "app.ts"]);
    assert(ran.code === 0, ran.stderr);
    assertMatch(ran.stdout, /^\d+\.\d+\.\d+ function\n$/);
  }));
