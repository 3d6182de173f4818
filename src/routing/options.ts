/** What may be set of a router and of a client, with its defaults. */
import { Code, CoveyError } from "../base/error.ts";
import type { ClientCall, ClientInterceptor } from "../ttrpc/service.ts";
import type { NamedPick } from "./core/picks.ts";

export interface RouterOptions {
  /** Calls in flight to a member that left are canceled after this long. Default 30 s. */
  readonly drainMs?: number;
  /** A connection that no call has used for so long is closed. Default 5 min. */
  readonly idleMs?: number;
  /** Calls that may wait for a first member to offer a service. Default 1024. */
  readonly waitersMax?: number;
}

export const routerOptionsDefault: Required<RouterOptions> = {
  drainMs: 30_000,
  idleMs: 300_000,
  waitersMax: 1024,
};

/** Which member is called. */
export type MemberPick =
  /** In turn; least calls under way; shortest round trip. */
  | NamedPick
  /** The member with this name. */
  | { readonly name: string }
  /** Members with this tag; among them by `then`, in turn without it. */
  | { readonly tag: string; readonly then?: MemberPick }
  /** The member to which the call's key belongs; the same key on every node. */
  | { readonly key: (call: ClientCall) => string | Uint8Array };

export interface RoutedClientOptions {
  /** Default `round_robin`. */
  readonly pick?: MemberPick;
  /** How long a call waits for a first member to offer the service. Default 0: it fails at once. */
  readonly waitMs?: number;
  /** Deadline of calls that name none; default the channels' own. */
  readonly timeoutMs?: number;
  /**
   * How long a call waits for the connection to one member while there are others to try. The last
   * one may take all the time there is. Default 1 s.
   */
  readonly connectMs?: number;
  /** Around each call as a whole, whatever number of members it tries; the first is outermost. */
  readonly interceptors?: readonly ClientInterceptor[];
}

export const connectMsDefault = 1000;

/** Throws `invalid_argument` for what is no time. */
export function checkTime(name: string, ms: number, least: number): number {
  if (ms >= least && ms < Infinity) return ms;
  throw new CoveyError(
    Code.invalidArgument,
    `${name}: found ${ms}; allowed: milliseconds, finite, ${least} or more`,
  );
}
