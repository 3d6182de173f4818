/**
 * When an edge counts as failed: with four of the last ten probes unanswered (section 6 of the
 * paper: 40 %). Time plays no part, so that a lossy link needs many losses close together.
 */
import { bitCount } from "./bitmap.ts";

export class EdgeWindow {
  readonly #mask: number;
  readonly #failuresMax: number;
  #failures = 0;

  /** `probes`: at most 30. `fraction`: of them; at least so many failures are a failed edge. */
  constructor(probes: number, fraction: number) {
    this.#mask = (1 << probes) - 1;
    this.#failuresMax = Math.max(1, Math.ceil(probes * fraction));
  }

  record(isAnswered: boolean): void {
    this.#failures = (this.#failures << 1 | (isAnswered ? 0 : 1)) & this.#mask;
  }

  get isFailed(): boolean {
    return bitCount(this.#failures) >= this.#failuresMax;
  }
}
