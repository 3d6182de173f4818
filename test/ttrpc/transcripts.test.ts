/**
 * The recorded sessions of Go's and Rust's implementations (test/golden/ttrpc/v1), replayed against
 * covey's server and covey's client. They need neither language.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type DescMethod, fromJson, type Message, toJson } from "npm:@bufbuild/protobuf@2.17.0";
import { toHex } from "../../src/base/bytes.ts";
import { CoveyError } from "../../src/base/error.ts";
import type { Channel } from "../../src/ttrpc/channel.ts";
import { callMethod } from "../../src/ttrpc/client.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { type Frame, readRequest, readResponse, show } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { Feed } from "./support/outcome.ts";
import { bothTest } from "./support/stage.ts";
import { echo } from "./support/test_frames.ts";
import { loadTranscripts, type RecordedCall, type Transcript } from "./support/transcripts.ts";
import { within } from "./support/within.ts";

const transcripts = loadTranscripts();

test("the recorded sessions are there, of both languages and all kinds of calls", () => {
  assert.ok(transcripts.filter((one) => one.by === "go").length >= 28);
  assert.ok(transcripts.filter((one) => one.by === "rust").length >= 14);
  for (const by of ["go", "rust"] as const) {
    const calls = transcripts.filter((one) => one.by === by).flatMap((one) => one.calls ?? []);
    assert.equal(new Set(calls.map((one) => one.kind)).size, 4, by);
    assert.ok(calls.some((one) => one.metadata !== undefined && one.timeoutMillis !== undefined));
    assert.ok(calls.some((one) => one.status !== undefined));
  }
});

/** Refusals whose code is Go's and whose words are covey's own. */
const ownWords = new Set([
  "data-on-finished-stream",
  "data-on-unknown-stream",
  "oversized-message",
  "timeout-negative",
]);

/** Where Rust's server answers otherwise than Go's, which is the one to follow. */
const ownCodes: Readonly<Record<string, number>> = { "rust-unknown-service": 12 };

/** What a Response says, apart from how it is written. */
function meaning(frame: Frame, words: boolean): unknown {
  const { status, payload } = readResponse(frame);
  return {
    code: status?.code ?? 0,
    message: words ? status?.message ?? "" : undefined,
    details: (status?.details ?? []).map(({ typeUrl, value }) => [typeUrl, toHex(value)]),
    payload: toHex(payload),
  };
}

function checkAnswer(transcript: Transcript, index: number, got: Frame): void {
  const { name, by, frames } = transcript;
  const { frame: wanted, varies } = frames[index];
  const where = `frame ${index}: ${show(got)}`;
  assert.deepEqual([got.id, got.type, got.flags], [wanted.id, wanted.type, wanted.flags], where);
  const code = ownCodes[name];
  if (code !== undefined) assert.equal(readResponse(got).status!.code, code, where);
  else if (got.type === 2 && (varies || by === "rust" || ownWords.has(name))) {
    const refusal = (readResponse(wanted).status?.code ?? 0) !== 0;
    // Rust's words for its own refusals are not covey's; a handler's words are the handler's.
    const words = by === "rust" && !(refusal && name.includes("unknown"));
    assert.deepEqual(meaning(got, words), meaning(wanted, words), where);
  } else assert.equal(show(got), show(wanted), where);
}

for (const transcript of transcripts) {
  const { name, frames, closedBy } = transcript;
  bothTest(`the recorded client of ${name} is served as it was`, async (stage) => {
    const { address, server } = await stage.serve();
    const peer = await stage.raw(address);
    for (const [index, { from, bytes }] of frames.entries()) {
      if (from === "client") peer.send(bytes);
      else checkAnswer(transcript, index, await peer.next());
    }
    if (closedBy === "server") {
      // Go's server ends the connection over its oversized reply; covey's fails that call alone.
      assert.equal(name, "oversized-reply");
      assert.equal(readResponse(await peer.response()).status!.code, 8);
    }
    await turns();
    assert.deepEqual(peer.untaken.map(show), []);
    // Whatever was recorded, the connection lives.
    const last = frames.reduce((most, { frame }) => frame.id > most ? frame.id : most, 0);
    const id = last + 2 - (last + 1) % 2;
    peer.send(echo(id, {}));
    assert.equal(show(await peer.next()).slice(9), `${id.toString(16).padStart(8, "0")} 0200`);
    assert.deepEqual([server.connections, server.counters.callsOpen], [1, 0]);
  });
}

