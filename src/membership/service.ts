/** What a node serves to the other members: see membership.proto. */
import type { Membership } from "../gen/covey/membership/v1/membership_pb.ts";
import { LinkAnswers } from "../ttrpc/link_answers.ts";
import type { Handlers } from "../ttrpc/service.ts";
import type { Members } from "./members.ts";

export function membershipHandlers(members: Members): Handlers<typeof Membership> {
  return {
    link: (frames, context) => new LinkAnswers(() => members.accept(frames, context.identity)),
    who: (request, context) => members.gatekeeper.who(request, context),
    join: (request, context) => members.gatekeeper.join(request, context),
  };
}
