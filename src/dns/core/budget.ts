/**
 * What keeps the server from being used against others. Over UDP anybody can write another's address
 * as the sender, and a question of 40 bytes may have an answer of 1,232. Each network gets so many
 * bytes a second beyond what it sent itself; past that, answers are as short as the question and say
 * that there is more over TCP, where nobody can pretend to be another.
 */

export interface BudgetOptions {
  /** Of one network: an IPv4 /24 or an IPv6 /56. Also how much may come at once. */
  readonly bytesPerSecond: number;
  /** Of all networks together. */
  readonly totalBytesPerSecond: number;
  /** Networks that are told apart; the one that asked the longest ago is forgotten. */
  readonly networksMax: number;
}

interface Account {
  bytes: number;
  atMs: number;
}

export class AnswerBudget {
  readonly #options: BudgetOptions;
  readonly #accounts = new Map<string, Account>();
  readonly #total: Account;

  constructor(options: BudgetOptions) {
    this.#options = options;
    this.#total = { bytes: options.totalBytesPerSecond, atMs: 0 };
  }

  /** Networks that are kept. */
  get size(): number {
    return this.#accounts.size;
  }

  /** Takes the bytes, or says that they are not there. */
  take(ip: Uint8Array, bytes: number, nowMs: number): boolean {
    const { bytesPerSecond, totalBytesPerSecond, networksMax } = this.#options;
    const network = ip.subarray(0, ip.length === 4 ? 3 : 7).join(".");
    const account = this.#accounts.get(network) ?? { bytes: bytesPerSecond, atMs: nowMs };
    // Back at the end, so that the first one is the one that asked the longest ago.
    this.#accounts.delete(network);
    this.#accounts.set(network, account);
    if (this.#accounts.size > networksMax) {
      for (const oldest of this.#accounts.keys()) {
        this.#accounts.delete(oldest);
        break;
      }
    }
    refill(account, bytesPerSecond, nowMs);
    refill(this.#total, totalBytesPerSecond, nowMs);
    if (account.bytes < bytes || this.#total.bytes < bytes) return false;
    account.bytes -= bytes;
    this.#total.bytes -= bytes;
    return true;
  }
}

function refill(account: Account, bytesPerSecond: number, nowMs: number): void {
  const more = Math.max(0, nowMs - account.atMs) / 1000 * bytesPerSecond;
  account.bytes = Math.min(bytesPerSecond, account.bytes + more);
  account.atMs = nowMs;
}
