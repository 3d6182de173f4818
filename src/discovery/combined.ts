/** Several ways of discovery as one. */
import { type Candidate, type CandidateSink, type Discovery, sameCandidates } from "./discovery.ts";

export class CombinedDiscovery implements Discovery {
  readonly #parts: readonly Discovery[];
  readonly #candidatesMax: number;
  #candidates: readonly Candidate[] = [];
  #stopped = false;

  /** Where two know an address, the first one is named as its source; the first come first. */
  constructor(parts: readonly Discovery[], candidatesMax: number) {
    this.#parts = parts;
    this.#candidatesMax = candidatesMax;
  }

  get candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  start(sink: CandidateSink): void {
    const changed = (): void => {
      if (this.#stopped) return;
      const merged = this.#merge();
      if (sameCandidates(merged, this.#candidates)) return;
      this.#candidates = merged;
      sink(merged);
    };
    for (const part of this.#parts) part.start(changed);
  }

  stop(): void {
    this.#stopped = true;
    for (const part of this.#parts) part.stop();
  }

  #merge(): Candidate[] {
    const found = new Map<string, Candidate>();
    for (const part of this.#parts) {
      for (const candidate of part.candidates) {
        if (found.size >= this.#candidatesMax) break;
        if (!found.has(candidate.address)) found.set(candidate.address, candidate);
      }
    }
    return [...found.values()];
  }
}
