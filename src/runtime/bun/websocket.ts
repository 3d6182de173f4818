/** A WebSocket client on the engine's own `WebSocket`. */
import { closeCode, closeReason } from "../../base/web_socket.ts";
import { type Clock, NetError, type WebSocketHandler, type WebSocketPeer } from "../port.ts";
import { netError } from "./error.ts";

/** Opens; see the port. */
export function openWebSocket(
  clock: Clock,
  url: string,
  handler: WebSocketHandler,
  timeoutMs: number,
): Promise<WebSocketPeer> {
  return new Promise((resolve, reject) => {
    let native: WebSocket;
    try {
      native = new WebSocket(url);
    } catch (error) {
      return reject(new NetError("invalid", `open ${url}: not a WebSocket address`, error));
    }
    native.binaryType = "arraybuffer";
    const peer = new ClientPeer(native);
    let failure: unknown;
    let state: "opening" | "open" | "done" = "opening";
    const timer = clock.timer(timeoutMs, () => {
      if (state !== "opening") return;
      state = "done";
      native.close();
      reject(new NetError("timeout", `open ${url}: no answer in time`));
    }, undefined);
    native.onopen = () => {
      if (state !== "opening") return native.close();
      state = "open";
      timer.cancel();
      handler.open(peer);
      resolve(peer);
    };
    native.onmessage = (event) => {
      if (state !== "open") return;
      const data: unknown = event.data;
      handler.message(peer, typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer));
    };
    // Always followed by the close, which does not say why.
    native.onerror = (event) => {
      failure = (event as ErrorEvent).error;
    };
    native.onclose = (event) => {
      const before = state;
      state = "done";
      timer.cancel();
      if (before === "opening") reject(netError(failure ?? event.reason, `open ${url}`));
      else if (before === "open") handler.close(peer, event.code, event.reason);
    };
  });
}

class ClientPeer implements WebSocketPeer {
  readonly #native: WebSocket;

  constructor(native: WebSocket) {
    this.#native = native;
  }

  send(message: string | Uint8Array): number {
    if (this.#native.readyState === WebSocket.OPEN) this.#native.send(message as string);
    return this.#native.bufferedAmount;
  }

  get bufferedBytes(): number {
    return this.#native.bufferedAmount;
  }

  close(code?: number, reason?: string): void {
    this.#native.close(closeCode(code), closeReason(reason));
  }
}
