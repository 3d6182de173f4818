/** What all clients of a run did and saw, for the checks afterwards. */
import type { KvInput, KvOperation, KvOutput } from "../linearizability/kv_model.ts";

/** How an operation ended for its client. */
export type Outcome = "open" | "answered" | "refused" | "unknown";

export interface Recorded {
  readonly id: number;
  readonly client: string;
  readonly input: KvInput;
  readonly callMs: number;
  outcome: Outcome;
  /** What its client was told when it was refused. */
  failure: string;
  output: KvOutput | undefined;
  endMs: number;
}

export class History {
  readonly #now: () => number;
  readonly operations: Recorded[] = [];
  /** By the values that they put. */
  readonly writers: Map<string, Recorded> = new Map();

  constructor(now: () => number) {
    this.#now = now;
  }

  begin(client: string, input: KvInput): Recorded {
    const recorded: Recorded = {
      id: this.operations.length + 1,
      client,
      input,
      callMs: this.#now(),
      outcome: "open",
      failure: "",
      output: undefined,
      endMs: Infinity,
    };
    this.operations.push(recorded);
    for (const action of input.success) {
      if (action.kind === "put") this.writers.set(action.value, recorded);
    }
    return recorded;
  }

  answered(recorded: Recorded, output: KvOutput): void {
    recorded.outcome = "answered";
    recorded.output = output;
    recorded.endMs = this.#now();
  }

  /** It certainly did not happen and will not. */
  refused(recorded: Recorded, failure: string): void {
    recorded.outcome = "refused";
    recorded.failure = failure;
    recorded.endMs = this.#now();
  }

  /** It may have happened, or may yet. */
  unknown(recorded: Recorded): void {
    recorded.outcome = "unknown";
  }

  /** For the checker: refused operations are none. */
  forChecker(): KvOperation[] {
    return this.operations.filter(({ outcome }) => outcome !== "refused").map(
      ({ id, client, input, output, callMs, endMs }) => ({
        id,
        client,
        input,
        output,
        call: callMs,
        end: output === undefined ? Infinity : endMs,
      }),
    );
  }
}
