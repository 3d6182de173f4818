/** What all calls of one routed client have in common: the service, the policy, the times. */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { encodeText } from "../base/bytes.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { ClientCall } from "../ttrpc/service.ts";
import { createPolicy, type Pick, type Policy } from "./core/picks.ts";
import {
  checkTime,
  connectMsDefault,
  type MemberPick,
  type RoutedClientOptions,
} from "./options.ts";
import type { Peer } from "./peer.ts";
import type { Router } from "./router.ts";

type KeyOf = (call: ClientCall) => string | Uint8Array;

/** Members that an error names. */
const namesMost = 10;

export class Route {
  readonly router: Router;
  readonly service: DescService;
  readonly waitMs: number;
  readonly connectMs: number;
  readonly timeoutMs: number | undefined;
  readonly #policy: Policy;
  readonly #keyOf: KeyOf | undefined;
  #version = -1;
  #candidates: readonly Peer[] = [];

  constructor(service: DescService, router: Router, options: RoutedClientOptions) {
    const { pick = "round_robin", waitMs = 0, connectMs = connectMsDefault } = options;
    this.router = router;
    this.service = service;
    this.waitMs = checkTime("waitMs", waitMs, 0);
    this.connectMs = checkTime("connectMs", connectMs, 1);
    this.timeoutMs = options.timeoutMs;
    this.#keyOf = keyOf(pick);
    this.#policy = createPolicy(plainPick(pick), router.forkRandom());
  }

  /** Members that a call may go to, ascending by address. */
  get candidates(): readonly Peer[] {
    if (this.#version !== this.router.version) {
      const { admits } = this.#policy;
      const offering = this.router.offering(this.service);
      this.#candidates = admits === undefined ? offering : offering.filter(admits);
      this.#version = this.router.version;
    }
    return this.#candidates;
  }

  /** What decides among members, where the policy asks for it. */
  keyOf(call: ClientCall): Uint8Array | undefined {
    if (this.#keyOf === undefined) return undefined;
    let key: unknown;
    try {
      key = this.#keyOf(call);
    } catch (cause) {
      const { rawMessage } = CoveyError.from(cause);
      const message = `the key of the call is not known: ${rawMessage}`;
      throw new CoveyError(Code.invalidArgument, message, { cause, sent: false });
    }
    if (typeof key === "string") return encodeText(key);
    if (key instanceof Uint8Array) return key;
    const message = `the key of the call is ${typeof key}; give text or bytes`;
    throw new CoveyError(Code.invalidArgument, message, { sent: false });
  }

  choose(candidates: readonly Peer[], key: Uint8Array | undefined): Peer {
    return this.#policy.choose(candidates, key);
  }

  /** Why there is nobody to call. */
  nobody(): CoveyError {
    const { members } = this.router;
    const offering = this.router.offering(this.service);
    const { typeName } = this.service;
    const who = offering.length === 0
      ? `no member offers service ${typeName}`
      : `no member with ${this.#policy.demand} offers service ${typeName}; offered by: ` +
        names(offering);
    const all = members.length === 0 ? "none" : names(members);
    return new CoveyError(Code.unavailable, `${who}; members: ${all}`, { sent: false });
  }
}

/** For errors: the first of them by name. */
export function names(members: readonly { readonly name: string }[]): string {
  const first = members.slice(0, namesMost).map(({ name }) => name).join(", ");
  const rest = members.length - namesMost;
  return rest > 0 ? `${first} and ${rest} more` : first;
}

function keyOf(pick: MemberPick): KeyOf | undefined {
  if (typeof pick !== "object" || pick === null) return undefined;
  if ("key" in pick) return typeof pick.key === "function" ? pick.key : undefined;
  return "tag" in pick && pick.then !== undefined ? keyOf(pick.then) : undefined;
}

/** As the policies know it. What is none of the shapes is passed on, to be refused there. */
function plainPick(pick: MemberPick): Pick {
  if (typeof pick !== "object" || pick === null) return pick;
  if ("key" in pick && typeof pick.key === "function") return "key";
  if (!("tag" in pick) || pick.then === undefined) return pick as Pick;
  return { tag: pick.tag, then: plainPick(pick.then) };
}
