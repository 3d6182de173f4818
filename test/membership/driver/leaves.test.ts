/** Leaves: they watch and are watched, and follow what a few others decide. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemberRole } from "../../../src/membership/core/member.ts";
import { encodeText } from "../../../src/base/bytes.ts";
import { addressOf, MembersLab } from "./lab.ts";

const core = ["a", "b", "c"];
const leaves = ["l1", "l2", "l3", "l4", "l5", "l6"];

async function withLeaves(): Promise<MembersLab> {
  const lab = new MembersLab();
  await lab.found(...core);
  for (const name of leaves) {
    lab.define(name, { seeds: [addressOf("a")], role: MemberRole.leaf, clusterId: "" });
  }
  lab.start(...leaves);
  await lab.until(() => lab.agree(...core, ...leaves), 30_000);
  await lab.advance(3_000);
  return lab;
}

test("leaves join, and a leaf that dies leaves the view of all", async () => {
  const lab = await withLeaves();
  lab.machine("l3").kill();
  await lab.until(() => lab.agree(...core, ...leaves.filter((name) => name !== "l3")), 20_000);
});

test("leaves do not count for decisions: two of three decide, whatever the leaves do", async () => {
  const lab = await withLeaves();
  lab.machine("c").kill();
  const left = ["a", "b", ...leaves];
  await lab.until(() => lab.agree(...left), 20_000);
  for (const name of ["l1", "l2"]) lab.machine(name).kill();
  await lab.until(() => lab.agree("a", "b", "l3", "l4", "l5", "l6"), 60_000);
});

test("without a majority of the core nothing is decided, and leaves are told nothing", async () => {
  const lab = await withLeaves();
  const { epoch } = lab.node("l1").members.view!;
  lab.machine("b").kill();
  lab.machine("c").kill();
  await lab.advance(60_000);
  assert.equal(lab.node("a").members.view!.epoch, epoch);
  assert.equal(lab.node("l1").members.view!.epoch, epoch);
  assert.ok(lab.node("a").members.problem !== undefined, "the core says that it is stuck");
  lab.start("b", "c");
  await lab.until(() => lab.agree(...core, ...leaves), 90_000);
});

test("what leaves say of themselves reaches the core and other leaves", async () => {
  const lab = await withLeaves();
  lab.node("l6").members.say("k", encodeText("v"));
  const knows = (name: string): boolean => {
    const { members } = lab.node(name);
    const member = members.view!.members.find((one) => one.name === "l6");
    return member !== undefined && members.factsOf(member).has("k");
  };
  await lab.until(() => [...core, ...leaves].every(knows), 5_000);
});
