/** Frames byte by byte: the reference's own three, and the golden file of all that covey sends. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { toHex } from "../../src/base/bytes.ts";
import { RouteTable } from "../../src/ttrpc/core/routes.ts";
import {
  requestBytes,
  requestMetadata,
  requestPrefix,
  writeRequest,
} from "../../src/ttrpc/core/envelope.ts";
import { writeHeader } from "../../src/ttrpc/core/frame.ts";
import { codeOf, hex, parseFrames, readRequest, readResponse, request } from "./support/frames.ts";
import { type GoldenFrame, makeGoldenFrames } from "./support/golden_frames.ts";
import { ClientHarness, ServerHarness } from "./support/machines.ts";

const file = fileURLToPath(new URL("../golden/ttrpc/v1/frames.json", import.meta.url).href);
const golden = JSON.parse(fs.readFileSync(file, "utf8")) as {
  readonly version: number;
  readonly frames: readonly GoldenFrame[];
};

test("the reference's golden request: s/m, timeout -1, k=v", () => {
  const prefix = requestPrefix("s", "m");
  const metadata = requestMetadata(["k", "v"]);
  const length = requestBytes(prefix, 0, -1, -1, metadata);
  const bytes = new Uint8Array(10 + length);
  writeHeader(bytes, 0, length, 1, 1, 0);
  writeRequest(bytes, 10, prefix, new Uint8Array(0), -1, -1, metadata);
  const expected = "00000019 00000001 0100 0a0173 12016d 20ffffffffffffffffff01 2a060a016b120176";
  assert.equal(toHex(bytes), expected.replaceAll(" ", ""));
});

test("the reference's golden close", () => {
  const client = new ClientHarness();
  client.begin("u");
  const call = client.begin("b");
  client.frames();
  client.machine.closeSend(call);
  assert.deepEqual(client.shown(), ["00000000 00000003 0305"]);
});

test("the reference's golden refusal: Go's words for an unknown service", () => {
  const server = new ServerHarness({ routes: new RouteTable([]) });
  server.receive(request(1, 0, { service: "s", method: "m" }));
  assert.deepEqual(server.shown(), ["0000000f 00000001 0200 0a0d080c1209736572766963652073"]);
});

test("every frame that covey sends has the bytes of the golden file", () => {
  assert.equal(golden.version, 1);
  const made = makeGoldenFrames();
  assert.deepEqual(made.map((one) => one.name), golden.frames.map((one) => one.name));
  made.forEach((one, index) => assert.deepEqual(one, golden.frames[index]));
});

test("every golden frame opens: one whole frame, its envelope read by the protobuf library", () => {
  for (const { name, hex: text } of golden.frames) {
    const frames = parseFrames(hex(text));
    assert.equal(frames.length, 1, name);
    const [frame] = frames;
    if (frame.type === 1) readRequest(frame);
    if (frame.type === 2) readResponse(frame);
    assert.ok(frame.type >= 1 && frame.type <= 9, name);
  }
});

test("our own machines understand every golden frame of the other side", () => {
  for (const { name, sender, hex: text } of golden.frames) {
    const [frame] = parseFrames(hex(text));
    if (sender === "client") {
      const server = new ServerHarness();
      server.receive(hex(text));
      assert.equal(server.brokenReason, undefined, name);
      const isExpired = frame.type === 1 && readRequest(frame).timeoutNano < 0n;
      const isHello = frame.type === 1 && readRequest(frame).service !== "s";
      if (frame.type === 1) assert.equal(server.calls.length, isExpired || isHello ? 0 : 1, name);
    } else {
      const client = new ClientHarness();
      const call = client.begin(frame.type === 3 ? "d" : "u");
      client.receive(hex(text));
      assert.equal(client.brokenReason, undefined, name);
      if (frame.type !== 2 || frame.id !== call.id) continue;
      if (codeOf(frame) === 0) assert.ok(client.results.has(call), name);
      else assert.equal(client.statuses.get(call)!.code, codeOf(frame), name);
    }
  }
});
