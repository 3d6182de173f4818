/** Reads that need no entry of the log, in slices where they are long. */
import type { Failure, RangeResult, TransactionResult } from "./core/result.ts";
import type { KvParts } from "./kv_parts.ts";
import { payloadBytesMax } from "./options.ts";
import type { RangeRequest, TransactionCommand } from "./core/command.ts";
import { answerBytes, readTooLarge, scanBytesMax } from "./response.ts";
import { refused, unavailable } from "./refusal.ts";

/** What the machine calls a scan. */
interface Scan<Result> {
  step(keys: number): Result | "compacted" | "too_large" | undefined;
}

/** The machine is within an entry. */
export interface HalfApplied {
  readonly kind: "halfApplied";
}

const halfApplied: Scan<HalfApplied> = { step: () => ({ kind: "halfApplied" }) };

/** What one step looks at: a fraction of a millisecond. */
const keysPerStep = 256;
/** How often a compaction may overtake a read of the newest revision, which then begins anew. */
const triesMax = 3;

export class Reads {
  readonly #parts: KvParts;

  constructor(parts: KvParts) {
    this.#parts = parts;
  }

  /** Of the machine as it is here and now. Throws, or rejects, with what it refuses. */
  range(request: RangeRequest): RangeResult | Promise<RangeResult> {
    const bytesMax = scanBytesMax(payloadBytesMax(this.#parts.settings));
    const { machine, counters } = this.#parts;
    const result = this.#scan(() => machine.scan(request, bytesMax), request.revision !== 0);
    if (result instanceof Promise) counters.slicedRanges++;
    return result;
  }

  /**
   * A transaction that only reads. Its compares would look into an entry that is half applied, be it
   * only when it has to begin anew: then the log has to decide the order.
   */
  transaction(
    command: TransactionCommand,
  ): TransactionResult | HalfApplied | Promise<TransactionResult | HalfApplied> {
    const bytesMax = scanBytesMax(payloadBytesMax(this.#parts.settings));
    const { machine } = this.#parts;
    return this.#scan<TransactionResult | HalfApplied>(
      () => machine.applying ? halfApplied : machine.scanTransaction(command, bytesMax),
      false,
    );
  }

  #scan<Result extends RangeResult | TransactionResult | HalfApplied>(
    open: () => Scan<Result> | Failure,
    pinned: boolean,
  ): Result | Promise<Result> {
    const { machine, slices, settings, commands } = this.#parts;
    const bytesMax = payloadBytesMax(settings);
    let scan: Scan<Result> | undefined;
    let tries = 0;
    return slices.run((): Result | undefined => {
      if (scan === undefined) {
        this.assertReadable();
        const opened = open();
        if ("kind" in opened) throw refused(opened, machine.limits);
        scan = opened;
      }
      const result = scan.step(keysPerStep);
      if (result === undefined) return undefined;
      if (result === "too_large") throw readTooLarge(bytesMax);
      if (result === "compacted") {
        if (pinned || ++tries === triesMax) {
          throw refused(commands.failure("compacted"), machine.limits);
        }
        scan = undefined;
        return undefined;
      }
      if (result.kind === "halfApplied") return result;
      if (answerBytes(result, bytesMax) > bytesMax) throw readTooLarge(bytesMax);
      return result;
    });
  }

  /** Throws while there is nothing that could be shown. */
  assertReadable(): void {
    if (!this.#parts.machine.restoring) return;
    throw unavailable(
      "this node is taking over a snapshot of the store: try again, or ask another node",
    );
  }
}