/** The method of a recorded call; of a service or a method that nobody has, one that looks alike. */
function methodOf(call: RecordedCall): DescMethod {
  const known = TestService.methods.find((one) => one.name === call.method);
  if (call.service === TestService.typeName && known !== undefined) return known;
  const parent = { ...TestService, typeName: call.service };
  return { ...TestService.method.echo, name: call.method, parent } as DescMethod;
}

interface Made {
  readonly responses: readonly unknown[];
  readonly error: CoveyError | undefined;
}

/** Makes the recorded call and notes what it gives. */
async function make(channel: Channel, call: RecordedCall): Promise<Made> {
  const method = methodOf(call);
  const requests = call.requests.map((one) => fromJson(method.input, one));
  const responses: unknown[] = [];
  const note = (message: Message) => responses.push(toJson(method.output, message));
  const feed = new Feed<Message>();
  const pingPong = call.kind === "bidi_streaming" && call.halfCloseFirst !== true;
  for (const one of pingPong ? requests.splice(0, 1) : requests.splice(0)) feed.push(one);
  if (requests.length === 0) feed.end();
  const streams = call.kind === "client_streaming" || call.kind === "bidi_streaming";
  const input = streams ? feed : fromJson(method.input, call.requests[0]);
  let error: CoveyError | undefined;
  try {
    const result = callMethod(channel, method, input, {
      metadata: call.metadata,
      timeoutMs: call.timeoutMillis,
    });
    if (result instanceof Promise) note(await result);
    else {
      for await (const message of result) {
        note(message);
        if (!pingPong) continue;
        // The next message goes out after the answer to the one before.
        const [next] = requests.splice(0, 1);
        if (next !== undefined) feed.push(next);
        if (requests.length === 0) feed.end();
      }
    }
  } catch (thrown) {
    assert.ok(thrown instanceof CoveyError, `${thrown}`);
    error = thrown;
  }
  return { responses, error };
}

const requestFlags = { unary: 0, server_streaming: 1, client_streaming: 6, bidi_streaming: 6 };

function checkRequest(got: Frame, wanted: Frame, call: RecordedCall): void {
  assert.deepEqual([got.id, got.type, got.flags], [wanted.id, 1, requestFlags[call.kind]]);
  const [ours, theirs] = [readRequest(got), readRequest(wanted)];
  assert.deepEqual([ours.service, ours.method], [theirs.service, theirs.method]);
  assert.deepEqual(ours.payload, theirs.payload);
  assert.deepEqual(
    ours.metadata.map((pair) => [pair.key, pair.value]),
    Object.entries(call.metadata ?? {}).flatMap(([key, values]) => values.map((one) => [key, one])),
  );
  const most = BigInt(call.timeoutMillis ?? 0) * 1_000_000n;
  assert.ok(ours.timeoutNano <= most && (ours.timeoutNano > 0n) === (most > 0n));
}

for (const { name, calls, frames } of transcripts) {
  if (calls === undefined) continue;
  bothTest(`the recorded server of ${name} is understood as it was`, async (stage) => {
    const raw = await stage.rawServer();
    const { channel } = stage.dial(raw.address);
    const outcomes = (async () => {
      const made: Made[] = [];
      for (const call of calls) made.push(await make(channel, call));
      return made;
    })();
    const peer = await raw.accept();
    let begun = -1;
    for (const { from, frame, bytes } of frames) {
      if (from === "server") peer.send(bytes);
      else {
        const got = await peer.next();
        if (frame.type === 1) checkRequest(got, frame, calls[++begun]);
        else assert.equal(show(got), show(frame));
      }
    }
    const ends = await within(outcomes, () => "the recorded calls");
    for (const [index, { responses, error }] of ends.entries()) {
      const { status, responses: wanted }: RecordedCall = calls[index];
      assert.deepEqual(responses, wanted);
      assert.equal(error?.code ?? 0, status?.code ?? 0);
      if (status === undefined) continue;
      const answer = frames.find(({ from, frame }) =>
        from === "server" && frame.type === 2 && frame.id === 2 * index + 1
      )!;
      const recorded = readResponse(answer.frame).status!;
      assert.deepEqual([error!.rawMessage, error!.sent], [recorded.message, true]);
      assert.deepEqual(
        error!.details.map(({ typeUrl, value }) => [typeUrl, toHex(value)]),
        recorded.details.map(({ typeUrl, value }) => [typeUrl, toHex(value)]),
      );
    }
    await turns();
    assert.deepEqual(peer.untaken, [], "nothing follows the last call");
    assert.deepEqual([peer.ended, peer.closed], [false, false], "nobody half-closes the socket");
    assert.equal(channel.counters.callsOpen, 0);
  });
}
