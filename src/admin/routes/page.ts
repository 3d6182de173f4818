/** `/`: a plain page for whoever opens the address in a browser. */
import { CoveyError } from "../../base/error.ts";
import { Members } from "../../gen/covey/membership/v1/members_pb.ts";
import { type MemberReport, membershipReport } from "../../report/membership.ts";
import type { Gate, Visit } from "../gate.ts";
import type { EventHub } from "../hub.ts";
import type { PageMaker } from "../page.ts";
import type { AdminParts } from "../parts.ts";
import { textReply } from "../reply.ts";
import type { ServiceCaller } from "../service_call.ts";
import { reportServices } from "./report.ts";

export interface PageParts {
  readonly parts: AdminParts;
  readonly hub: EventHub;
  readonly caller: ServiceCaller;
}

export function pageRoutes(gate: Gate, { parts, hub, caller }: PageParts): void {
  let maker: Promise<PageMaker> | undefined;
  const membersFor = async (visit: Visit): Promise<readonly MemberReport[]> => {
    if (parts.services.find(Members.typeName) === undefined) return [];
    try {
      return membershipReport(await caller.unary(visit, Members.method.list, {})).members;
    } catch (error) {
      // Whoever may see the page need not be allowed to see this.
      if (error instanceof CoveyError) return [];
      throw error;
    }
  };
  gate.serve("GET /", async (visit: Visit) => {
    maker ??= import("../page.ts").then(({ loadPage }) => loadPage());
    const { html, policy } = (await maker)({
      status: await parts.status(),
      members: await membersFor(visit),
      services: reportServices(parts.services),
      topics: hub.topics(),
      base: visit.base,
    });
    return textReply(html, {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policy,
    });
  });
}
