/** Producers that hold what the send queue had no room for: first come, first served. */

export class RoomQueue<C> {
  /** Bytes by call, in the order in which they came. */
  readonly #waiting: Map<C, number> = new Map();
  /** Those that were told of room and have not asked again; what they hold counts until they do. */
  readonly #told: Map<C, number> = new Map();
  #toldBytes = 0;
  #waitingBytes = 0;

  /** Whether somebody came before who has not been told yet. */
  get anyWaits(): boolean {
    return this.#waiting.size > 0;
  }

  /** What all of them hold. */
  get bytes(): number {
    return this.#waitingBytes + this.#toldBytes;
  }

  /** The call's producer keeps this many bytes; its place stays when it asks again. */
  wait(call: C, bytes: number): void {
    this.#waitingBytes += bytes - (this.#waiting.get(call) ?? 0);
    this.#waiting.set(call, bytes);
  }

  /** The call asks again: true when it was told to. */
  take(call: C): boolean {
    const bytes = this.#told.get(call);
    if (bytes === undefined) return false;
    this.#told.delete(call);
    this.#toldBytes -= bytes;
    return true;
  }

  /** The call does not wait any more. True when it did, and was not told. */
  leave(call: C): boolean {
    this.take(call);
    this.#waitingBytes -= this.#waiting.get(call) ?? 0;
    return this.#waiting.delete(call);
  }

  /** Tells those for whom there is room, in their order, up to the first for whom there is none. */
  feed(fits: (call: C, bytes: number) => boolean, tell: (call: C) => void): void {
    for (const [call, bytes] of this.#waiting) {
      if (!fits(call, bytes + this.#toldBytes)) return;
      this.#waiting.delete(call);
      this.#waitingBytes -= bytes;
      this.#told.set(call, bytes);
      this.#toldBytes += bytes;
      tell(call);
    }
  }
}
