/** Where groups are placed: decided by the root group's leader, written in its log. */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Status } from "./core/status.ts";
import type { CreateGroupRequest, GroupSchema } from "../gen/covey/raft/v1/raft_pb.ts";
import type { GroupOfAny, RequestOptions } from "./group_types.ts";
import { type GroupRecord, type Member, toWire } from "./members.ts";
import { judged } from "./operator_checks.ts";

/** Places a group on voters that are there, those first that hold the fewest groups. */
export async function createGroup(
  root: GroupOfAny,
  { name, replicas }: Pick<CreateGroupRequest, "name" | "replicas">,
  options: RequestOptions,
): Promise<MessageInitShape<typeof GroupSchema>> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/.test(name)) {
    throw new CoveyError(
      Code.invalidArgument,
      `a group's name is 1 to 128 letters, digits and . _ - /, found ${JSON.stringify(name)}`,
    );
  }
  await root.barrier(options);
  if (name === root.name) {
    throw new CoveyError(
      Code.alreadyExists,
      `the group ${name} is the key-value store's: take another name`,
    );
  }
  const known = root.members.groups.find((group: GroupRecord) => group.name === name);
  if (known !== undefined) return wireGroup(known);
  // Whoever asks for as many as there are gets those that are there once the leader can tell.
  const voters = root.status().configuration.voters.length;
  const wished = replicas === 0 ? Math.min(3, voters) : replicas;
  const areThere = (status: Status): number => candidatesOf(root, status).length;
  await judged(
    root,
    options,
    (status) =>
      areThere(status) >= wished || (replicas === 0 && status.hasHeard)
        ? undefined
        : new CoveyError(
          Code.failedPrecondition,
          `group ${name} wants ${wished} replicas, and ${areThere(status)} voters are there`,
        ),
  );
  const held = (nodeId: string): number =>
    root.members.groups.filter((group: GroupRecord) =>
      group.founders.some((founder) => founder.nodeId === nodeId)
    ).length;
  const candidates = candidatesOf(root, root.status())
    .sort((a, b) => held(a.nodeId) - held(b.nodeId) || a.replica - b.replica);
  const founders = candidates.slice(0, wished)
    .map((member, at) => ({ ...member, replica: at + 1 }));
  const record = { id: root.members.nextGroup, name, founders };
  await root.command({ kind: "createGroup", group: record }, options);
  const made = root.members.groups.find((group: GroupRecord) => group.name === name);
  if (made === undefined) {
    throw new CoveyError(Code.aborted, "another group was made in the same moment: try again");
  }
  return wireGroup(made);
}

/** Voters that are there. */
function candidatesOf(root: GroupOfAny, { id: self, configuration, members }: Status): Member[] {
  return root.members.all.filter(({ replica }: Member) =>
    configuration.voters.includes(replica) &&
    (replica === self || members.some(({ id, recentActive }) => id === replica && recentActive))
  );
}

/** Its data goes on every node. */
export async function removeGroup(
  root: GroupOfAny,
  name: string,
  options: RequestOptions,
): Promise<void> {
  await root.barrier(options);
  const known = root.members.groups.find((group: GroupRecord) => group.name === name);
  if (known === undefined && name === root.name) {
    throw new CoveyError(
      Code.failedPrecondition,
      `group ${name} cannot be removed: it has the key-value store, and says which groups there are`,
    );
  }
  if (known === undefined) throw new CoveyError(Code.notFound, `there is no group ${name}`);
  await root.command({ kind: "removeGroup", id: known.id }, options);
}

export function wireGroup(
  { id, name, founders }: GroupRecord,
): MessageInitShape<typeof GroupSchema> {
  return { id, name, founders: founders.map(toWire) };
}
