/** What `/v1/raft` and the paths below it take. */
import * as z from "npm:zod@4.6.7";
import { flag, wants, whole } from "./input.ts";

const group = whole(0, 2 ** 32 - 1).describe("The group; 0, the default, is the store's.");
const replica = whole(1).describe("The replica's number.");

export const peersQuery = z.strictObject({ group: group.optional() });

export const addBody = z.strictObject({
  address: z.string(wants('an address, such as "tcp://10.0.0.4:7946"')).min(
    1,
    wants('an address, such as "tcp://10.0.0.4:7946"'),
  ).describe("Of the mesh listener of a node that is in no cluster yet."),
  learner: flag().describe("Leave it a learner, rather than promoting it once it has caught up.")
    .optional(),
  nodeId: z.string(wants("32 hexadecimal digits")).regex(
    /^[0-9a-f]{32}$/,
    wants("32 hexadecimal digits, in lower case"),
  ).describe("The node id that is expected at the address.").optional(),
  group: group.optional(),
});

export const replicaBody = z.strictObject({ replica, group: group.optional() });

export const transferBody = z.strictObject({
  replica: replica.describe("Who is to lead; without it, the voter that has most of the log.")
    .optional(),
  group: group.optional(),
});

export const groupBody = z.strictObject({ group: group.optional() });
