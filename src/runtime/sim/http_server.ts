/** The serving half of the simulator's HTTP. */
import { concatBytes } from "../../base/bytes.ts";
import type {
  HttpContext,
  HttpServeOptions,
  HttpServer,
  Listener,
  Net,
  NetError,
  WebSocketHandler,
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
import type { SimProcess } from "./process.ts";
import { openWebSocket, type SimWebSocket } from "./web_socket.ts";

const connectionsMax = 10_000;
const noBytes = new Uint8Array(0);

export class SimHttpServer implements HttpServer {
  readonly host: string;
  port = 0;
  readonly options: HttpServeOptions;
  readonly #process: SimProcess;
  readonly #streams = new Set<FrameStream>();
  readonly #webSockets = new Set<SimWebSocket>();
  #listener: Listener | undefined;
  /** Requests without a whole answer yet. */
  #inFlight = 0;
  #idle: (() => void)[] = [];

  constructor(options: HttpServeOptions, process: SimProcess) {
    this.options = options;
    this.host = options.host;
    this.#process = process;
  }

  async start(net: Net): Promise<void> {
    this.#listener = await net.listen({
      address: { kind: "tcp", host: this.options.host, port: this.options.port },
      handler: frameConnectionHandler,
      state: (peer) => {
        const remoteHost = peer.address.kind === "tcp" ? peer.address.host : "";
        const stream = new FrameStream(new ServerExchange(this, remoteHost));
        this.#streams.add(stream);
        return stream;
      },
      connectionsMax,
    });
    if (this.#listener.address.kind === "tcp") this.port = this.#listener.address.port;
  }

  async stop(graceMs: number): Promise<void> {
    this.#listener?.stop();
    // The stop frame goes at once: a WebSocket has no answer that the grace could wait for.
    for (const socket of this.#webSockets) socket.close(1001, "server stops");
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve);
        this.#process.runtime.clock.timer(graceMs, resolve, undefined);
      });
    }
    for (const stream of this.#streams) stream.close();
  }

  requestBegan(): void {
    this.#inFlight++;
  }

  requestEnded(): void {
    this.#inFlight--;
    if (this.#inFlight > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }

  upgraded(socket: SimWebSocket): void {
    this.#webSockets.add(socket);
  }

  streamEnded(stream: FrameStream): void {
    this.#streams.delete(stream);
    if (stream.handler instanceof ServerExchange) return;
    this.#webSockets.delete(stream.handler as SimWebSocket);
  }
}

/** One request as the server sees it. */
class ServerExchange implements FrameHandler {
  readonly #server: SimHttpServer;
  readonly #remoteHost: string;
  readonly #aborted = new AbortController();
  #head: RequestHead | undefined;
  #body: Uint8Array[] = [];
  #bodyBytes = 0;
  #answering = false;
  #answerBody: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(server: SimHttpServer, remoteHost: string) {
    this.#server = server;
    this.#remoteHost = remoteHost;
  }

  frame(stream: FrameStream, kind: FrameKind, payload: Uint8Array): void {
    if (this.#answering) return;
    if (kind === FrameKind.requestHead) {
      this.#head = readHead<RequestHead>(payload);
      if (this.#head === undefined) return stream.abort();
      if (this.#head.webSocket) this.#answer(stream, this.#head);
    } else if (kind === FrameKind.body) {
      this.#bodyBytes += payload.length;
      if (this.#bodyBytes <= this.#server.options.bodyBytesMax) this.#body.push(payload);
    } else if (kind === FrameKind.bodyEnd && this.#head !== undefined) {
      this.#answer(stream, this.#head);
    } else {
      stream.abort();
    }
  }

  drained(_stream: FrameStream): void {}

  ended(stream: FrameStream, _error: NetError | undefined): void {
    this.#server.streamEnded(stream);
    this.#aborted.abort();
    // Whoever makes the body learns that nobody wants it any more; that it fails then is its own.
    this.#answerBody?.cancel().catch(() => {});
  }

  async #answer(stream: FrameStream, head: RequestHead): Promise<void> {
    this.#answering = true;
    this.#server.requestBegan();
    try {
      if (this.#bodyBytes > this.#server.options.bodyBytesMax) {
        await this.#send(stream, new Response("body too large", { status: 413 }));
        return;
      }
      const hasBody = this.#bodyBytes > 0 && head.method !== "GET" && head.method !== "HEAD";
      const request = new Request(head.url, {
        method: head.method,
        headers: head.headers.map(([name, value]): [string, string] => [name, value]),
        body: hasBody ? concatBytes(this.#body) as Uint8Array<ArrayBuffer> : undefined,
        signal: this.#aborted.signal,
      });
      let upgrade: { readonly handler: WebSocketHandler; readonly response: Response } | undefined;
      const context: HttpContext = {
        remoteHost: this.#remoteHost,
        upgrade: (handler) => {
          if (!head.webSocket) return undefined;
          upgrade = { handler, response: new Response(null) };
          return upgrade.response;
        },
      };
      const response = await this.#server.options.fetch(request, context);
      if (upgrade !== undefined && response === upgrade.response) {
        this.#upgrade(stream, upgrade.handler);
      } else {
        await this.#send(stream, response);
      }
    } finally {
      this.#server.requestEnded();
    }
  }

  #upgrade(stream: FrameStream, handler: WebSocketHandler): void {
    if (stream.over) return;
    const head: ResponseHead = { status: 101, statusText: "", headers: [], hasBody: false };
    stream.sendJson(FrameKind.responseHead, head);
    const server = this.#server;
    const socket = openWebSocket(stream, {
      open: (peer) => handler.open(peer),
      message: (peer, message) => handler.message(peer, message),
      drain: (peer) => handler.drain?.(peer),
      close: (peer, code, reason) => {
        server.streamEnded(stream);
        handler.close(peer, code, reason);
      },
    });
    server.upgraded(socket);
  }

  async #send(stream: FrameStream, response: Response): Promise<void> {
    const head: ResponseHead = {
      status: response.status,
      statusText: response.statusText,
      headers: headerList(response.headers),
      hasBody: response.body !== null,
    };
    stream.sendJson(FrameKind.responseHead, head);
    const reader = response.body?.getReader();
    this.#answerBody = reader;
    while (reader !== undefined && !stream.over) {
      const { done, value } = await reader.read();
      if (done) break;
      if (value.length > 0) stream.send(FrameKind.body, value);
      // The body is read no faster than the peer takes it.
      await stream.flushed();
    }
    stream.send(FrameKind.bodyEnd, noBytes);
  }
}
