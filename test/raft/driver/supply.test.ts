/** The way of entries to a replica whose node cannot be dialled, or cannot dial. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../../src/base/error.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import type { ServerInterceptor } from "../../../src/ttrpc/service.ts";
import { addressOf, Lab, type LabNode } from "./lab.ts";

before(armBan);
after(liftBan);

const names = ["a", "b", "c"];

/** Three nodes, one of which says that it is where nobody listens, and does not lead. */
async function withWrongAddress(): Promise<{ lab: Lab; hidden: LabNode; leader: LabNode }> {
  const lab = new Lab();
  const join = names.map(addressOf);
  for (const name of names) lab.define(name, { join });
  lab.setup("c").address = "tcp://c:1";
  lab.start(...names);
  const leader = await lab.leader(names);
  if (leader.name === "c") {
    await lab.wait(lab.operator("c").transfer({}));
    await lab.until(() => !lab.node("c").isLeading);
  }
  // All links are dialled anew.
  for (const name of names) lab.machine(name).kill();
  lab.start("a", "b");
  await lab.leader(["a", "b"]);
  lab.start("c");
  return { lab, leader: await lab.leader(names), hidden: lab.node("c") };
}

test("a voter that cannot be dialled dials the link for entries itself, and the leader says so once", async () => {
  const { lab, hidden, leader } = await withWrongAddress();
  assert.notEqual(hidden.name, leader.name);
  await lab.put(leader, 3);
  await lab.converged(names, 6_000);
  await lab.wait(hidden.root.barrier());
  // It counts for the majority.
  const other = lab.followers().find(({ name }) => name !== hidden.name)!;
  lab.machine(other.name).kill();
  await lab.put(leader, 10);
  await lab.pass(30_000);
  assert.equal(hidden.root.hindrance, undefined);
  const lines = lab.logged(leader.name, /cannot be reached at the address that it advertises/);
  assert.deepEqual(lines.map(({ fields }) => fields.address), [`tcp://${hidden.name}:1`]);
  lab.checkOperations();
});

test("an idle cluster dials no link for entries again and again", async () => {
  const { lab, hidden } = await withWrongAddress();
  await lab.pass(5_000);
  const framesOf = (): number => hidden.cluster.host!.counters.log.framesSent;
  const [events, frames] = [lab.simulation.events, framesOf()];
  await lab.pass(60_000);
  const perSecond = (lab.simulation.events - events) / 60;
  assert.ok(perSecond < 1_500, `${perSecond} events in a second`);
  assert.ok(framesOf() - frames < 10);
});

test("a replica to which entries find no way at all says so, and fails reads that need them", async () => {
  const lab = new Lab();
  let isClosed = false;
  const noLog: ServerInterceptor = (call, next) => {
    if (isClosed && call.context.method.name === "Log") {
      throw new CoveyError(Code.unavailable, "nothing comes through");
    }
    return next(call);
  };
  for (const name of names) {
    lab.define(name, { join: names.map(addressOf), interceptors: [noLog] });
  }
  const first = await lab.found(...names);
  await lab.put(first, 3);
  lab.machine("a").kill();
  const leader = await lab.leader(["b", "c"]);
  await lab.put(leader, 3);
  // Neither dials the other's: the one has a firewall, the other says that it is elsewhere.
  isClosed = true;
  lab.start("a");
  await lab.until(
    () => lab.has("a") && lab.node("a").cluster.root?.hindrance !== undefined,
    10_000,
  );
  const cut = lab.node("a");
  assert.match(cut.root.hindrance!, /does not come here: neither node can dial/);
  const error = await lab.failure(cut.root.barrier());
  assert.equal(error.code, Code.unavailable);
  assert.match(error.rawMessage, /neither node can dial/);
  isClosed = false;
  await lab.until(() => cut.root.hindrance === undefined, 5_000);
  await lab.wait(cut.root.barrier());
  await lab.converged();
});
