/** What a member says to those who want to join: see membership.proto. */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import { identityProblem } from "../base/speaks_for.ts";
import type {
  JoinRequest,
  JoinResponseSchema,
  WhoRequest,
  WhoResponseSchema,
} from "../gen/covey/membership/v1/membership_pb.ts";
import type { CallContext } from "../ttrpc/service.ts";
import type { Configuration } from "./core/configuration.ts";
import type { Answered, JoinAnswer, Refusal } from "./core/gate.ts";
import type { Member } from "./core/member.ts";
import type { Membership } from "./core/membership.ts";
import { clusterProblem, type Settings, settingsProblem, versionProblem } from "./hello.ts";
import { decodeId, decodeMember, encodeId, encodeMember } from "./wire.ts";

type WhoInit = MessageInitShape<typeof WhoResponseSchema>;
type JoinInit = MessageInitShape<typeof JoinResponseSchema>;

export interface GatekeeperParts {
  readonly settings: Settings;
  /** Undefined while this node is no member itself. */
  membership(): { readonly clusterId: string; readonly machine: Membership } | undefined;
  /** The machine was told something. */
  settle(): void;
}

export class Gatekeeper {
  readonly #parts: GatekeeperParts;
  readonly #waiting = new Map<number, (answer: JoinAnswer) => void>();
  #asked = 0;

  constructor(parts: GatekeeperParts) {
    this.#parts = parts;
  }

  who(request: WhoRequest, context: CallContext): WhoInit {
    const { clusterId, machine } = this.#present();
    const joiner = joinerOf(request.joiner, context);
    const who = `node ${joiner.name}`;
    const problem = versionProblem(request, who) ??
      (request.clusterId === "" ? undefined : clusterProblem(clusterId, request.clusterId, who)) ??
      settingsProblem(this.#parts.settings, request.settings);
    if (problem !== undefined) throw problem;
    const { configuration } = machine;
    return {
      clusterId,
      configuration: encodeId(configuration),
      gatekeepers: addressesOf(configuration, configuration.gatekeepersOf(joiner.address)),
    };
  }

  async join(request: JoinRequest, context: CallContext): Promise<JoinInit> {
    const { clusterId, machine } = this.#present();
    const joiner = joinerOf(request.joiner, context);
    const problem = clusterProblem(clusterId, request.clusterId, `node ${joiner.name}`);
    if (problem !== undefined) throw problem;
    const configuration = decodeId(request.configuration);
    if (configuration === undefined) throw malformed();
    const id = ++this.#asked;
    const answer = await new Promise<JoinAnswer>((resolve, reject) => {
      const abandon = (): void => {
        this.#waiting.delete(id);
        this.#parts.membership()?.machine.abandoned(id);
        this.#parts.settle();
        reject(new CoveyError(Code.canceled, "the joiner does not wait any more"));
      };
      context.signal.addEventListener("abort", abandon, { once: true });
      this.#waiting.set(id, (answered) => {
        context.signal.removeEventListener("abort", abandon);
        resolve(answered);
      });
      machine.join({ id, joiner, configuration });
      this.#parts.settle();
    });
    return answerOf(answer, joiner, request.wantsView);
  }

  answered(answers: readonly Answered[]): void {
    for (const { id, answer } of answers) {
      const tell = this.#waiting.get(id);
      this.#waiting.delete(id);
      tell?.(answer);
    }
  }

  #present(): { readonly clusterId: string; readonly machine: Membership } {
    const present = this.#parts.membership();
    if (present !== undefined) return present;
    throw new CoveyError(Code.unavailable, "the node there is no member of a cluster yet", {
      sent: false,
    });
  }
}

function answerOf(answer: JoinAnswer, joiner: Member, wantsView: boolean): JoinInit {
  switch (answer.kind) {
    case "joined": {
      const { configuration } = answer;
      const members = wantsView ? configuration.members.map(encodeMember) : [];
      return { configuration: encodeId(configuration), members };
    }
    case "moved":
      return {
        configuration: encodeId(answer.configuration),
        gatekeepers: addressesOf(answer.configuration, answer.gatekeepers),
      };
    case "refused":
      throw refused(answer.why, joiner);
  }
}

function refused(why: Refusal, { name }: Member): CoveyError {
  switch (why) {
    case "name_taken":
      return new CoveyError(
        Code.alreadyExists,
        `another member is called ${name}: give this node another node.name, or remove that one`,
        { sent: false },
      );
    case "too_many":
      return new CoveyError(Code.resourceExhausted, "too many nodes join at once: try again", {
        sent: false,
      });
  }
}

function addressesOf({ members }: Configuration, places: readonly number[]): string[] {
  return [...new Set(places.map((place) => members[place].address))];
}

function joinerOf(wire: JoinRequest["joiner"], context: CallContext): Member {
  const joiner = decodeMember(wire);
  if (joiner === undefined) throw malformed();
  const problem = identityProblem(context.identity, joiner.nodeId);
  if (problem !== undefined) throw problem;
  return joiner;
}

function malformed(): CoveyError {
  return new CoveyError(
    Code.invalidArgument,
    "what the joiner says of itself is not complete, or larger than it may be",
  );
}
