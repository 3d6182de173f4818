/** What the membership of a node is made of, and where it stands. */
import type { Logger } from "../base/log.ts";
import type { Clock, Disk, Random } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import type { MemberRole } from "./core/member.ts";
import type { Profile } from "./core/options.ts";

export interface MembersParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Undefined: nothing is kept, and a restarted node is another member. */
  readonly storage: { readonly disk: Disk; readonly directory: string } | undefined;
  readonly nodeId: string;
  readonly name: string;
  /** Where other nodes reach the mesh listener. */
  readonly address: string;
  readonly role: MemberRole;
  readonly metadata: ReadonlyMap<string, Uint8Array>;
  readonly profile: Profile;
  /** Addresses of members, or of nodes that may become some. */
  readonly seeds: readonly string[];
  channel(address: string): Channel;
  /** A member answered a probe after so long. */
  probed?(address: string, tripMs: number): void;
  /** The state may be another one now, and whether it is degraded. Called often. */
  changed?(): void;
}

/** Who founds a cluster: the same set, in any order, at each of them. */
export interface Founding {
  /** 32 hexadecimal digits. */
  readonly clusterId: string;
  readonly founders: readonly {
    readonly nodeId: string;
    readonly name: string;
    readonly address: string;
  }[];
}

export type MembersState = "waiting" | "joining" | "member" | "left";
