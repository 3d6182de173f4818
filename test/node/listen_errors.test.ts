/** Why an address cannot be served: the line names what is in the way and what to do. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import type { Address } from "../../src/base/address.ts";
import { Code, CoveyError } from "../../src/base/error.ts";
import { cannotListen } from "../../src/node/listen_error.ts";
import { DiskError, NetError } from "../../src/runtime/port.ts";
import { anyPort, failure, inFolder, runtime, startQuiet } from "./support.ts";

const precondition = Code.failedPrecondition;

test("listen: port 0 may be given twice and gives two ports", async () => {
  await using node = await startQuiet({ node: { listen: [anyPort, anyPort] } });
  assert.equal(new Set(node.rpc.addresses).size, 2);
});

test("listen: what is in a socket's place is named", () =>
  inFolder(async (folder) => {
    writeFileSync(`${folder}/file`, "");
    mkdirSync(`${folder}/folder`);
    const start = (path: string) => startQuiet({ node: { listen: [`unix:${folder}/${path}`] } });
    await failure(
      start("file"),
      precondition,
      /\/file \(node\.listen\): a file of that name is in the way; remove it, or choose another /,
    );
    await failure(start("folder"), precondition, /: a folder of that name is in the way; /);
    await failure(start("none/a"), precondition, /: its folder does not exist; make it, or /);
  }));

test("listen: a node that stands in its own way is told so", () =>
  inFolder(async (folder) => {
    const data = `${folder}/data`;
    await failure(
      startQuiet({ node: { data, listen: [`unix:${folder}/./data//covey.sock`] } }),
      precondition,
      // The folder is made at the start, before the first address is served.
      /\(the local socket\): this node listens there itself, as unix:\S+covey\.sock; choose /,
    );
  }));

const tcp = (host: string, port: number): Address => ({ kind: "tcp", host, port });

async function explain(
  error: unknown,
  address: Address,
  own: readonly Address[] = [],
): Promise<CoveyError> {
  const attempt = { address, what: "node.listen", tls: false, own };
  const explained = await cannotListen(runtime.disk, attempt, error);
  assert.ok(explained instanceof CoveyError);
  return explained;
}

test("listen: loopback by another name, and every address, are this node's own too", async () => {
  const inUse = new NetError("in-use", "EADDRINUSE");
  const own = /: this node listens there itself, as /;
  for (const host of ["127.0.0.1", "0.0.0.0", "::"]) {
    const error = await explain(inUse, tcp("localhost", 7), [tcp("::1", 9), tcp(host, 7)]);
    assert.match(error.rawMessage, own);
  }
  for (const other of [tcp("127.0.0.2", 7), tcp("127.0.0.1", 8)]) {
    const error = await explain(inUse, tcp("127.0.0.1", 7), [other]);
    assert.match(error.rawMessage, /: another process listens there already; stop that one, or /);
  }
});

test("listen: other refusals say what may help", async () => {
  const denied = await explain(new NetError("denied", "EACCES"), tcp("127.0.0.1", 80));
  assert.equal(denied.code, Code.permissionDenied);
  assert.match(
    denied.rawMessage,
    /: EACCES; a port below 1024 takes root or CAP_NET_BIND_SERVICE$/,
  );
  const high = await explain(new NetError("denied", "EACCES"), tcp("127.0.0.1", 8080));
  assert.match(high.rawMessage, /: EACCES$/);
  const unknown = await explain(new NetError("not-found", "ENOTFOUND"), tcp("gone", 1));
  assert.match(unknown.rawMessage, /: the host name "gone" is not known; give an address of this /);
  const foreign = await explain(new NetError("invalid", "EADDRNOTAVAIL"), tcp("10.9.9.9", 1));
  assert.match(foreign.rawMessage, /: EADDRNOTAVAIL; the host must be an address of this machine$/);
  // An error that has been put into words already is taken by its cause.
  const wrapped = new CoveyError(Code.internal, "words", { cause: new NetError("other", "why") });
  assert.match((await explain(wrapped, tcp("::1", 1))).rawMessage, /^cannot listen on .*: why$/);
});

test("listen: what nobody can explain passes through", async () => {
  const attempt = { address: tcp("::1", 1), what: "x", tls: false, own: [] };
  const strange = new Error("strange");
  assert.equal(await cannotListen(runtime.disk, attempt, strange), strange);
  const disk = { ...runtime.disk, stat: () => Promise.reject(new DiskError("denied", "/a", "x")) };
  const address: Address = { kind: "unix", path: "/a" };
  const error = await cannotListen(disk, { ...attempt, address }, new NetError("in-use", "x"));
  assert.ok(error instanceof CoveyError);
  assert.match(error.rawMessage, /another process listens there already/);
});
