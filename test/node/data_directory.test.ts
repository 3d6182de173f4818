/** The data directory: made, kept, locked, and refused with a line that says what to do. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { Code } from "../../src/base/error.ts";
import { openDataDirectory } from "../../src/node/data_directory.ts";
import { type Disk, DiskError, type DiskErrorKind, type Runtime } from "../../src/runtime/port.ts";
import { Node as NodeService } from "../../src/gen/covey/node/v1/node_pb.ts";
import { failure, inFolder, runtime, startQuiet } from "./support.ts";

test("data: made for its owner alone, and the node id survives a restart", () =>
  inFolder(async (folder) => {
    const data = `${folder}/a/b`;
    const first = await startQuiet({ node: { data } });
    assert.match(first.nodeId, /^[0-9a-f]{32}$/);
    assert.equal(statSync(data).mode & 0o777, 0o700);
    const file = `${data}/node.json`;
    assert.deepEqual(JSON.parse(readFileSync(file, "utf8")), { format: 1, nodeId: first.nodeId });
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(`${data}/covey.sock`).mode & 0o777, 0o600);
    await first.stop();
    assert.ok(!readdirSync(data).includes("covey.sock"), "the socket goes with the node");

    const second = await startQuiet({ node: { data } });
    assert.equal(second.nodeId, first.nodeId);
    const info = await second.rpc.client(NodeService, second.listeners.local).info({});
    assert.equal(info.nodeId, first.nodeId);
    await second.stop();
  }));

test("data: a second node on it is refused until the first has stopped", () =>
  inFolder(async (folder) => {
    const data = `${folder}/data`;
    const first = await startQuiet({ node: { data } });
    const refused = /^data directory .*\/data is in use by another covey agent: stop that one, or /;
    await failure(startQuiet({ node: { data } }), Code.failedPrecondition, refused);
    // Being refused took nothing away from the one that runs.
    const info = await first.rpc.client(NodeService, first.listeners.local).info({});
    assert.equal(info.nodeId, first.nodeId);
    await first.stop();
    await (await startQuiet({ node: { data } })).stop();
  }));

test("data: a node.json that is damaged, newer or not covey's is refused and left alone", () =>
  inFolder(async (folder) => {
    const id = "00112233445566778899aabbccddeeff";
    const cases: [content: string | Uint8Array, wrong: RegExp][] = [
      ["", /node\.json is not JSON; the folder is damaged or not covey's: restore it from a /],
      ["{", /is not JSON/],
      [new Uint8Array([0xff, 0xfe]), /is not UTF-8 text/],
      ["[]", /names no format/],
      ["null", /is not a JSON object/],
      ['"x"', /is not a JSON object/],
      ['{"name":"somebody else"}', /names no format/],
      [`{"format":0,"nodeId":"${id}"}`, /names no format/],
      [`{"format":1.5,"nodeId":"${id}"}`, /names no format/],
      ['{"format":1}', /holds no node id of 32 hexadecimal digits/],
      [`{"format":1,"nodeId":"${id.toUpperCase()}"}`, /holds no node id/],
      [`{"format":1,"nodeId":"${id}0"}`, /holds no node id/],
    ];
    for (const [index, [content, wrong]] of cases.entries()) {
      const data = `${folder}/${index}`;
      mkdirSync(data);
      writeFileSync(`${data}/node.json`, content);
      await failure(startQuiet({ node: { data } }), Code.dataLoss, wrong);
      assert.deepEqual(readFileSync(`${data}/node.json`), Buffer.from(content as string));
      // The lock was given back: a repaired folder works at once.
      writeFileSync(`${data}/node.json`, `{"format":1,"nodeId":"${id}"}`);
      const node = await startQuiet({ node: { data } });
      assert.equal(node.nodeId, id);
      await node.stop();
    }
    const newer = `${folder}/newer`;
    mkdirSync(newer);
    writeFileSync(`${newer}/node.json`, `{"format":2,"nodeId":"${id}"}`);
    await failure(
      startQuiet({ node: { data: newer } }),
      Code.failedPrecondition,
      /node\.json has format 2, .* knows up to 1: a newer covey wrote it; run that one, or name /,
    );
    const large = `${folder}/large`;
    mkdirSync(large);
    writeFileSync(`${large}/node.json`, " ".repeat(65_537));
    await failure(startQuiet({ node: { data: large } }), Code.dataLoss, /is larger than any that/);
    const nested = `${folder}/nested`;
    mkdirSync(`${nested}/node.json`, { recursive: true });
    await failure(startQuiet({ node: { data: nested } }), Code.dataLoss, /node\.json is a folder;/);
  }));

test("data: what cannot be a folder is refused by its name", () =>
  inFolder(async (folder) => {
    const file = `${folder}/file`;
    writeFileSync(file, "");
    const start = (data: string) => startQuiet({ node: { data } });
    const noFolder =
      /^data directory .*\/file(\/x)? is not a folder: name another one as node\.data$/;
    await failure(start(file), Code.failedPrecondition, noFolder);
    await failure(start(`${file}/x`), Code.failedPrecondition, noFolder);
    const long = `${folder}/${"x".repeat(100)}`;
    await failure(
      start(long),
      Code.failedPrecondition,
      /^data directory .*x: the path of its socket, .* allows 107: name a shorter path as node\.data$/,
    );
    assert.deepEqual(readdirSync(folder), ["file"], "nothing was made");
  }));

// The kernel makes no folders there, not even for root.
test("data: an unwritable place is refused", { skip: noSysfs() }, async () => {
  await failure(
    startQuiet({ node: { data: "/sys/covey-test" } }),
    Code.permissionDenied,
    /^data directory \/sys\/covey-test is not writable \(.*\): grant access to it, or name another /,
  );
});

function noSysfs(): string | false {
  return statSync("/sys", { throwIfNoEntry: false })?.isDirectory() ? false : "there is no /sys";
}

/** A runtime whose disk fails in one way at one call. */
function failing(call: keyof Disk, kind: DiskErrorKind): Runtime {
  const disk = new Proxy(runtime.disk, {
    get: (target, name) =>
      name === call
        ? (path: string) => Promise.reject(new DiskError(kind, path, "made to fail"))
        : Reflect.get(target, name),
  });
  return { ...runtime, disk };
}

