/** Joiners that wait at this gatekeeper for the view change that lets them in. */
import type { Configuration, ConfigurationId } from "./configuration.ts";
import { isSameId } from "./configuration.ts";
import type { Member } from "./member.ts";

/** Why somebody cannot be let in at all. */
export type Refusal = "name_taken" | "too_many";

/** What a gatekeeper says. */
export type JoinAnswer =
  /** It is a member of this configuration. */
  | { readonly kind: "joined"; readonly configuration: Configuration }
  /** There is another configuration: it is to be asked for there. Places are those of `configuration`. */
  | {
    readonly kind: "moved";
    readonly configuration: Configuration;
    readonly gatekeepers: readonly number[];
  }
  | { readonly kind: "refused"; readonly why: Refusal };

export interface JoinRequest {
  /** The asker's number for the answer. */
  readonly id: number;
  readonly joiner: Member;
  /** That the joiner took its gatekeepers from. */
  readonly configuration: ConfigurationId;
}

export interface Answered {
  readonly id: number;
  readonly answer: JoinAnswer;
}

export class Gate {
  readonly #waitingMax: number;
  readonly #waiting = new Map<number, JoinRequest>();
  #answered: Answered[] = [];

  constructor(waitingMax: number) {
    this.#waitingMax = waitingMax;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /**
   * Answers at once, or keeps it: to be let in here, or, where the joiner has heard of a configuration
   * before this gatekeeper, until that one is here, too.
   */
  ask(request: JoinRequest, configuration: Configuration): "present" | "ahead" | "answered" {
    const { id, joiner } = request;
    const isPresent = isSameId(request.configuration, configuration);
    if (configuration.holds(joiner)) {
      this.#answer(id, { kind: "joined", configuration });
    } else if (!isPresent && request.configuration.epoch <= configuration.epoch) {
      this.#answer(id, movedTo(configuration, joiner));
    } else {
      const why = isPresent ? refusalOf(joiner, configuration) : undefined;
      const isFull = this.#waiting.size >= this.#waitingMax;
      if (why === undefined && !isFull) {
        this.#waiting.set(id, request);
        return isPresent ? "present" : "ahead";
      }
      this.#answer(id, { kind: "refused", why: why ?? "too_many" });
    }
    return "answered";
  }

  /** Earlier stays of the same node, or of another one there: nobody waits for those any more. */
  supersede({ address, nodeId, incarnation }: Member, configuration: Configuration): Member[] {
    const before: Member[] = [];
    for (const { id, joiner } of this.#waiting.values()) {
      if (joiner.address !== address && joiner.nodeId !== nodeId) continue;
      if (joiner.incarnation === incarnation) continue;
      this.#waiting.delete(id);
      this.#answer(id, movedTo(configuration, joiner));
      before.push(joiner);
    }
    return before;
  }

  refuse(id: number, why: Refusal): void {
    this.#waiting.delete(id);
    this.#answer(id, { kind: "refused", why });
  }

  /** Nobody waits for the answer any more; gives who it was, when nobody else asks for the same. */
  abandon(id: number): Member | undefined {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (request === undefined) return undefined;
    return this.holds(request.joiner.incarnation) ? undefined : request.joiner;
  }

  /**
   * Everybody is told: who is in, and that those who were left out may ask again. Who had come before
   * the configuration did asks now, and is given back.
   */
  changed(configuration: Configuration): readonly JoinRequest[] {
    const waited = [...this.#waiting.values()];
    this.#waiting.clear();
    return waited.filter((request) => this.ask(request, configuration) === "present");
  }

  /** This node is none of its members and lets nobody in any more: all are sent to those who are. */
  close(configuration: Configuration): void {
    for (const { id, joiner } of this.#waiting.values()) {
      this.#answer(id, movedTo(configuration, joiner));
    }
    this.#waiting.clear();
  }

  /** Whether somebody waits under this incarnation. */
  holds(incarnation: bigint): boolean {
    for (const { joiner } of this.#waiting.values()) {
      if (joiner.incarnation === incarnation) return true;
    }
    return false;
  }

  take(): readonly Answered[] {
    const answered = this.#answered;
    this.#answered = [];
    return answered;
  }

  #answer(id: number, answer: JoinAnswer): void {
    this.#answered.push({ id, answer });
  }
}

function movedTo(configuration: Configuration, joiner: Member): JoinAnswer {
  const gatekeepers = configuration.gatekeepersOf(joiner.address);
  return { kind: "moved", configuration, gatekeepers: [...new Set(gatekeepers)] };
}

/**
 * Whoever holds the name or address under another node id keeps it. A stay of the same node that is
 * still in the view ends by itself: its observers find out that nobody answers for it any more.
 */
function refusalOf(joiner: Member, { members }: Configuration): Refusal | undefined {
  for (const member of members) {
    if (member.nodeId === joiner.nodeId) continue;
    if (member.name === joiner.name && member.address !== joiner.address) return "name_taken";
  }
  return undefined;
}
