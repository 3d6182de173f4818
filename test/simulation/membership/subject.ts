/** The protocol core of membership. */
import { membershipMutations } from "../mutations/membership/table.ts";
import type { Subject } from "../seeds/subject.ts";
import { marks } from "./marks.ts";
import { runMembershipSeed } from "./run.ts";

export const membershipSubject: Subject = {
  name: "membership",
  marks,
  mutations: membershipMutations,
  run: runMembershipSeed,
};
