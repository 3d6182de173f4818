/** What the paths below `/v1/members` take. */
import * as z from "npm:zod@4.6.7";
import { wants } from "./input.ts";

const problem = wants("a member's name, address or node id");

export const kickBody = z.strictObject({
  member: z.string(problem).min(1, problem).describe(
    "Its name, address or node id; another one than the node that is asked.",
  ),
});

export const leaveBody = z.strictObject({});
