/**
 * How this node gets into a view: it asks seeds and gatekeepers as the core's {@link Joining} wants
 * it, over calls of their own, until one of them answers with a view that holds it.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Prng } from "../base/prng.ts";
import {
  type JoinResponse,
  Membership,
  type WhoResponse,
} from "../gen/covey/membership/v1/membership_pb.ts";
import type { Clock } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { Configuration } from "./core/configuration.ts";
import { type Gatekeepers, Joining, type JoinMessage, type JoinTimes } from "./core/joining.ts";
import type { Member } from "./core/member.ts";
import { protocolMax, protocolMin, type Settings } from "./hello.ts";
import { decodeId, decodeMembers, encodeId, encodeMember } from "./wire.ts";

export interface EntranceParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly prng: Prng;
  readonly times: JoinTimes;
  readonly settings: Settings;
  readonly joiner: Member;
  /** Empty: that of whoever answers first. */
  readonly clusterId: string;
  readonly seeds: readonly string[];
  channel(address: string): Channel;
  /** Something is due at another time now. */
  changed(): void;
  joined(clusterId: string, configuration: Configuration): void;
}

export class Entrance {
  readonly #parts: EntranceParts;
  readonly #joining: Joining;
  readonly #controller = new AbortController();
  #clusterId: string;
  #isOver = false;

  constructor(parts: EntranceParts) {
    this.#parts = parts;
    this.#clusterId = parts.clusterId;
    const { joiner, seeds, times, prng, clock } = parts;
    this.#joining = new Joining(joiner, seeds, times, prng, clock.monotonicMs());
  }

  get dueMs(): number {
    return this.#joining.dueMs;
  }

  /** What went wrong last; undefined when nothing has yet. */
  get problem(): string | undefined {
    return this.#joining.problem;
  }

  set seeds(seeds: readonly string[]) {
    this.#joining.seeds = seeds;
  }

  tick(nowMs: number): void {
    if (this.#isOver) return;
    this.#joining.tick(nowMs);
    for (const message of this.#joining.take()) void this.#send(message);
  }

  /** It is in, or the node stops: calls under way end. */
  close(): void {
    this.#isOver = true;
    this.#joining.joined();
    this.#controller.abort();
  }

  async #send(message: JoinMessage): Promise<void> {
    const { clock, times } = this.#parts;
    const { to } = message;
    try {
      // A call of its own: whoever lets it in need not be anybody it will talk to.
      using channel = this.#parts.channel(to);
      const client = createClient(Membership, channel);
      const { signal } = this.#controller;
      if (message.kind === "who") {
        const timeoutMs = times.answerMs;
        const answer = await client.who(this.#who(message.joiner), { signal, timeoutMs });
        if (!this.#isOver) this.#gatekeepers(to, answer);
      } else {
        const timeoutMs = times.changeMs;
        const request = {
          clusterId: this.#clusterId,
          joiner: encodeMember(message.joiner),
          configuration: encodeId(message.configuration),
          wantsView: message.wantsView,
        };
        const answer = await client.join(request, { signal, timeoutMs });
        if (!this.#isOver) this.#answered(to, answer, message);
      }
    } catch (error) {
      if (this.#isOver) return;
      this.#joining.failed(to, CoveyError.from(error).rawMessage, clock.monotonicMs());
    }
    this.#parts.changed();
  }

  #who(joiner: Member): Parameters<ReturnType<typeof createClient<typeof Membership>>["who"]>[0] {
    return {
      versionMin: protocolMin,
      versionMax: protocolMax,
      clusterId: this.#clusterId,
      joiner: encodeMember(joiner),
      settings: { ...this.#parts.settings },
    };
  }

  #gatekeepers(from: string, answer: WhoResponse): void {
    this.#clusterId ||= answer.clusterId;
    const gate = gateOf(answer.configuration, answer.gatekeepers);
    this.#joining.gatekeepers(from, gate, this.#parts.clock.monotonicMs());
  }

  #answered(from: string, answer: JoinResponse, { joiner }: JoinMessage): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (answer.gatekeepers.length > 0) {
      return this.#joining.moved(from, gateOf(answer.configuration, answer.gatekeepers), nowMs);
    }
    const id = decodeId(answer.configuration);
    const members = decodeMembers(answer.members);
    if (id === undefined || members === undefined) throw malformed();
    // Those that send no view only say that there is one.
    if (members.length === 0) return this.#joining.admitted(from, nowMs);
    const configuration = Configuration.restored(id, members, this.#parts.settings.rings);
    if (!configuration.holds(joiner)) throw malformed();
    this.#parts.joined(this.#clusterId, configuration);
  }
}

function gateOf(
  wire: WhoResponse["configuration"],
  addresses: readonly string[],
): Gatekeepers {
  const configuration = decodeId(wire);
  if (configuration === undefined || addresses.length === 0) throw malformed();
  return { configuration, addresses };
}

function malformed(): CoveyError {
  return new CoveyError(Code.internal, "its answer to a joiner makes no sense");
}
