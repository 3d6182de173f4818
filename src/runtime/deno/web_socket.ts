/** WebSockets: Deno's servers and clients are of one class. */
import { closeCode, closeReason } from "../../base/web_socket.ts";
import { messageOf } from "../error.ts";
import { NetError, type WebSocketHandler, type WebSocketPeer } from "../port.ts";
import { isMissingPermission, netDenied } from "./error.ts";

/** A peer whose handler hears from it; {@link start} once its native socket is open. */
export class DenoWebSocket implements WebSocketPeer {
  readonly #native: WebSocket;
  readonly #handler: WebSocketHandler;

  constructor(native: WebSocket, handler: WebSocketHandler) {
    native.binaryType = "arraybuffer";
    this.#native = native;
    this.#handler = handler;
  }

  /** Tells the handler that it is open, and from now on of messages and of the end. */
  start(): void {
    this.#native.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      const { data } = event;
      this.#handler.message(this, typeof data === "string" ? data : new Uint8Array(data));
    };
    // What follows is a close event, which tells the rest.
    this.#native.onerror = () => {};
    this.#native.onclose = (event) => this.#handler.close(this, event.code, event.reason);
    this.#handler.open(this);
  }

  send(message: string | Uint8Array): number {
    if (this.#native.readyState === WebSocket.OPEN) {
      this.#native.send(message as string | Uint8Array<ArrayBuffer>);
    }
    return this.#native.bufferedAmount;
  }

  get bufferedBytes(): number {
    return this.#native.bufferedAmount;
  }

  close(code?: number, reason?: string): void {
    const short = closeReason(reason);
    try {
      this.#native.close(closeCode(code), short);
    } catch {
      // A client may give 1000 and 3000 to 4999 only, says the standard.
      this.#native.close(1000, short);
    }
  }
}

/** Opens one as a client; see the port. */
export function openWebSocket(
  url: string,
  handler: WebSocketHandler,
  timeoutMs: number,
): Promise<WebSocketPeer> {
  return new Promise((resolve, reject) => {
    let native: WebSocket;
    try {
      native = new WebSocket(url);
    } catch (error) {
      return reject(refusal(url, error));
    }
    const peer = new DenoWebSocket(native, handler);
    const fail = (error: NetError): void => {
      clearTimeout(timer);
      native.onopen = native.onerror = native.onclose = null;
      reject(error);
    };
    const timer = setTimeout(() => {
      fail(new NetError("timeout", `open ${url}: no answer in ${timeoutMs} ms`));
      native.onerror = () => {};
      native.close();
    }, timeoutMs);
    native.onerror = (event) => fail(refusal(url, (event as ErrorEvent).error ?? event));
    native.onclose = (event) => {
      fail(new NetError("other", `open ${url}: closed with code ${event.code}`));
    };
    native.onopen = () => {
      clearTimeout(timer);
      native.onopen = null;
      peer.start();
      resolve(peer);
    };
  });
}

function refusal(url: string, error: unknown): NetError {
  const doing = `open ${url}`;
  if (isMissingPermission(error)) return netDenied(doing, `--allow-net=${hostOf(url)}`, error);
  const why = messageOf(error);
  if (error instanceof DOMException && error.name === "SyntaxError") {
    return new NetError("invalid", `${doing}: ${why}`, error);
  }
  // Deno's text is all there is to tell them by (tried on 2.9.5).
  const kind = why.includes("tcp connect error") ? "refused" : "other";
  return new NetError(kind, `${doing}: ${why}`, error);
}

/** Host and port for a permission flag. */
export function hostOf(url: string): string {
  return URL.parse(url)?.host ?? url;
}
