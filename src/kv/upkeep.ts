/**
 * What the store needs now and then: the leader compacts history and sees to the configured limits,
 * every node gives back the memory that a compaction freed. Without anything to do there is no
 * timer.
 */
import type { Clock, Timer } from "../runtime/port.ts";
import type { Command } from "./core/command.ts";
import { compactionDue, type CompactionPolicy } from "./core/compaction_policy.ts";
import type { KvLimits } from "./core/limits.ts";
import { limitNames } from "./core/limits.ts";
import type { KvParts } from "./kv_parts.ts";
import type { KvResult } from "./core/result.ts";

/** Entries between two looks at what has gathered. */
const entriesPerLook = 64;
/** Part of the quota that history may take. */
const historyPart = 4;
/** After a proposal that failed. */
const retryMs = 1_000;
/** Cleaning: a millisecond of it, with pauses that leave the thread to others. */
const stepsPerTurn = 2_048;
const pauseMs = 10;
/** How soon to look again whether a snapshot that is being read still needs the old state. */
const pinnedMs = 1_000;

export class Upkeep {
  readonly #parts: KvParts;
  readonly #clock: Clock;
  #entries = 0;
  #leading = false;
  /**
   * The limits when this node began to lead, until the configured ones are seen to, which is once:
   * what anybody else changes while it leads holds.
   */
  #limitsFound: KvLimits | undefined = undefined;
  #proposing = false;
  #retry: Timer | undefined = undefined;
  #cleaning: Timer | undefined = undefined;

  constructor(parts: KvParts) {
    this.#parts = parts;
    this.#clock = parts.clock;
  }

  applied(result: KvResult): void {
    if (result.kind === "compact") this.#clean();
    if (!this.#leading) return;
    const isFull = result.kind === "failure" && result.reason === "no_space";
    if (++this.#entries % entriesPerLook === 0 || isFull) this.#look();
  }

  restored(): void {
    if (this.#cleaning === undefined) this.cleanSome();
  }

  led(leading: boolean): void {
    this.#leading = leading;
    this.#limitsFound = leading ? this.#parts.machine.limits : undefined;
    if (leading) this.#look();
    else {
      this.#retry?.cancel();
      this.#retry = undefined;
    }
  }

  stop(): void {
    this.led(false);
    this.#cleaning?.cancel();
    this.#cleaning = undefined;
  }

  /** Public only for the timer. */
  look(): void {
    this.#retry = undefined;
    this.#look();
  }

  #look(): void {
    if (!this.#leading || this.#proposing || this.#retry !== undefined) return;
    const command = this.#wanted();
    if (command !== undefined) void this.#propose(command);
  }

  #wanted(): Command | undefined {
    const { machine, settings } = this.#parts;
    if (this.#limitsFound !== undefined) {
      const limits = differing(settings.limits, this.#limitsFound, machine.limits);
      if (limits !== undefined) return { kind: "configure", limits };
      this.#limitsFound = undefined;
    }
    const revision = compactionDue(machine, policyOf(settings.compaction, machine.bytesMax));
    return revision === undefined ? undefined : { kind: "compact", revision };
  }

  async #propose(command: Command): Promise<void> {
    this.#proposing = true;
    const { commands, counters, logger } = this.#parts;
    try {
      const result = await commands.propose(command, undefined, { leaderOnly: true });
      if (command.kind === "compact" && result.kind === "compact") counters.autoCompactions++;
      if (command.kind === "configure") {
        commands.expect(result, "done");
        this.#limitsFound = undefined;
        logger.info("the store's limits are as configured", { ...command.limits });
      }
    } catch (error) {
      logger.debug("upkeep was not done and is tried again", { what: command.kind, cause: error });
      if (this.#leading) this.#retry ??= this.#clock.timer(retryMs, lookAgain, this);
    }
    this.#proposing = false;
    this.#look();
  }

  #clean(): void {
    this.#cleaning ??= this.#clock.timer(pauseMs, cleanSome, this);
  }

  /** Public only for the timer. */
  cleanSome(): void {
    this.#cleaning = undefined;
    const { machine } = this.#parts;
    // A restored machine is looked at when it is whole.
    if (machine.restoring) return;
    if (machine.work(stepsPerTurn)) this.#cleaning = this.#clock.timer(pauseMs, cleanSome, this);
    else if (machine.pinned) this.#cleaning = this.#clock.timer(pinnedMs, cleanSome, this);
  }
}

/** A small store would be full of what nobody reads any more before it had as much as is kept. */
function policyOf(policy: CompactionPolicy, bytesMax: number): CompactionPolicy {
  if (policy.historyBytes === 0) return policy;
  const historyBytes = Math.min(policy.historyBytes, Math.ceil(bytesMax / historyPart));
  return { ...policy, historyBytes };
}

/** The wanted limits that are not in force and that nobody has changed; undefined for none. */
function differing(
  wanted: Partial<KvLimits>,
  found: KvLimits,
  present: KvLimits,
): Partial<KvLimits> | undefined {
  const names = limitNames.filter((name) =>
    wanted[name] !== undefined && wanted[name] !== present[name] && found[name] === present[name]
  );
  if (names.length === 0) return undefined;
  return Object.fromEntries(names.map((name) => [name, wanted[name]]));
}

function lookAgain(upkeep: Upkeep): void {
  upkeep.look();
}

function cleanSome(upkeep: Upkeep): void {
  upkeep.cleanSome();
}
