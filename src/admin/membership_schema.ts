/** What `/v1/members` and the paths below it take and answer. */
import type { MemberReport } from "../report/membership.ts";

export type { MemberReport, MembershipReport } from "../report/membership.ts";

export interface KickInput {
  /** A name, an address or a node id. */
  readonly member: string;
}

export interface KickReport {
  /** Who it was. */
  readonly member: MemberReport;
}
