/** What the services of the store have in common. */
import type { Clock } from "../runtime/port.ts";
import type { Logger } from "../base/log.ts";
import type { CallContext } from "../ttrpc/service.ts";
import type { Commands } from "./commands.ts";
import type { Headers } from "./response.ts";
import type { KvCounters } from "./counters.ts";
import type { KvGroup, RequestOptions } from "./group.ts";
import type { KvMachine } from "./core/kv_machine.ts";
import type { KvSettings } from "./options.ts";
import type { LeaseForwarder } from "./lease_forwarder.ts";
import type { LeaseKeeper } from "./lease_keeper.ts";
import type { Reads } from "./reads.ts";
import type { Slices } from "./slices.ts";
import type { StoreHealth } from "./store_health.ts";
import type { WatchHub } from "./watch_hub.ts";
import { answerMs } from "./answer_time.ts";
import { withOutcome } from "./refusal.ts";

export interface KvParts {
  readonly machine: KvMachine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: KvSettings;
  readonly slices: Slices;
  readonly counters: KvCounters;
  readonly version: string;
  /** Throws `unavailable` before there is one, and once it has stopped or the node shuts down. */
  readonly group: KvGroup;
  /** Also while the node shuts down: what was done is told all the same. */
  readonly attached: KvGroup;
  assertServing(): void;
  /**
   * Throws also while the node applies again what its own log says was committed before it stopped:
   * who reads what is there must not see the store of long ago.
   */
  assertReplayed(): void;
  /** Throws also where the group has stopped on this node. */
  assertRunning(): void;
  /** There has been no leader for long. */
  readonly isLeaderless: boolean;
  /** Fires when the node shuts down, with an error for whoever is served then. */
  readonly stopping: AbortSignal;
  readonly headers: Headers;
  readonly commands: Commands;
  readonly reads: Reads;
  readonly hub: WatchHub;
  readonly leases: LeaseKeeper;
  readonly forwarder: LeaseForwarder;
  readonly health: StoreHealth;
}

/** What is left of a call's time, less what the answer takes. */
export function within(context: CallContext): RequestOptions | undefined {
  const { timeoutMs } = context;
  return timeoutMs === undefined ? undefined : { timeoutMs: timeoutMs - answerMs(timeoutMs) };
}

/** Passes on what the group says. */
export function failed(error: unknown): never {
  throw withOutcome(error);
}
