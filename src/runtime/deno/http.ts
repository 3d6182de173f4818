/** The port's `Http` on `Deno.serve` and the engine's own `fetch` and `WebSocket`. */
import type { Http, HttpContext, HttpServeOptions, HttpServer, WebSocketHandler } from "../port.ts";
import { limitBody } from "./body_limit.ts";
import { isMissingPermission, netDenied, netError } from "./error.ts";
import { hostFlag } from "./permission.ts";
import { DenoWebSocket, hostOf, openWebSocket } from "./web_socket.ts";

/** How long to wait before serving again, when descriptors had run out. */
const serveAgainMs = 100;

/** HTTP as this process does it. */
export function createHttp(): Http {
  return {
    // deno-lint-ignore require-await -- what Deno throws at once must reach the caller as a rejection
    serve: async (options) => new DenoHttpServer(options),
    fetch: fetchChecked,
    webSocket: openWebSocket,
  };
}

async function fetchChecked(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    // Everything else is what `fetch` rejects with everywhere.
    if (!isMissingPermission(error)) throw error;
    throw netDenied(`fetch ${request.url}`, `--allow-net=${hostOf(request.url)}`, error);
  }
}

/** What a WebSocket is closed with when the server stops: going away. */
const stopped = [1001, "server stops"] as const;

class DenoHttpServer implements HttpServer {
  readonly host: string;
  readonly port: number;
  readonly #options: HttpServeOptions;
  readonly #webSockets = new Set<DenoWebSocket>();
  /** What gives up on requests that are not answered yet. */
  readonly #waiting = new Set<(response: Response) => void>();
  /** Aborted to end answers that are still being sent. */
  readonly #cut = new AbortController();
  #native: Deno.HttpServer<Deno.NetAddr>;
  #stopped = false;

  constructor(options: HttpServeOptions) {
    this.#options = options;
    try {
      this.#native = this.#serve(options.port);
    } catch (error) {
      const doing = `serve http on ${options.host}:${options.port}`;
      throw netError(error, doing, hostFlag(options.host, options.port));
    }
    this.host = options.host;
    this.port = this.#native.addr.port;
  }

  #serve(port: number): Deno.HttpServer<Deno.NetAddr> {
    const { host, tls } = this.#options;
    const native = Deno.serve({
      hostname: host,
      port,
      ...(tls && { cert: tls.certificate, key: tls.key }),
      onListen() {},
      onError: () => new Response("internal error", { status: 500 }),
    }, (request, info) => this.#answer(request, info));
    native.finished.catch(() => this.#serveAgain());
    return native;
  }

  /**
   * Deno's server ends when no descriptor is left to accept with, and unheard that would end the
   * process (tried on 2.9.5). Connections that exist go on; new ones are served again soon.
   */
  #serveAgain(): void {
    if (this.#stopped) return;
    setTimeout(() => {
      if (this.#stopped) return;
      try {
        this.#native = this.#serve(this.port);
      } catch {
        this.#serveAgain();
      }
    }, serveAgainMs);
  }

  async #answer(request: Request, info: Deno.ServeHandlerInfo<Deno.NetAddr>): Promise<Response> {
    const limited = limitBody(request, this.#options.bodyBytesMax);
    if (limited === undefined) return tooLarge();
    const context = new DenoHttpContext(request, info.remoteAddr.hostname, (peer) => {
      this.#webSockets.add(peer);
      if (this.#stopped) peer.close(...stopped);
      return () => this.#webSockets.delete(peer);
    });
    const cut = Promise.withResolvers<Response>();
    this.#waiting.add(cut.resolve);
    try {
      const answers = [this.#options.fetch(limited.request, context), cut.promise];
      if (limited.exceeded !== undefined) answers.push(limited.exceeded.then(tooLarge));
      const response = await Promise.race(answers);
      return context.upgraded ? response : this.#cuttable(response);
    } finally {
      this.#waiting.delete(cut.resolve);
    }
  }

  /**
   * Lets `stop` end an answer that has no end. What looks like a document is not passed through a
   * stream of ours, since Deno sends text and bytes without one.
   */
  #cuttable(response: Response): Response {
    const { headers } = response;
    const known = headers.has("content-length") ||
      (documents.test(headers.get("content-type") ?? "") && !headers.has("transfer-encoding"));
    if (known || response.body === null) return response;
    const { signal } = this.#cut;
    return new Response(response.body.pipeThrough(new TransformStream(), { signal }), response);
  }

  /**
   * Deno's `shutdown` waits for all answers and cannot be hurried: aborting the server after it
   * throws where nobody can catch it (tried on 2.9.5). So late answers are cut one by one.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    // A WebSocket has no end of its own to wait for.
    for (const peer of this.#webSockets) peer.close(...stopped);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, graceMs));
    await Promise.race([this.#native.shutdown().catch(() => {}), late]);
    clearTimeout(timer);
    for (const answer of this.#waiting) answer(unavailable());
    this.#cut.abort();
  }
}

/** Types of answers that are whole when they are made; a stream of such a type says `chunked`. */
const documents =
  /^(?:text\/(?:plain|html|css|javascript)|application\/(?:json|javascript|wasm)|image\/|font\/)/;

function unavailable(): Response {
  // Closed at once: the rest of a request that was cut may never come.
  return new Response("server stops", { status: 503, headers: { connection: "close" } });
}

function tooLarge(): Response {
  return new Response("request body too large", { status: 413 });
}

class DenoHttpContext implements HttpContext {
  readonly remoteHost: string;
  /** Whether the answer turns the request into a WebSocket. */
  upgraded = false;
  readonly #request: Request;
  readonly #opened: (peer: DenoWebSocket) => () => void;

  /** `opened` is told of a WebSocket that opened, and answers what to call when it closed. */
  constructor(request: Request, remoteHost: string, opened: (peer: DenoWebSocket) => () => void) {
    this.#request = request;
    this.#opened = opened;
    // A dual-stack server sees IPv4 clients in their IPv6 form.
    this.remoteHost = remoteHost.startsWith("::ffff:") ? remoteHost.slice(7) : remoteHost;
  }

  upgrade(handler: WebSocketHandler): Response | undefined {
    if (this.#request.headers.get("upgrade")?.toLowerCase() !== "websocket") return undefined;
    let upgrade: Deno.WebSocketUpgrade;
    try {
      upgrade = Deno.upgradeWebSocket(this.#request);
    } catch {
      // It asks for one, but not in a way that the standard knows.
      return undefined;
    }
    this.upgraded = true;
    let closed = (): void => {};
    const peer = new DenoWebSocket(upgrade.socket, {
      open: (peer) => handler.open(peer),
      message: (peer, message) => handler.message(peer, message),
      close(peer, code, reason) {
        closed();
        handler.close(peer, code, reason);
      },
    });
    upgrade.socket.onopen = () => {
      peer.start();
      closed = this.#opened(peer);
    };
    return upgrade.response;
  }
}
