/** Addresses that an operator wrote down. */
import { formatAddress, parseAddress } from "../base/address.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import type { Candidate, CandidateSink, Discovery } from "./discovery.ts";

export class StaticDiscovery implements Discovery {
  readonly #clock: Clock;
  readonly #all: readonly Candidate[];
  #candidates: readonly Candidate[] = [];
  #timer: Timer | undefined;

  /** Throws `invalid_argument` for what is no address. */
  constructor(clock: Clock, addresses: readonly string[]) {
    this.#clock = clock;
    const whole = addresses.map((address) => formatAddress(parseAddress(address)));
    this.#all = [...new Set(whole)].map((address) => ({ address, source: "static" }));
  }

  get candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  start(sink: CandidateSink): void {
    if (this.#all.length === 0) return;
    const tell = (): void => {
      this.#candidates = this.#all;
      sink(this.#all);
    };
    this.#timer = this.#clock.timer(0, tell, undefined);
  }

  stop(): void {
    this.#timer?.cancel();
  }
}
