/** The last cuts, for members that missed some. */
import type { Configuration, ConfigurationId, Cut } from "./configuration.ts";
import { isSameId } from "./configuration.ts";
import type { Cuts } from "./message.ts";

interface Step {
  readonly from: ConfigurationId;
  readonly cut: Cut;
  readonly to: ConfigurationId;
}

/** Whoever missed more gets the whole view. */
const stepsMax = 64;

export class History {
  readonly #steps: Step[] = [];

  add(from: Configuration, cut: Cut, to: Configuration): void {
    this.#steps.push({ from: idOf(from), cut, to: idOf(to) });
    if (this.#steps.length > stepsMax) this.#steps.shift();
  }

  /** What somebody in this configuration missed; undefined when that is not known any more. */
  since(id: ConfigurationId): Cuts | undefined {
    const at = this.#steps.findIndex(({ from }) => isSameId(from, id));
    if (at < 0) return undefined;
    const missed = this.#steps.slice(at);
    const cuts = missed.map(({ cut }) => cut);
    return { kind: "cuts", from: id, cuts, to: missed[missed.length - 1].to };
  }
}

export function idOf({ epoch, digest }: ConfigurationId): ConfigurationId {
  return { epoch, digest };
}
