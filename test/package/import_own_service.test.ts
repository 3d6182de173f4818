/** docs/own_service.md from an empty folder: a user's own .proto to a server and a client. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  type Block,
  isDeno,
  noPackages,
  readBlocks,
  root,
  type Scene,
  withScene,
} from "./import_support.ts";

const npmOutOfReach = isDeno ? await noPackages() : false;
const blocks = readBlocks("docs/own_service.md");
const used = new Set<Block>();

function named(name: string): Block {
  const block = blocks.find((one) => one.name === name);
  assert.ok(block !== undefined, `docs/own_service.md has no block ${name}`);
  used.add(block);
  return block;
}

/** The lines of the shell block that contains this. */
function shell(text: string): string[] {
  const block = blocks.find((one) => one.language === "sh" && one.text.includes(text));
  assert.ok(block !== undefined, `docs/own_service.md has no shell block with ${text}`);
  used.add(block);
  return block.text.trim().split("\n");
}

/** `npx` fetches the two packages; those of the checkout are the same versions. */
const npx = /^npx --yes (?:--package @bufbuild\/[\w-]+@[\d.]+ )+/;

const greeting = "hello, covey\n1\n2\n3\n";

async function serveAndCall(scene: Scene): Promise<void> {
  for (const name of ["server.ts", "client.ts"]) scene.write(named(name));
  const bun = shell("bun server.ts");
  const deno = ["server.ts", "client.ts"].flatMap((name) => shell(`127.0.0.1:7950 ${name}`));
  const line = (name: string): string =>
    (isDeno ? deno : bun).find((one) => one.endsWith(name)) as string;
  const tsconfig = named("tsconfig.json");
  if (!isDeno) scene.write(tsconfig);
  const server = scene.start(line("server.ts"));
  await server.printed("serving");
  const called = await scene.run(line("client.ts"));
  assert.deepEqual([called.code, called.stdout], [0, greeting], called.stderr);
  const [build, call] = shell("buf build");
  const built = await scene.run(build.replace(npx, ""));
  assert.equal(built.code, 0, built.stderr);
  const answer = await scene.run(call);
  assert.deepEqual([answer.code, answer.stdout], [0, '{"text":"hello, you"}\n'], answer.stderr);
  const empty = await scene.run(call.replace('"you"', '""'));
  assert.deepEqual(
    [empty.code, empty.stderr],
    [1, "covey: whom shall I greet? (invalid_argument)\n"],
  );
  if (isDeno) {
    // The file that Bun needs changes nothing here.
    scene.write(tsconfig);
    const again = await scene.run(line("client.ts"));
    assert.deepEqual([again.code, again.stdout], [0, greeting], again.stderr);
  }
}

test(
  "own service: generated, served and called from an empty folder",
  { skip: npmOutOfReach },
  () =>
    withScene([7950], async (scene) => {
      for (const name of ["hello.proto", "buf.gen.yaml"]) scene.write(named(name));
      const [generate] = shell("buf generate");
      assert.match(generate, npx);
      const made = await scene.run(generate.replace(npx, ""));
      assert.equal(made.code, 0, made.stderr);
      const code = readFileSync(join(scene.folder, "gen/hello_pb.ts"), "utf8");
      assert.doesNotMatch(code, /from "@bufbuild/);
      await serveAndCall(scene);
    }, { tools: true }),
);

test("own service: every block of the document is tried", { skip: npmOutOfReach }, () => {
  assert.deepEqual(blocks.filter((block) => !used.has(block)).map(({ text }) => text), []);
});

test("own service: the documents name the checkout's versions", () => {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  const pins: Record<string, string> = { ...dependencies, ...devDependencies };
  for (const file of ["docs/own_service.md", "docs/quickstart.md"]) {
    for (const { text } of readBlocks(file)) {
      for (const [, name, found] of text.matchAll(/((?:@[\w-]+\/)?[\w-]+)@(\d+\.\d+\.\d+)/g)) {
        assert.equal(found, pins[name], `${file} names ${name}@${found}`);
      }
    }
  }
});

const npxOutOfReach = await noNpx();

test(
  "own service: with nothing but npx",
  { skip: npxOutOfReach },
  () =>
    withScene([], async (scene) => {
      for (const name of ["hello.proto", "buf.gen.yaml"]) scene.write(named(name));
      const { code, stderr } = await scene.run(shell("buf generate").join("\n"), 120_000);
      assert.equal(code, 0, stderr);
      assert.deepEqual(readdirSync(scene.folder).sort(), ["buf.gen.yaml", "gen", "hello.proto"]);
    }),
);

/** Why npm cannot be asked here, or false. */
async function noNpx(): Promise<string | false> {
  let reason: string | false = "npm is not there";
  await withScene([], async (scene) => {
    const { code, stderr } = await scene.run(
      "exec npm view @bufbuild/protoc-gen-es@2.17.0 version --fetch-retries=0",
      20_000,
    );
    if (code === 0) reason = false;
    else reason = `npm cannot be reached: ${stderr.trim().split("\n")[0]}`;
  });
  return reason;
}
