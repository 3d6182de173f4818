/** WebSockets of the simulator's HTTP, the same on both sides once they are open. */
import { decodeText, encodeText } from "../../base/bytes.ts";
import { closeCode, closeReason } from "../../base/web_socket.ts";
import { NetError, type WebSocketHandler, type WebSocketPeer } from "../port.ts";
import {
  type FrameHandler,
  FrameKind,
  type FrameStream,
  readHead,
  type ResponseHead,
} from "./http_frames.ts";

/** A WebSocket from the request to the server's agreement. */
export class WebSocketOpening implements FrameHandler {
  readonly opened: Promise<WebSocketPeer>;
  reject!: (error: NetError) => void;
  readonly #handler: WebSocketHandler;
  #resolve!: (peer: WebSocketPeer) => void;

  constructor(handler: WebSocketHandler) {
    this.#handler = handler;
    this.opened = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.reject = reject;
    });
  }

  frame(stream: FrameStream, kind: FrameKind, payload: Uint8Array): void {
    const head = kind === FrameKind.responseHead ? readHead<ResponseHead>(payload) : undefined;
    if (head?.status !== 101) {
      this.reject(new NetError("other", `no WebSocket: status ${head?.status}`));
      return stream.close();
    }
    this.#resolve(openWebSocket(stream, this.#handler));
  }

  drained(_stream: FrameStream): void {}

  ended(_stream: FrameStream, error: NetError | undefined): void {
    this.reject(error ?? new NetError("other", "the server hung up"));
  }
}

/** Makes a stream a WebSocket, on either side, and tells its handler. */
export function openWebSocket(stream: FrameStream, handler: WebSocketHandler): SimWebSocket {
  const peer = new SimWebSocket(stream, handler);
  stream.handler = peer;
  handler.open(peer);
  return peer;
}

export class SimWebSocket implements WebSocketPeer, FrameHandler {
  readonly #stream: FrameStream;
  readonly #handler: WebSocketHandler;
  #closeSent = false;
  #closed = false;

  constructor(stream: FrameStream, handler: WebSocketHandler) {
    this.#stream = stream;
    this.#handler = handler;
  }

  get bufferedBytes(): number {
    return this.#stream.waitingBytes;
  }

  send(message: string | Uint8Array): number {
    if (this.#closeSent || this.#closed) return this.bufferedBytes;
    if (typeof message === "string") this.#stream.send(FrameKind.text, encodeText(message));
    else this.#stream.send(FrameKind.binary, message);
    return this.bufferedBytes;
  }

  close(code?: number, reason?: string): void {
    if (this.#closeSent || this.#closed) return;
    this.#closeSent = true;
    this.#stream.send(
      FrameKind.close,
      encodeText(`${closeCode(code)} ${closeReason(reason) ?? ""}`),
    );
  }

  frame(stream: FrameStream, kind: FrameKind, payload: Uint8Array): void {
    if (this.#closed) return;
    if (kind === FrameKind.text) {
      if (!this.#closeSent) this.#handler.message(this, decodeText(payload) ?? "");
    } else if (kind === FrameKind.binary) {
      if (!this.#closeSent) this.#handler.message(this, payload);
    } else if (kind === FrameKind.close) {
      if (!this.#closeSent) stream.send(FrameKind.close, payload);
      const [code, ...words] = (decodeText(payload) ?? "").split(" ");
      this.#over(Number(code), words.join(" "));
      stream.close();
    }
  }

  drained(_stream: FrameStream): void {
    if (!this.#closed) this.#handler.drain?.(this);
  }

  ended(_stream: FrameStream, _error: NetError | undefined): void {
    // RFC 6455, 7.1.5: the connection ended without a close frame.
    this.#over(1006, "");
  }

  #over(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handler.close(this, code, reason);
  }
}
