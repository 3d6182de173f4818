/** Who leads, as part of an error: so that whoever asked can go there. */
import { create, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { CoveyError } from "../base/error.ts";
import { LeaderHintSchema } from "../gen/covey/raft/v1/raft_pb.ts";
import type { LeaderHint } from "./group_types.ts";
import { toWire } from "./members.ts";

/** Tells a client whom to ask instead. */
export function leaderDetail(
  group: number,
  leader: LeaderHint,
): { readonly typeUrl: string; readonly value: Uint8Array } {
  return {
    typeUrl: `type.googleapis.com/${LeaderHintSchema.typeName}`,
    value: toBinary(LeaderHintSchema, create(LeaderHintSchema, { group, ...toWire(leader) })),
  };
}

/** The same error, with the leader's name and address where one is known. */
export function withLeader(
  error: unknown,
  group: number,
  leader: LeaderHint | undefined,
): CoveyError {
  const known = CoveyError.from(error);
  if (leader === undefined || leader.address === "" || known.details.length > 0) return known;
  const { code, rawMessage, cause, sent } = known;
  return new CoveyError(code, `${rawMessage} (the leader is ${leader.name} at ${leader.address})`, {
    cause,
    sent,
    details: [leaderDetail(group, leader)],
  });
}
