/**
 * A request is served by the kind that its method was registered with, whatever its flags say: Go's
 * server never reads them (services.go upstream), and clients differ in what they set.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText, toHex } from "../../src/base/bytes.ts";
import { CallKind } from "../../src/ttrpc/core/call.ts";
import { close, data, request } from "./support/frames.ts";
import { ServerHarness } from "./support/machines.ts";

const payload = encodeText("x");
/** Every combination of the three that have a meaning, alone and with all the others. */
const allFlags = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((flags) => [flags, flags | 0xf8]);

for (const method of ["u", "d"]) {
  test(`flags: ${method} takes its one message from the request with any of them`, () => {
    for (const flags of allFlags) {
      const server = new ServerHarness().receive(
        request(1, flags, { service: "s", method, payload }),
        request(3, flags, { service: "s", method }),
      );
      assert.deepEqual(server.log, [`call 1 ${method}`, `call 3 ${method}`], `flags ${flags}`);
      assert.deepEqual(server.payloads.map(toHex), [toHex(payload), ""]);
      assert.equal(
        server.calls[0].kind,
        method === "u" ? CallKind.unary : CallKind.serverStreaming,
      );
      if (method === "u") server.machine.respond(server.calls[0], payload, []);
      else {
        server.machine.send(server.calls[0], payload);
        server.machine.finishStream(server.calls[0], []);
      }
      const kinds = server.frames().map((one) => one.type * 256 + one.flags);
      assert.deepEqual(kinds, method === "u" ? [0x200] : [0x300, 0x305]);
    }
  });
}

for (const method of ["c", "b"]) {
  test(`flags: ${method} takes its messages from Data, opened with 00, 02, 04 or 06`, () => {
    for (const flags of allFlags.filter((one) => (one & 1) === 0)) {
      const server = new ServerHarness().receive(
        request(1, flags, { service: "s", method }),
        data(1, payload),
        data(1),
        close(1),
      );
      assert.deepEqual(server.log, [`call 1 ${method}`], `flags ${flags}`);
      const [call] = server.calls;
      assert.deepEqual(server.messages(call).map(toHex), [toHex(payload), ""]);
      assert.equal(call.flow!.ended, true);
      assert.deepEqual(server.frames(), []);
    }
  });
}
