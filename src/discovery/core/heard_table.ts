/** Addresses that were heard of, each for a while. Whoever shouts can fill no more than this. */

export interface HeardTableOptions {
  readonly candidatesMax: number;
  /** Addresses that one sender's host may name: several nodes can share a machine. */
  readonly perSenderMax: number;
  /** How long an address stays that is not heard of again. */
  readonly lifetimeMs: number;
}

interface Entry {
  readonly sender: string;
  untilMs: number;
}

export class HeardTable {
  readonly #options: HeardTableOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #perSender = new Map<string, number>();

  constructor(options: HeardTableOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** In an order that does not depend on who was heard first. */
  addresses(): string[] {
    return [...this.#entries.keys()].sort();
  }

  /** Takes note of an address. `full`: there is no room, in all or for this sender. */
  heard(address: string, sender: string, nowMs: number): "new" | "known" | "full" {
    const { candidatesMax, perSenderMax, lifetimeMs } = this.#options;
    const known = this.#entries.get(address);
    if (known !== undefined) {
      known.untilMs = nowMs + lifetimeMs;
      return "known";
    }
    const count = this.#perSender.get(sender) ?? 0;
    if (this.#entries.size >= candidatesMax || count >= perSenderMax) return "full";
    this.#entries.set(address, { sender, untilMs: nowMs + lifetimeMs });
    this.#perSender.set(sender, count + 1);
    return "new";
  }

  /** Forgets what was not heard of for too long; says whether there was any. */
  expire(nowMs: number): boolean {
    let any = false;
    for (const [address, { sender, untilMs }] of this.#entries) {
      if (untilMs > nowMs) continue;
      any = true;
      this.#entries.delete(address);
      const left = this.#perSender.get(sender)! - 1;
      if (left === 0) this.#perSender.delete(sender);
      else this.#perSender.set(sender, left);
    }
    return any;
  }
}
