/** What autopilot needs of the group that it looks after. */
import type { Subscription } from "../runtime/port.ts";
import type { CallOptions } from "../ttrpc/service.ts";
import type { Change, Group } from "./core/types.ts";

/** Which replicas change, all in one entry of the log. */
export type VotersChange = Extract<Change, { kind: "voters" }>;

export interface ManagedGroup {
  /** How the group is, as its leader knows it; undefined unless this node leads. */
  picture(): Group | undefined;
  /** Gives the node a replica id and tells it. Repeating a call that broke off makes it good. */
  addLearner(
    node: { readonly address: string; readonly nodeId: string },
    options: CallOptions,
  ): Promise<void>;
  /** Resolves once it is applied here; rejects unless this node leads until then. */
  change(change: VotersChange, options: CallOptions): Promise<void>;
  transfer(to: number, options: CallOptions): Promise<void>;
  /** This node leads, or it does no more. Told at once where it leads already. */
  led(callback: (leads: boolean) => void): Subscription;
}
