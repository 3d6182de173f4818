/**
 * Every kind of frame that covey sends, as the machines make it today. The golden file holds the
 * same names with the bytes that they must have for ever; `golden.test.ts` compares.
 */
import { encodeText, toHex } from "../../../src/base/bytes.ts";
import { error, offer } from "./machines.ts";
import { data, frame, frameBytes, none, request } from "./frames.ts";
import { ClientHarness, ServerHarness } from "./machines.ts";

export interface GoldenFrame {
  readonly name: string;
  readonly sender: "client" | "server";
  /** The whole frame: length, stream id, type and flags, data. */
  readonly hex: string;
}

const payload = encodeText("ping");

function ofClient(
  name: string,
  act: (client: ClientHarness) => void,
  extended: "extended" | "plain" = "plain",
): GoldenFrame {
  const client = new ClientHarness();
  if (extended === "extended") client.agree(4096);
  act(client);
  return { name, sender: "client", hex: toHex(frameBytes(client.frames().at(-1)!)) };
}

function clientFrames(): GoldenFrame[] {
  return [
    ofClient("unary without payload", (client) => client.begin("u")),
    ofClient("unary with payload", (client) => client.begin("u", { payload })),
    ofClient("unary that has expired, with metadata", (client) => {
      client.begin("u", { timeoutNanos: -1n, metadata: ["k", "v"] });
    }),
    ofClient("unary with payload, timeout and metadata", (client) => {
      const metadata = ["k", "1", "k", ""];
      client.begin("u", { payload, timeoutNanos: 1_500_000_000n, metadata });
    }),
    ofClient("unary with the largest timeout", (client) => {
      client.begin("u", { timeoutNanos: (1n << 63n) - 1n });
    }),
    ofClient("server-streaming without payload", (client) => client.begin("d")),
    ofClient("server-streaming with payload", (client) => client.begin("d", { payload })),
    ofClient("client-streaming opens", (client) => client.begin("c")),
    ofClient("bidirectional opens with metadata", (client) => {
      client.begin("b", { metadata: ["k", "v"] });
    }),
    ofClient("a message", (client) => client.machine.send(client.begin("c"), payload)),
    ofClient("an empty message", (client) => client.machine.send(client.begin("c"), none)),
    ofClient("the close", (client) => client.machine.closeSend(client.begin("b"))),
    ofClient("the hello with the offer", (client) => client.machine.hello()),
    ofClient("ping", (client) => client.machine.ping(0), "extended"),
    ofClient("pong", (client) => client.receive(frame(1, 4, 0)), "extended"),
    ofClient("reset", (client) => client.machine.cancel(client.begin("u"), error(1)), "extended"),
    ofClient("window", (client) => {
      const call = client.begin("d");
      client.receive(data(call.id, new Uint8Array(600_000)));
      client.messages(call);
    }, "extended"),
  ];
}

/**
 * `back` says which of the last frames is meant; 1 is the very last. A client that is extended has
 * offered on an id far behind, so that the call's own id is the same for both.
 */
function ofServer(
  name: string,
  method: string,
  act: (server: ServerHarness) => void,
  options: { extended?: boolean; offers?: boolean; back?: number } = {},
): GoldenFrame {
  const server = new ServerHarness();
  if (options.extended === true) server.agree(4096, 99);
  const metadata = options.offers === true ? [offer(4096)] : [];
  server.receive(request(1, 6, { service: "s", method, metadata }));
  act(server);
  const made = server.frames().at(-(options.back ?? 1))!;
  return { name, sender: "server", hex: toHex(frameBytes(made)) };
}

function serverFrames(): GoldenFrame[] {
  const extended = { extended: true };
  return [
    ofServer(
      "ok without payload",
      "u",
      ({ machine, calls }) => machine.respond(calls[0], none, []),
    ),
    ofServer("ok with payload", "u", ({ machine, calls }) => {
      machine.respond(calls[0], payload, []);
    }),
    ofServer("unknown service", "u", (server) => {
      server.receive(request(3, 0, { service: "nope", method: "m" }));
    }),
    ofServer("unknown method", "u", (server) => {
      server.receive(request(3, 0, { service: "s", method: "nope" }));
    }),
    ofServer("error with details", "u", ({ machine, calls }) => {
      const details = [{ typeUrl: "type.googleapis.com/t.T", value: new Uint8Array([8, 1]) }];
      machine.respondStatus(calls[0], { code: 5, message: "not here", details }, []);
    }),
    ofServer("error with a negative code", "u", ({ machine, calls }) => {
      machine.respondStatus(calls[0], error(-7), []);
    }),
    ofServer("error of a stream", "b", ({ machine, calls }) => {
      machine.respondStatus(calls[0], error(9, "enough"), []);
    }),
    ofServer("a message", "d", ({ machine, calls }) => void machine.send(calls[0], payload)),
    ofServer("an empty message", "b", ({ machine, calls }) => void machine.send(calls[0], none)),
    ofServer("the close", "d", ({ machine, calls }) => machine.finishStream(calls[0], [])),
    ofServer("even stream id", "u", (server) => server.receive(request(2, 0, {}))),
    ofServer("used stream id", "u", (server) => server.receive(request(1, 0, {}))),
    ofServer("data on a stream that is not open", "u", (server) => server.receive(data(9))),
    ofServer("malformed envelope", "u", (server) => {
      server.receive(frame(3, 1, 0, new Uint8Array([9])));
    }),
    ofServer("message above the limit", "u", (server) => {
      server.receive(frame(3, 1, 0, none, (4 << 20) + 1));
    }),
    ofServer("deadline passed on arrival", "u", (server) => {
      server.receive(request(3, 0, { service: "s", method: "u", timeoutNano: -1n }));
    }),
    ofServer("shutting down", "u", (server) => {
      server.machine.drain();
      server.receive(request(3, 0, { service: "s", method: "u" }));
    }),
    ofServer("the agreement", "u", ({ machine, calls }) => {
      machine.respond(calls[0], payload, []);
    }, { offers: true }),
    ofServer("the agreement with an error", "u", (server) => {
      server.receive(request(3, 0, { service: "grpc.health.v1.Health", method: "Check" }));
    }, { offers: true }),
    ofServer("ok with response metadata", "u", (server) => {
      server.machine.respond(server.calls[0], none, []);
      server.receive(request(3, 0, { service: "s", method: "u" }));
      server.machine.respond(server.calls[1], payload, ["k", "1", "k", ""]);
    }, extended),
    ofServer("metadata of a stream, before its close", "d", ({ machine, calls }) => {
      machine.finishStream(calls[0], ["k", "v"]);
    }, { extended: true, back: 2 }),
    ofServer("ping", "d", (server) => server.machine.ping(0), extended),
    ofServer("pong", "d", (server) => server.receive(frame(1, 4, 0)), extended),
    ofServer("goaway", "d", (server) => server.machine.drain(), extended),
    ofServer("window", "c", (server) => {
      server.receive(data(1, new Uint8Array(600_000)));
      server.messages(server.calls[0]);
    }, extended),
  ];
}

/** All of them; every call gives the same bytes. */
export function makeGoldenFrames(): GoldenFrame[] {
  return [...clientFrames(), ...serverFrames()];
}
