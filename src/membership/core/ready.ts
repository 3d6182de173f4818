/** What the machine of a node's membership wants done, and what it tells of itself. */
import type { Configuration, Cut } from "./configuration.ts";
import type { Acceptor } from "./consensus.ts";
import type { Answered } from "./gate.ts";
import type { Message } from "./message.ts";

/** What a node keeps on its disk. */
export interface Durable {
  readonly configuration: Configuration;
  readonly acceptor: Acceptor;
}

/** A configuration took the place of the one before. */
export interface Installed {
  readonly before: Configuration;
  readonly configuration: Configuration;
}

export interface Ready {
  /** To be on the disk, all of it; then `Membership.stored` is called with its number. */
  readonly durable: (Durable & { readonly number: number }) | undefined;
  readonly messages: readonly { readonly to: string; readonly message: Message }[];
  readonly answers: readonly Answered[];
  readonly installed: readonly Installed[];
}

export interface MembershipStart {
  /** What it begins with is on the disk already. */
  readonly isStored?: boolean;
  /** Makes the configuration that follows; nodes in one process can share them. */
  readonly next?: (configuration: Configuration, cut: Cut) => Configuration;
}

/** What was dropped, since it came from somewhere or somebody that it could not come from. */
export interface Dropped {
  strangers: number;
  forks: number;
  invalid: number;
}

/** How many there are of each. */
export interface Kept {
  /** Those who want to join, as this node and others say. */
  readonly joiners: number;
  /** Those of them who wait at this node. */
  readonly waiting: number;
  readonly cuts: number;
  readonly tallies: number;
  readonly verdicts: number;
}
