/** What many groups in one process cost: the work of a message must not grow with their number. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Group } from "../../../src/raft/group.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab } from "./lab.ts";
import { TestMachine } from "./test_machine.ts";

before(armBan);
after(liftBan);

/** How often a group of any node is looked at in a second in which nothing happens. */
async function looksPerSecond(groups: number): Promise<number> {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  for (let at = 0; at < groups; at++) {
    const name = `group-${at}`;
    for (const node of lab.alive) node.cluster.groups!.register(name, new TestMachine());
    await lab.wait(lab.operator("a").createGroup({ name, replicas: 3 }));
  }
  const all = (): readonly { readonly leads: boolean }[] =>
    lab.alive.flatMap((node) => [...node.cluster.host!.groups]);
  const lead = (): number => all().filter(({ leads }) => leads).length;
  await lab.until(() => all().length === 3 * (groups + 1) && lead() === groups + 1);
  await lab.pass(3_000);
  const descriptor = Object.getOwnPropertyDescriptor(Group.prototype, "calmTicks")!;
  let looks = 0;
  Object.defineProperty(Group.prototype, "calmTicks", {
    ...descriptor,
    get(this: Group<unknown>): number {
      looks++;
      return descriptor.get!.call(this);
    },
  });
  try {
    await lab.pass(1_000);
  } finally {
    Object.defineProperty(Group.prototype, "calmTicks", descriptor);
  }
  assert.ok(looks > 0, "nobody looked");
  return looks;
}

test("four times the groups make four times the work, not sixteen times", async () => {
  const few = await looksPerSecond(10);
  const many = await looksPerSecond(40);
  assert.ok(many < 6 * few, `${few} looks with 10 groups, ${many} with 40`);
});
