/** Lines of the log that would come again and again: each once an hour, on disks that wear. */
import type { Logger } from "../base/log.ts";
import type { Clock } from "../runtime/port.ts";

/** The same sentence is not written again before. */
const againMs = 3_600_000;
/** Sentences that are remembered for that. */
const saidMax = 64;

export class RareLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** When each sentence was written, the oldest first. */
  readonly #said = new Map<string, number>();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** What is the same is told by `why`. */
  say(
    level: "info" | "warning" | "error",
    message: string,
    fields: { readonly why: string } & Readonly<Record<string, unknown>>,
  ): void {
    const { why } = fields;
    const nowMs = this.#clock.monotonicMs();
    const saidMs = this.#said.get(why);
    if (saidMs !== undefined && nowMs - saidMs < againMs) return;
    this.#said.delete(why);
    if (this.#said.size >= saidMax) this.#said.delete([...this.#said.keys()][0]);
    this.#said.set(why, nowMs);
    this.#logger[level](message, fields);
  }
}
