/** Those who wait until a ticket of the log is durable. */
import type { LogError } from "./error.ts";

interface Waiter {
  readonly ticket: number;
  readonly resolve: () => void;
  readonly reject: (error: LogError) => void;
}

export class Waiters {
  #waiters: Waiter[] = [];

  add(ticket: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ ticket, resolve, reject });
    });
  }

  /** Everything up to this ticket is durable. */
  durable(ticket: number): void {
    if (this.#waiters.length === 0) return;
    const done = this.#waiters.filter((waiter) => waiter.ticket <= ticket);
    this.#waiters = this.#waiters.filter((waiter) => waiter.ticket > ticket);
    for (const { resolve } of done) resolve();
  }

  /** Nothing more becomes durable. */
  reject(error: LogError): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiters) reject(error);
  }
}
