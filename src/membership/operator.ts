/** What operators ask of membership: see members.proto. */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import {
  type MemberInfoSchema,
  type Members as MembersService,
  MemberState,
  type ViewInfoSchema,
} from "../gen/covey/membership/v1/members_pb.ts";
import type { Handlers } from "../ttrpc/service.ts";
import { type Member, MemberRole } from "./core/member.ts";
import type { Members } from "./members.ts";
import type { MembersState } from "./members_types.ts";
import type { View } from "./view_feed.ts";

type MemberInit = MessageInitShape<typeof MemberInfoSchema>;

/** For the others to take this node out. */
const leaveMs = 5_000;
/** Of the time that whoever asks has. */
const leaveShare = 0.8;

const states: Readonly<Record<MembersState, MemberState>> = {
  waiting: MemberState.WAITING,
  joining: MemberState.JOINING,
  member: MemberState.MEMBER,
  left: MemberState.LEFT,
};

export function operatorHandlers(members: Members): Handlers<typeof MembersService> {
  const infoOf = (member: Member): MemberInit => memberInfo(members, member);
  return {
    list: () => ({
      state: states[members.state],
      problem: members.problem ?? "",
      clusterId: members.clusterId,
      view: members.feed.present && viewInfo(members, members.feed.present),
      name: members.name,
    }),
    watch: async function* (_request, { signal }) {
      for await (const change of members.feed.read(signal)) {
        yield {
          view: viewInfo(members, change),
          joined: change.joined.map(infoOf),
          left: change.left.map(infoOf),
          changed: change.changed.map(infoOf),
          skipped: change.skipped,
        };
      }
    },
    leave: async (_request, { timeoutMs }) => {
      const { state, problem } = members;
      if (state === "waiting" || state === "joining") {
        throw new CoveyError(
          Code.failedPrecondition,
          `this node is no member of a cluster: ${problem}`,
        );
      }
      // The answer takes its time, too.
      await members.leave(Math.min(leaveMs, leaveShare * (timeoutMs ?? leaveMs)));
      return {};
    },
    kick: ({ member: wanted }) => {
      const member = find(members, wanted);
      if (member.address === members.self?.address) {
        throw new CoveyError(
          Code.failedPrecondition,
          `${member.name} is the node that was asked: use "covey leave" there`,
        );
      }
      members.kick(member.address);
      return { member: infoOf(member) };
    },
  };
}

/** By name, address or node id. */
function find({ view }: Members, wanted: string): Member {
  const found = view?.members.find(({ name, address, nodeId }) =>
    name === wanted || address === wanted || nodeId === wanted
  );
  if (found !== undefined) return found;
  const names = view?.members.map(({ name }) => name).join(", ") ?? "";
  throw new CoveyError(
    view === undefined ? Code.failedPrecondition : Code.notFound,
    view === undefined
      ? "this node is no member of a cluster"
      : `there is no member ${wanted}: the members are ${names}`,
  );
}

function viewInfo(
  members: Members,
  { epoch, digest, members: all }: View,
): MessageInitShape<typeof ViewInfoSchema> {
  const infos = all.map((member) => memberInfo(members, member));
  return { epoch: BigInt(epoch), digest, members: infos };
}

function memberInfo(members: Members, member: Member): MemberInit {
  return {
    name: member.name,
    address: member.address,
    nodeId: member.nodeId,
    incarnation: member.incarnation,
    core: member.role === MemberRole.core,
    metadata: Object.fromEntries(member.metadata),
    facts: Object.fromEntries(members.factsOf(member)),
  };
}
