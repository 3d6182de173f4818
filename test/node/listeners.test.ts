/** Where a node listens: several addresses, ports in use, TLS, and nothing in the open by accident. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import type { Node } from "../../src/node.ts";
import {
  anyPort,
  failure,
  inFolder,
  keepLog,
  makeTlsFiles,
  runtime,
  startQuiet,
} from "./support.ts";

const serving = 1;

async function check(from: Node, address: string, tls?: boolean): Promise<number> {
  const client = from.rpc.client(Health, address, { timeoutMs: 5000, tls });
  return (await client.check({})).status;
}

test("listen: several addresses serve the same", () =>
  inFolder(async (folder) => {
    const listen = [anyPort, `unix:${folder}/a.sock`, "tcp://localhost:0"];
    if (runtime.features.abstractSockets) {
      listen.push(`unix://@covey-test-${runtime.name}-${runtime.host.pid}`);
    }
    await using node = await startQuiet({ dev: true, node: { listen } });
    assert.deepEqual(
      Object.keys(node.listeners),
      ["mesh", "mesh.1", "mesh.2", "mesh.3"].slice(0, listen.length),
    );
    assert.deepEqual(node.rpc.addresses, Object.values(node.listeners));
    assert.notEqual(node.rpc.addresses[0], node.rpc.addresses[2]);
    for (const address of node.rpc.addresses) assert.equal(await check(node, address), serving);
  }));

test("listen: a port in use is refused by its name, and nothing is left behind", () =>
  inFolder(async (folder) => {
    await using first = await startQuiet({ dev: true, admin: { enabled: true } });
    const [taken] = first.rpc.addresses;
    const free = `unix:${folder}/free.sock`;
    const data = `${folder}/data`;
    const inUse = (key: string): RegExp =>
      new RegExp(
        `^cannot listen on tcp://127\\.0\\.0\\.1:\\d+ \\(${key}\\): another process listens ` +
          "there already; stop that one, or choose another address$",
      );
    await failure(
      startQuiet({ node: { data, listen: [free, taken] } }),
      Code.failedPrecondition,
      inUse("node\\.listen"),
    );
    await failure(
      startQuiet({
        node: { data, listen: [free] },
        admin: { enabled: true, listen: first.listeners.admin.replace("http:", "tcp:") },
      }),
      Code.failedPrecondition,
      inUse("admin\\.listen"),
    );
    // The data directory and the address that came first are free again.
    await using second = await startQuiet({ node: { data, listen: [free] } });
    assert.equal(await check(second, free), serving);
    await failure(
      startQuiet({ node: { listen: [free] } }),
      Code.failedPrecondition,
      /^cannot listen on unix:.*free\.sock \(node\.listen\): another process listens there/,
    );
  }));

test("listen: an address of another machine is refused", async () => {
  await failure(
    startQuiet({ tls: { mode: "off" }, node: { listen: ["tcp://192.0.2.1:0"] } }),
    Code.failedPrecondition,
    /^cannot listen on tcp:\/\/192\.0\.2\.1:0 \(node\.listen\): /,
  );
});

test("listen: beyond loopback without TLS only when it is written out, and then warned", async () => {
  const listen = ["tcp://0.0.0.0:0"];
  const open = { node: { listen }, tls: { mode: "off" } } as const;
  await failure(
    startQuiet({ node: { listen } }),
    Code.invalidArgument,
    /node\.listen\[0\]: found "tcp:\/\/0\.0\.0\.0:0", which is beyond loopback, without TLS; /,
  );
  await failure(
    startQuiet({ ...open, dev: true }),
    Code.invalidArgument,
    /with --dev, which serves this machine alone/,
  );
  const { log, records } = await keepLog();
  await using node = await startQuiet({ ...open, logger: log });
  assert.match(node.listeners.mesh, /^tcp:\/\/0\.0\.0\.0:[1-9]\d*$/);
  const warned = records.filter(({ level }) => level === "warning");
  assert.equal(warned.length, 1);
  assert.match(warned[0].message, /^tls\.mode is "off": everything on tcp:\/\/0\.0\.0\.0:0 is /);
  // Written out, it trusts whoever reaches it: without TLS nobody could prove who he is.
  const dialled = node.listeners.mesh.replace("0.0.0.0", "127.0.0.1");
  assert.equal(await check(node, dialled), serving);
  // What is only left out trusts nobody, on loopback either.
  await using silent = await startQuiet();
  await failure(check(silent, silent.rpc.addresses[0]), Code.unauthenticated, /needs an identity/);
});

test("tls: nodes reach each other by certificate, and nobody else gets in", () =>
  inFolder(async (folder) => {
    const write = await makeTlsFiles(folder);
    await using node = await startQuiet({ tls: write("good") });
    await using peer = await startQuiet({ tls: write("renewed") });
    await using rogue = await startQuiet({ tls: write("rogue") });
    const [address] = node.rpc.addresses;
    assert.equal(await check(peer, address), serving);
    // TLS 1.3 tells a client only after its handshake that it was refused.
    for (const refused of [check(peer, address, false), check(rogue, address)]) {
      await assert.rejects(refused, (error) =>
        error instanceof CoveyError &&
        (error.code === Code.unavailable || error.code === Code.unauthenticated));
    }
    assert.match(node.metrics.expose("prometheus"), /^covey_rpc_handshakes_failed_total [1-9]/m);
    assert.equal(await check(peer, address), serving);
  }));

test("tls: files that do not work are named", () =>
  inFolder(async (folder) => {
    const write = await makeTlsFiles(folder);
    const good = write("good");
    const { failedPrecondition } = Code;
    const refused = (tls: object, message: RegExp) =>
      failure(startQuiet({ tls: { ...good, ...tls } }), failedPrecondition, message);
    await refused({ key_file: `${folder}/none` }, /^tls\.key_file: .*none: /);
    writeFileSync(`${folder}/text`, "no certificate");
    await refused(
      { certificate_file: `${folder}/text` },
      /^tls\.certificate_file: .*\/text is not a PEM file$/,
    );
    writeFileSync(`${folder}/bytes`, new Uint8Array([0xff]));
    await refused(
      { authorities_file: `${folder}/bytes` },
      /^tls\.authorities_file: .*\/bytes is not a PEM file$/,
    );
    await refused(
      { key_file: write("rogue").key_file },
      /^cannot listen on .* with TLS: .*; when the address is right, look at tls\.certificate_file, /,
    );
    await failure(
      startQuiet({ tls: { mode: "on" } }),
      Code.invalidArgument,
      /tls\.mode: found "on" without tls\.certificate_file, tls\.key_file, tls\.authorities_file/,
    );
  }));
