/**
 * One client of `/v1/socket`: the events of `/v1/events` over a WebSocket, whose client may change
 * its topics on the way. Both sides send JSON objects with a `type`.
 *
 * To the node: `subscribe` (`topics`, and `after` with the id of the last event seen),
 * `unsubscribe` (`topics`), `ping` (any `data`). From the node: `topics` (those followed now),
 * `event` (`id`, `topic`, `data`), `gap`, `end`, `beat`, `pong`, `error`. A client that reads too
 * slowly is closed with 1013.
 */
import { Code, codeName, CoveyError } from "../base/error.ts";
import type { WebSocketHandler, WebSocketPeer } from "../runtime/port.ts";
import { HttpError } from "./error.ts";
import type { EventHub, HubClient, HubEvent, HubNotice } from "./hub.ts";

export interface EventSocketParts {
  readonly hub: EventHub;
  /** More than this waiting in the runtime's buffer, and the client is dropped. */
  readonly queueBytesMax: number;
  /** Called once when the client was too slow. */
  readonly dropped: (missed: number) => void;
}

/** A client has little to say; one that says more is not one of ours. */
const messageLengthMax = 16 * 1024;

/** Close codes of https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1 and its registry. */
const closeCodes = {
  goingAway: 1001,
  unsupported: 1003,
  tooBig: 1009,
  tryAgainLater: 1013,
} as const;

export class EventSocket implements HubClient, WebSocketHandler {
  readonly topics: Set<string> = new Set();
  readonly #parts: EventSocketParts;
  #peer: WebSocketPeer | undefined = undefined;

  constructor(parts: EventSocketParts) {
    this.#parts = parts;
  }

  // -- From the runtime ---------------------------------------------------------------------

  open(peer: WebSocketPeer): void {
    this.#peer = peer;
    try {
      this.#parts.hub.admit();
    } catch (error) {
      // Others took the last place between the request and the upgrade.
      this.#leave(closeCodes.tryAgainLater, CoveyError.from(error).rawMessage);
      return;
    }
    this.#parts.hub.attach(this);
  }

  message(_peer: WebSocketPeer, message: string | Uint8Array): void {
    if (this.#peer === undefined) return;
    if (message.length > messageLengthMax) {
      this.#leave(closeCodes.tooBig, `a message is at most ${messageLengthMax} bytes`);
      return;
    }
    if (typeof message !== "string") {
      this.#leave(closeCodes.unsupported, "messages are JSON text");
      return;
    }
    try {
      this.#obey(parseCommand(message));
    } catch (thrown) {
      const error = CoveyError.from(thrown, Code.internal);
      const hint = error instanceof HttpError ? error.hint : undefined;
      this.#send({ type: "error", code: codeName(error.code), message: error.rawMessage, hint });
    }
  }

  close(): void {
    this.#peer = undefined;
    this.#parts.hub.detach(this);
  }

  // -- From the hub -------------------------------------------------------------------------

  event(event: HubEvent): void {
    // The data is JSON already; parsing it only to write it again would cost every client.
    this.#sendText(
      `{"type":"event","id":${JSON.stringify(event.id)},"topic":${
        JSON.stringify(event.topic)
      },"data":${event.data}}`,
    );
  }

  notice(notice: HubNotice): void {
    const { kind, ...data } = notice;
    this.#send({ type: kind, ...data });
    if (kind === "end") this.#leave(closeCodes.goingAway, notice.reason);
  }

  beat(): void {
    // Writing is how a peer that vanished without a word is noticed.
    this.#send({ type: "beat" });
  }

  // -- Own ----------------------------------------------------------------------------------

  #obey(command: Command): void {
    switch (command.type) {
      case "subscribe": {
        for (const topic of this.#parts.hub.chooseTopics(command.topics)) this.topics.add(topic);
        this.#send({ type: "topics", topics: [...this.topics].sort() });
        if (command.after !== undefined) this.#parts.hub.replay(this, command.after);
        return;
      }
      case "unsubscribe": {
        for (const topic of this.#parts.hub.chooseTopics(command.topics)) {
          this.topics.delete(topic);
        }
        this.#send({ type: "topics", topics: [...this.topics].sort() });
        return;
      }
      case "ping":
        this.#send({ type: "pong", data: command.data });
        return;
    }
  }

  #send(message: Readonly<Record<string, unknown>>): void {
    this.#sendText(JSON.stringify(message));
  }

  #sendText(text: string): void {
    const peer = this.#peer;
    if (peer === undefined) return;
    if (peer.bufferedBytes + text.length > this.#parts.queueBytesMax) {
      // How many of the buffered ones still arrive is not known; this one certainly does not.
      this.#parts.dropped(1);
      this.#leave(closeCodes.tryAgainLater, "this client reads slower than events come");
      return;
    }
    peer.send(text);
  }

  #leave(code: number, reason: string): void {
    const peer = this.#peer;
    this.close();
    peer?.close(code, reason);
  }
}

type Command =
  | { readonly type: "subscribe"; readonly topics: readonly string[]; readonly after?: string }
  | { readonly type: "unsubscribe"; readonly topics: readonly string[] }
  | { readonly type: "ping"; readonly data: unknown };

const shape = 'send {"type":"subscribe","topics":["log"]}, {"type":"unsubscribe",…} or ' +
  '{"type":"ping"}';

function bad(message: string): HttpError {
  return new HttpError(400, Code.invalidArgument, message, { hint: shape });
}

function parseCommand(text: string): Command {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The engines word it differently; what counts is that it is not JSON.
    throw bad("the message is not JSON");
  }
  if (typeof value !== "object" || value === null) throw bad("the message is not an object");
  const { type, topics = [], after, data } = value as Record<string, unknown>;
  if (type === "ping") return { type, data };
  if (type !== "subscribe" && type !== "unsubscribe") {
    throw bad(`the type ${JSON.stringify(type)} is not known`);
  }
  if (!Array.isArray(topics) || topics.some((topic) => typeof topic !== "string")) {
    throw bad("topics must be a list of names");
  }
  if (type === "unsubscribe") return { type, topics };
  if (after !== undefined && typeof after !== "string") throw bad("after must be an event's id");
  return { type, topics, after };
}
