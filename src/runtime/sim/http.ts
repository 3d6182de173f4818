/**
 * The `Http` of one process: requests, responses and WebSockets between machines, in memory. `https`
 * and a server's `tls` are taken as plain: node-to-node TLS is the streams' matter.
 */
import {
  type Http,
  type HttpServeOptions,
  type HttpServer,
  type Net,
  NetError,
  type WebSocketHandler,
  type WebSocketPeer,
} from "../port.ts";
import {
  frameConnectionHandler,
  type FrameHandler,
  FrameKind,
  FrameStream,
  headerList,
  readHead,
  type RequestHead,
  type ResponseHead,
} from "./http_frames.ts";
import { SimHttpServer } from "./http_server.ts";
import type { SimProcess } from "./process.ts";
import { WebSocketOpening } from "./web_socket.ts";

const dialTimeoutMs = 30_000;
const noBytes = new Uint8Array(0);

export class SimHttp implements Http {
  readonly #net: Net;
  readonly #process: SimProcess;

  constructor(net: Net, process: SimProcess) {
    this.#net = net;
    this.#process = process;
  }

  async serve(options: HttpServeOptions): Promise<HttpServer> {
    const server = new SimHttpServer(options, this.#process);
    await server.start(this.#net);
    return server;
  }

  async fetch(request: Request): Promise<Response> {
    request.signal.throwIfAborted();
    const body = request.body === null ? noBytes : new Uint8Array(await request.arrayBuffer());
    const exchange = new ClientExchange();
    const stream = await this.#dial(new URL(request.url), exchange, {
      timeoutMs: dialTimeoutMs,
      signal: request.signal,
    });
    const onAbort = () => exchange.abort(stream, request.signal.reason);
    request.signal.addEventListener("abort", onAbort, { once: true });
    exchange.whenOver(() => request.signal.removeEventListener("abort", onAbort));
    const head: RequestHead = {
      method: request.method,
      url: request.url,
      headers: headerList(request.headers),
      webSocket: false,
    };
    stream.sendJson(FrameKind.requestHead, head);
    if (body.length > 0) stream.send(FrameKind.body, body);
    stream.send(FrameKind.bodyEnd, noBytes);
    return await exchange.response;
  }

  async webSocket(
    url: string,
    handler: WebSocketHandler,
    timeoutMs: number,
  ): Promise<WebSocketPeer> {
    const clock = this.#process.runtime.clock;
    const opening = new WebSocketOpening(handler);
    const target = new URL(url);
    const started = clock.monotonicMs();
    const stream = await this.#dial(target, opening, { timeoutMs });
    const head: RequestHead = {
      method: "GET",
      url: url.replace(/^ws/, "http"),
      headers: [["connection", "Upgrade"], ["upgrade", "websocket"]],
      webSocket: true,
    };
    stream.sendJson(FrameKind.requestHead, head);
    const left = timeoutMs - (clock.monotonicMs() - started);
    const timer = clock.timer(left, () => {
      opening.reject(new NetError("timeout", `no WebSocket after ${timeoutMs} ms`));
      stream.abort();
    }, undefined);
    try {
      return await opening.opened;
    } finally {
      timer.cancel();
    }
  }

  async #dial(
    url: URL,
    handler: FrameHandler,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<FrameStream> {
    const secure = url.protocol === "https:" || url.protocol === "wss:";
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
    const stream = new FrameStream(handler);
    await this.#net.connect({
      address: { kind: "tcp", host, port },
      handler: frameConnectionHandler,
      state: stream,
      timeoutMs: options.timeoutMs,
      signal: options.signal,
    });
    return stream;
  }
}

/** The client's half of one request. */
class ClientExchange implements FrameHandler {
  readonly response: Promise<Response>;
  #resolve!: (response: Response) => void;
  #reject!: (reason: unknown) => void;
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  #done = false;
  #over: () => void = () => {};

  constructor() {
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  whenOver(callback: () => void): void {
    this.#over = callback;
  }

  abort(stream: FrameStream, reason: unknown): void {
    if (this.#done) return;
    this.#fail(reason);
    stream.abort();
  }

  frame(stream: FrameStream, kind: FrameKind, payload: Uint8Array): void {
    if (kind === FrameKind.responseHead) {
      const head = readHead<ResponseHead>(payload);
      if (head === undefined) return stream.abort();
      this.#resolve(this.#answer(stream, head));
    } else if (kind === FrameKind.body && this.#body !== undefined) {
      this.#body.enqueue(payload);
    } else if (kind === FrameKind.bodyEnd) {
      this.#done = true;
      this.#body?.close();
      stream.close();
    }
  }

  behind(): boolean {
    return (this.#body?.desiredSize ?? 1) <= 0;
  }

  drained(_stream: FrameStream): void {}

  ended(_stream: FrameStream, error: NetError | undefined): void {
    this.#over();
    if (!this.#done) this.#fail(error ?? new NetError("reset", "the server hung up"));
  }

  #answer(stream: FrameStream, head: ResponseHead): Response {
    const init = {
      status: head.status,
      statusText: head.statusText,
      headers: head.headers.map(([name, value]): [string, string] => [name, value]),
    };
    if (!head.hasBody) return new Response(null, init);
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#body = controller;
      },
      pull: () => stream.connection.resume(),
      cancel: () => {
        this.#done = true;
        stream.abort();
      },
    });
    return new Response(body, init);
  }

  #fail(reason: unknown): void {
    this.#done = true;
    this.#reject(reason);
    // Errors the body too when the head was here already.
    this.#body?.error(reason);
  }
}
