/// <reference types="npm:bun-types@1.4.5" />
/** The port's `Http` on `Bun.serve` and the engine's own `fetch` and `WebSocket`. */
import { closeCode, closeReason } from "../../base/web_socket.ts";
import type {
  Clock,
  Http,
  HttpContext,
  HttpServeOptions,
  HttpServer,
  WebSocketHandler,
  WebSocketPeer,
} from "../port.ts";
import { netError } from "./error.ts";
import { openWebSocket } from "./websocket.ts";

/** HTTP as this process does it. */
export function createHttp(clock: Clock): Http {
  return {
    // deno-lint-ignore require-await -- what Bun throws at once must reach the caller as a rejection
    serve: async (options) => serve(clock, options),
    fetch: (request) => fetch(request),
    webSocket: (url, handler, timeoutMs) => openWebSocket(clock, url, handler, timeoutMs),
  };
}

/** What Bun keeps for one server-side WebSocket. */
interface SocketData {
  readonly handler: WebSocketHandler;
  peer: ServerPeer | undefined;
}

type NativeSocket = Bun.ServerWebSocket<SocketData>;

function serve(clock: Clock, options: HttpServeOptions): HttpServer {
  const open = new Set<NativeSocket>();
  let stopping = false;
  let server: Bun.Server<SocketData>;
  try {
    server = Bun.serve<SocketData>({
      hostname: options.host,
      port: options.port,
      tls: options.tls === undefined
        ? undefined
        : { cert: options.tls.certificate, key: options.tls.key },
      maxRequestBodySize: options.bodyBytesMax,
      development: false,
      // Outside of development Bun shares ports by default: two nodes would take turns (tried).
      reusePort: false,
      idleTimeout: idleSeconds,
      async fetch(request, server) {
        // The time a handler takes is the handler's business; the idle time set here stays with the
        // connection, so that it must be given back before the next request (tried).
        server.timeout(request, 0);
        const context = new BunHttpContext(request, server);
        const response = await options.fetch(request, context);
        if (!context.upgraded && !isEventStream(response)) server.timeout(request, idleSeconds);
        // Bun wants no answer from a request that became a WebSocket.
        return context.upgraded ? undefined : response;
      },
      error: () => new Response("internal error", { status: 500 }),
      websocket: {
        open(native) {
          open.add(native);
          native.binaryType = "uint8array";
          native.data.peer = new ServerPeer(native);
          native.data.handler.open(native.data.peer);
          if (stopping) native.close(...stopped);
        },
        message(native, message) {
          native.data.handler.message(native.data.peer!, message);
        },
        drain(native) {
          native.data.handler.drain?.(native.data.peer!);
        },
        close(native, code, reason) {
          open.delete(native);
          native.data.handler.close(native.data.peer!, code, reason);
        },
        // Bun pings by itself, so that only a peer that is gone is ever idle.
        idleTimeout: 120,
        // Above its limit Bun drops messages; the port's caller is told what waits and decides.
        backpressureLimit: 2 ** 31 - 1,
      },
    });
  } catch (error) {
    throw netError(error, `serve http on ${options.host}:${options.port}`);
  }
  return {
    host: options.host,
    port: server.port!,
    stop(graceMs) {
      stopping = true;
      return stop(clock, server, open, graceMs);
    },
  };
}

/** What a WebSocket is closed with when the server stops: going away. */
const stopped = [1001, "server stops"] as const;

/** How long a connection may be silent before it is closed; Bun's largest. */
const idleSeconds = 255;

/** Streams that may be silent for longer: the client is there to listen, not to ask again. */
function isEventStream(response: Response): boolean {
  return /^(text\/event-stream|application\/x-ndjson)/.test(
    response.headers.get("content-type") ?? "",
  );
}

class BunHttpContext implements HttpContext {
  upgraded = false;
  readonly #request: Request;
  readonly #server: Bun.Server<SocketData>;

  constructor(request: Request, server: Bun.Server<SocketData>) {
    this.#request = request;
    this.#server = server;
  }

  get remoteHost(): string {
    const host = this.#server.requestIP(this.#request)?.address ?? "";
    return host.startsWith("::ffff:") ? host.slice(7) : host;
  }

  upgrade(handler: WebSocketHandler): Response | undefined {
    if (this.#request.headers.get("upgrade")?.toLowerCase() !== "websocket") return undefined;
    const data: SocketData = { handler, peer: undefined };
    if (!this.#server.upgrade(this.#request, { data })) return undefined;
    this.upgraded = true;
    return new Response(null);
  }
}

class ServerPeer implements WebSocketPeer {
  readonly #native: NativeSocket;

  constructor(native: NativeSocket) {
    this.#native = native;
  }

  send(message: string | Uint8Array): number {
    this.#native.send(message as string);
    return this.#native.getBufferedAmount();
  }

  get bufferedBytes(): number {
    return this.#native.getBufferedAmount();
  }

  close(code?: number, reason?: string): void {
    this.#native.close(closeCode(code), closeReason(reason));
  }
}

async function stop(
  clock: Clock,
  server: Bun.Server<SocketData>,
  open: ReadonlySet<NativeSocket>,
  graceMs: number,
): Promise<void> {
  // A WebSocket has no end of its own to wait for.
  for (const native of open) native.close(...stopped);
  const answered = server.stop(false);
  await new Promise<void>((resolve) => {
    const timer = clock.timer(graceMs, resolve, undefined);
    answered.then(() => {
      timer.cancel();
      resolve();
    });
  });
  // Besides what is late, a connection that never asked for anything is still there: Bun waits for
  // requests only, and would answer those to come (tried on 1.4.5).
  await server.stop(true);
}
