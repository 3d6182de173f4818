/** `covey call` against the Go server of test/interop, which has never heard of covey. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildGoPeer, startGoServer } from "../support/go_peer.ts";
import { buildDescriptorSet, call, lines, service } from "./call_support.ts";

const go = await buildGoPeer();

test("call: a Go server, all kinds of call", { skip: go.skip ?? false }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "covey-call-go-"));
  const set = `${folder}/test.binpb`;
  await buildDescriptorSet(set);
  const servers = [
    await startGoServer(go.program!, `${folder}/go.sock`),
    await startGoServer(go.program!, "127.0.0.1:0"),
  ];
  try {
    const [unix, tcp] = [`unix:${servers[0].address}`, `tcp://${servers[1].address}`];
    for (const address of [unix, tcp]) {
      const of = (method: string, ...args: string[]): string[] => [
        ...[address, `${service}/${method}`, ...args, "--proto", set],
      ];
      const echo = await call(of(
        ...["Echo", '{"payload":"aGk=","metadataKey":"k"}'] as const,
        ...["--metadata", "k=a", "--metadata", "k=b", "--timeout", "9s"],
      ));
      assert.deepEqual(echo, {
        code: 0,
        stdout: '{"payload":"aGk=","metadataValues":["a","b"],"hasDeadline":true}\n',
        stderr: "",
      });
      const count = await call(of("Count", '{"count":2,"bytes":1}'));
      assert.deepEqual(lines(count), [0, 1].map((index) => ({ index, payload: "AA==" })));
      const sum = await call(of("Sum", "-"), '{"value":9007199254740993}\n{"value":-1}\n');
      assert.deepEqual(lines(sum), [{ sum: "9007199254740992", count: 2 }]);
      const chat = await call(of("Chat"), '{"payload":"AA=="}\n{"payload":"AQ=="}\n');
      assert.equal(lines(chat).length, 2);
      const failed = await call(of("Fail", '{"code":7,"message":"not you"}'));
      assert.deepEqual([failed.code, failed.stderr], [5, "covey: not you (permission_denied)\n"]);
      const late = await call(of("Echo", '{"delayMillis":9000}', "--timeout", "500ms"));
      assert.equal(late.code, 1, late.stderr);
      assert.match(late.stderr, /\(deadline_exceeded\)\n$/);
    }
    // Without a set there is nobody to ask.
    const list = await call([unix, "--list"]);
    assert.equal(list.code, 1);
    assert.match(
      list.stderr,
      /^covey: the server is no covey node .*--proto SET .*\(unimplemented\)/,
    );
    const unknown = await call([unix, `${service}/Echo`, "{}"]);
    assert.equal(unknown.code, 2);
    assert.match(
      unknown.stderr,
      /^covey: there is no service .* in the built-in services, and the server cannot be asked .*--proto/,
    );
  } finally {
    for (const server of servers) await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
