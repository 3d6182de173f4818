/** What the HTTP cases share. */
import type {
  HttpContext,
  HttpServeOptions,
  HttpServer,
  Runtime,
  WebSocketHandler,
  WebSocketPeer,
} from "../../src/runtime/port.ts";
import { within } from "./harness.ts";

/** What a server does with a request. */
export type Answer = HttpServeOptions["fetch"];

/** Where the servers listen. */
export const host = "127.0.0.1";

/** Serves on a free port. */
export function serve(
  runtime: Runtime,
  fetch: Answer,
  more: Partial<HttpServeOptions> = {},
): Promise<HttpServer> {
  return runtime.http.serve({ host, port: 0, bodyBytesMax: 1 << 20, fetch, ...more });
}

/** The URL of a path there. */
export function address(server: HttpServer, path = "/", scheme = "http"): string {
  return `${scheme}://${server.host}:${server.port}${path}`;
}

/** Writes down what happens to one side of a WebSocket. */
export class Log implements WebSocketHandler {
  readonly events: string[] = [];
  readonly binary: Uint8Array[] = [];
  peer: WebSocketPeer | undefined;
  readonly #echo: boolean;
  #waiters: (() => void)[] = [];

  constructor(options: { echo?: boolean } = {}) {
    this.#echo = options.echo ?? false;
  }

  #note(event: string): void {
    this.events.push(event);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }

  open(peer: WebSocketPeer): void {
    this.peer = peer;
    this.#note("open");
  }

  message(peer: WebSocketPeer, message: string | Uint8Array): void {
    if (typeof message !== "string") this.binary.push(message.slice());
    this.#note(typeof message === "string" ? `text ${message}` : `binary ${message.length}`);
    if (this.#echo) peer.send(message);
  }

  close(_peer: WebSocketPeer, code: number, reason: string): void {
    this.#note(`close ${code} ${reason}`.trim());
  }

  until(runtime: Runtime, count: number): Promise<void> {
    const wait = async (): Promise<void> => {
      while (this.events.length < count) {
        await new Promise<void>((resolve) => this.#waiters.push(resolve));
      }
    };
    return within(runtime, `${count} events, so far ${this.events}`, wait());
  }
}

/** Turns every request into a WebSocket. */
export function upgradeTo(log: Log): Answer {
  return (_request: Request, context: HttpContext) =>
    context.upgrade(log) ?? new Response("no WebSocket asked for", { status: 426 });
}
