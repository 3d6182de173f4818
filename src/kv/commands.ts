/**
 * Commands on their way through the log. What no machine would take is refused before it becomes an
 * entry of the log; whether it is too large is the leader's limits to say, which a node that is
 * behind may not know yet.
 */
import type {
  Command,
  DeleteRangeCommand,
  PutCommand,
  SessionHeader,
  TransactionCommand,
} from "./core/command.ts";
import { Code, CoveyError } from "../base/error.ts";
import { encodeCommand } from "./core/command_codec.ts";
import type { Failure, FailureReason, KvResult } from "./core/result.ts";
import type { KvGroup, RequestOptions } from "./group.ts";
import { writesPerSample } from "./counters.ts";
import type { KvParts } from "./kv_parts.ts";
import { refused } from "./refusal.ts";
import { shapeProblem } from "./core/transaction.ts";

type ResultOf<Kind extends KvResult["kind"]> = Extract<KvResult, { readonly kind: Kind }>;

/** These depend on limits, which change through the log. */
const byLimit: ReadonlySet<FailureReason> = new Set([
  "request_too_large",
  "key_too_large",
  "too_many_operations",
]);

export class Commands {
  readonly #parts: KvParts;
  #proposed = 0;

  constructor(parts: KvParts) {
    this.#parts = parts;
  }

  /** Resolves with what the machine says, refusals included; rejects with what the group says. */
  propose(
    command: Command,
    session?: SessionHeader,
    options?: RequestOptions,
  ): Promise<KvResult> {
    const data = encodeCommand(command, session);
    const { group } = this.#parts;
    const reason = this.#problem(command, session, data.length);
    if (reason !== undefined) {
      return this.#refuse(
        reason,
        () => this.#problem(command, session, data.length),
        data,
        options,
      );
    }
    return ++this.#proposed % writesPerSample === 0
      ? this.#timed(group, data, options)
      : group.propose(data, options);
  }

  /** The result if it is of this kind; throws what it is else. */
  expect<Kind extends KvResult["kind"]>(result: KvResult, kind: Kind): ResultOf<Kind> {
    if (result.kind === kind) return result as ResultOf<Kind>;
    this.#parts.counters.refusals++;
    if (result.kind === "failure") throw refused(result, this.#parts.machine.limits);
    throw new CoveyError(
      Code.failedPrecondition,
      `the session's command of this number was a ${result.kind}, not a ${kind}: give each command ` +
        "a number of its own",
    );
  }

  failure(reason: FailureReason): Failure {
    const { revision, compactRevision } = this.#parts.machine;
    return { kind: "failure", revision, reason, compactRevision };
  }

  #problem(
    command: Command,
    session: SessionHeader | undefined,
    bytes: number,
  ): FailureReason | undefined {
    const { limits } = this.#parts.machine;
    if (bytes > limits.requestBytesMax) return "request_too_large";
    if (!hasShape(command)) return undefined;
    const reason = shapeProblem(command, limits);
    // It may be a retry of what was applied under other limits: only the log can tell.
    return reason !== undefined && session !== undefined && byLimit.has(reason)
      ? undefined
      : reason;
  }

  async #refuse(
    reason: FailureReason,
    again: () => FailureReason | undefined,
    data: Uint8Array,
    options: RequestOptions | undefined,
  ): Promise<KvResult> {
    const { group } = this.#parts;
    if (!byLimit.has(reason) || group.isLeading) return this.failure(reason);
    await group.barrier(options);
    const still = again();
    return still === undefined ? group.propose(data, options) : this.failure(still);
  }

  async #timed(
    group: KvGroup,
    data: Uint8Array,
    options: RequestOptions | undefined,
  ): Promise<KvResult> {
    const { clock, counters } = this.#parts;
    const startedMs = clock.monotonicMs();
    const result = await group.propose(data, options);
    counters.onWrite?.((clock.monotonicMs() - startedMs) / 1000);
    return result;
  }
}

function hasShape(
  command: Command,
): command is PutCommand | DeleteRangeCommand | TransactionCommand {
  return command.kind === "put" || command.kind === "deleteRange" || command.kind === "transaction";
}