test("data: each way in which a disk fails has its line, and the lock is given back", () =>
  inFolder(async (folder) => {
    const cases: [keyof Disk, DiskErrorKind, number, RegExp][] = [
      ["makeDirectory", "denied", Code.permissionDenied, /is not writable/],
      ["makeDirectory", "not-found", Code.failedPrecondition, /cannot be made/],
      ["makeDirectory", "full", Code.resourceExhausted, /^the disk of .* is full$/],
      ["makeDirectory", "io", Code.internal, /^data directory .*: made to fail$/],
      ["lock", "denied", Code.permissionDenied, /is not writable/],
      ["lock", "busy", Code.failedPrecondition, /is in use by another covey agent/],
      ["replaceFile", "full", Code.resourceExhausted, /^the disk of .* is full$/],
      ["replaceFile", "denied", Code.permissionDenied, /is not writable/],
      ["readFile", "denied", Code.permissionDenied, /is not writable/],
      ["readFile", "io", Code.internal, /made to fail/],
    ];
    for (const [index, [call, kind, code, message]] of cases.entries()) {
      const data = `${folder}/${index}`;
      const bad = failing(call, kind);
      await failure(startQuiet({ runtime: bad, node: { data } }), code as Code, message);
      const opened = await openDataDirectory(runtime.disk, runtime.random, data);
      await opened.release();
    }
  }));

test("data: in memory nothing of the disk is touched", async () => {
  const touched: PropertyKey[] = [];
  const disk = new Proxy(runtime.disk, {
    get: (target, name) => {
      touched.push(name);
      return Reflect.get(target, name);
    },
  });
  const node = await startQuiet({ runtime: { ...runtime, disk }, admin: { enabled: true } });
  assert.deepEqual(Object.keys(node.listeners), ["mesh", "admin"]);
  await node.stop();
  const other = await startQuiet({ runtime: { ...runtime, disk } });
  assert.notEqual(other.nodeId, node.nodeId);
  await other.stop();
  assert.deepEqual(touched, []);
});
