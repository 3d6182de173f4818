/** `/v1/members` and below: the operators' requests of covey.membership.v1.Members as plain JSON. */
import { Members } from "../../gen/covey/membership/v1/members_pb.ts";
import { memberReport, membershipReport } from "../../report/membership.ts";
import type { Gate } from "../gate.ts";
import { type BodyLimits, noParameters, readJson, readQuery } from "../input.ts";
import { kickBody, leaveBody } from "../membership_input.ts";
import { jsonReply } from "../reply.ts";
import type { ServiceCaller } from "../service_call.ts";

export function membersRoutes(gate: Gate, caller: ServiceCaller, limits: BodyLimits): void {
  const { method } = Members;
  gate.serve("GET /v1/members", async (visit) => {
    readQuery(visit.url, noParameters);
    return jsonReply(membershipReport(await caller.unary(visit, method.list, {})), 200);
  });
  gate.serve("POST /v1/members/kick", async (visit) => {
    const input = await readJson(visit, limits, kickBody);
    const { member } = await caller.unary(visit, method.kick, input);
    return jsonReply({ member: memberReport(member!) }, 200);
  });
  gate.serve("POST /v1/members/leave", async (visit) => {
    await readJson(visit, limits, leaveBody);
    await caller.unary(visit, method.leave, {});
    return jsonReply({}, 200);
  });
}
