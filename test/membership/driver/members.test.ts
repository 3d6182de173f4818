/** Membership on simulated machines: links, calls, disks and clocks, with what can happen to them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../../src/base/error.ts";
import { decodeText, encodeText } from "../../../src/base/bytes.ts";
import { addressOf, MembersLab, nodeIdOf } from "./lab.ts";

test("founders begin in one view, and a node that is told of them joins it", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  assert.equal(lab.node("a").members.view!.epoch, 1);
  lab.define("d", { seeds: [addressOf("b")] });
  lab.start("d");
  await lab.until(() => lab.agree("a", "b", "c", "d"), 3_000);
  assert.equal(lab.node("d").members.view!.epoch, 2);
  assert.deepEqual(lab.handlerErrors, []);
});

test("a node alone is a view, and others join it one after the other", async () => {
  const lab = new MembersLab();
  await lab.found("a");
  for (const [at, name] of ["b", "c", "d"].entries()) {
    lab.define(name, { seeds: [addressOf("a")], clusterId: "" });
    lab.start(name);
    await lab.until(() => lab.agree(...["a", "b", "c", "d"].slice(0, at + 2)), 5_000);
  }
});

test("ten that join at once are in within seconds, in few views", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  const names = Array.from({ length: 10 }, (_, at) => `n${at}`);
  for (const name of names) lab.define(name, { seeds: [addressOf("a")] });
  lab.start(...names);
  await lab.until(() => lab.agree("a", "b", "c", ...names), 15_000);
  assert.ok(lab.node("a").members.view!.epoch <= 5, `${lab.node("a").members.view!.epoch}`);
});

test("a crash is a view without it, within eight seconds", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c", "d", "e");
  await lab.advance(2_000);
  lab.machine("c").kill();
  await lab.until(() => lab.agree("a", "b", "d", "e"), 8_000);
});

test("with three members one crash is decided by the two that are left", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  await lab.advance(2_000);
  lab.machine("b").kill();
  await lab.until(() => lab.agree("a", "c"), 8_000);
});

test("a restart within the window is no change of the view", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  lab.machine("b").kill();
  await lab.advance(1_500);
  lab.start("b");
  await lab.advance(60_000);
  assert.ok(lab.agree("a", "b", "c"));
  assert.equal(lab.node("b").members.view!.epoch, 1);
});

test("the power of all goes: all are in the view that was, without a change", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  lab.define("d", { seeds: [addressOf("a")] });
  lab.start("d");
  await lab.until(() => lab.agree("a", "b", "c", "d"));
  await lab.advance(1_000);
  for (const name of ["a", "b", "c", "d"]) lab.machine(name).crash();
  await lab.advance(60_000);
  lab.start("a", "b", "c", "d");
  await lab.until(() => lab.agree("a", "b", "c", "d"), 3_000);
  assert.equal(lab.node("d").members.view!.epoch, 2);
  await lab.advance(30_000);
  assert.equal(lab.node("d").members.view!.epoch, 2);
});

test("a node that was paused for long is taken out, learns it and joins again", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c", "d");
  const before = lab.node("d").members.self!.incarnation;
  lab.machine("d").pause();
  await lab.until(() => lab.agree("a", "b", "c"), 10_000);
  lab.machine("d").resume();
  await lab.until(() => lab.agree("a", "b", "c", "d"), 10_000);
  assert.notEqual(lab.node("d").members.self!.incarnation, before);
});

test("one cut off from all says that it is degraded, and is back when the cut is healed", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c", "d", "e");
  await lab.advance(2_000);
  const heal = lab.partition(["e"], ["a", "b", "c", "d"]);
  await lab.until(() => lab.agree("a", "b", "c", "d"), 30_000);
  await lab.until(() => /do not answer/.test(lab.node("e").members.problem ?? ""), 30_000);
  assert.deepEqual(lab.node("e").names?.length, 5, "a minority installs nothing");
  heal();
  await lab.until(() => lab.agree("a", "b", "c", "d", "e"), 60_000);
  assert.equal(lab.node("e").members.problem, undefined);
});

test("two halves install nothing, say so, and go on as one", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c", "d");
  await lab.advance(2_000);
  const heal = lab.partition(["a", "b"], ["c", "d"]);
  const all = ["a", "b", "c", "d"];
  await lab.until(() => all.every((name) => lab.node(name).members.problem !== undefined), 40_000);
  for (const name of all) assert.equal(lab.node(name).members.view!.epoch, 1);
  heal();
  await lab.until(
    () => lab.agree(...all) && all.every((name) => lab.node(name).members.problem === undefined),
    120_000,
  );
});

test("a lost disk: the same address with another node id takes the place of the one before", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  await lab.advance(1_000);
  lab.machine("c").kill();
  lab.define("c2", {
    nodeId: nodeIdOf("other"),
    address: addressOf("c"),
    name: "c",
    seeds: [addressOf("a"), addressOf("b")],
  });
  lab.define("c", { ...lab.setup("c2"), isDurable: false });
  lab.start("c");
  await lab.until(() => lab.agree("a", "b", "c"), 30_000);
  const member = lab.node("a").members.view!.members.find(({ name }) => name === "c")!;
  assert.equal(member.nodeId, nodeIdOf("other"));
});

test("a member leaves: the others know at once", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  await lab.advance(1_000);
  await lab.wait(lab.client("c").leave({}, { timeoutMs: 5_000 }));
  await lab.until(() => lab.agree("a", "b"), 1_000);
  assert.equal(lab.node("c").members.state, "left");
  await lab.advance(30_000);
  assert.ok(lab.agree("a", "b"), "it does not come back by itself");
});

test("of two members one may leave, and the other one is alone", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b");
  await lab.advance(1_000);
  await lab.wait(lab.client("b").leave({}, { timeoutMs: 5_000 }));
  await lab.until(() => lab.agree("a"), 3_000);
});

test("a member that is kicked is out, and joins again as another one", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c", "d");
  await lab.advance(1_000);
  const before = lab.node("d").members.self!.incarnation;
  const { member } = await lab.wait(lab.client("a").kick({ member: "d" }));
  assert.equal(member!.name, "d");
  await lab.until(() => lab.node("d").members.self!.incarnation !== before, 5_000);
  await lab.until(() => lab.agree("a", "b", "c", "d"), 10_000);
  const unknown = await lab.wait(lab.client("a").kick({ member: "x" }).catch((error) => error));
  assert.ok(unknown instanceof CoveyError && unknown.code === Code.notFound);
  assert.match(unknown.rawMessage, /the members are a, b, c, d/);
});

test("another cluster, a name that is taken, other settings: refused with the reason", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  lab.define("x", { seeds: [addressOf("a")], clusterId: "f".repeat(32) });
  lab.define("y", { seeds: [addressOf("a")], name: "b" });
  const { profile } = lab.setup("a");
  const protocol = { ...profile.protocol, low: 4 };
  lab.define("z", { seeds: [addressOf("a")], profile: { ...profile, protocol } });
  lab.start("x", "y", "z");
  await lab.advance(10_000);
  assert.match(lab.node("x").members.problem!, /belongs to cluster f+, not to 0123/);
  assert.match(lab.node("y").members.problem!, /another member is called b/);
  assert.match(lab.node("z").members.problem!, /low 4 \(here 3\)/);
  assert.ok(lab.agree("a", "b", "c"));
});

test("views: the present one first, then each change, and what a slow reader missed", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  const reader = lab.node("a").members.feed.read();
  const first = await lab.wait(reader.next());
  assert.deepEqual(first.value!.joined.map(({ name }) => name), ["a", "b", "c"]);
  for (const name of ["d", "e"]) {
    lab.define(name, { seeds: [addressOf("a")] });
    lab.start(name);
    await lab.until(() => lab.node("a").names!.includes(name));
    await lab.advance(3_000);
  }
  const next = await lab.wait(reader.next());
  assert.deepEqual(next.value!.joined.map(({ name }) => name), ["d", "e"]);
  assert.deepEqual([next.value!.skipped, next.value!.epoch], [1, 3]);
  const last = reader.next();
  await lab.wait(lab.node("a").stop());
  assert.equal((await lab.wait(last)).done, true);
});

test("an idle member writes nothing to its disk", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  await lab.advance(5_000);
  const before = await lab.wait(lab.node("a").runtime.disk.readFile("/data/membership", 1 << 20));
  await lab.advance(120_000);
  const after = await lab.wait(lab.node("a").runtime.disk.readFile("/data/membership", 1 << 20));
  assert.deepEqual(after, before);
});

test("what a member says of itself reaches all, also those that come later, and outlives stays", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  const says = (at: string, of: string): string | undefined => {
    if (!lab.has(at)) return undefined;
    const { members } = lab.node(at);
    const member = members.view?.members.find(({ name }) => name === of);
    const value = member && members.factsOf(member).get("color");
    return value && decodeText(value);
  };
  lab.node("b").members.say("color", encodeText("red"));
  await lab.until(() => ["a", "b", "c"].every((name) => says(name, "b") === "red"), 2_000);
  lab.define("d", { seeds: [addressOf("a")] });
  lab.start("d");
  await lab.until(() => says("d", "b") === "red", 5_000);
  lab.node("b").members.say("color", encodeText("blue"));
  await lab.until(() => ["a", "c", "d"].every((name) => says(name, "b") === "blue"), 2_000);
  // A node that is restarted counts anew, and is believed.
  lab.machine("b").kill();
  lab.start("b");
  await lab.until(() => lab.has("b"));
  lab.node("b").members.say("color", encodeText("green"));
  await lab.until(() => ["a", "c", "d"].every((name) => says(name, "b") === "green"), 5_000);
  // Out and in again as another stay, it says the same.
  await lab.wait(lab.client("a").kick({ member: "b" }));
  await lab.until(() => says("a", "b") === undefined, 5_000);
  await lab.until(() => ["a", "c", "d"].every((name) => says(name, "b") === "green"), 10_000);
  lab.node("b").members.say("color", undefined);
  await lab.until(() => ["a", "c", "d"].every((name) => says(name, "b") === undefined), 5_000);
  const large = new Uint8Array(5_000);
  assert.throws(() => lab.node("b").members.say("x", large), /4 KiB/);
});

test("readers of views are told what members say", async () => {
  const lab = new MembersLab();
  await lab.found("a", "b", "c");
  const reader = lab.node("a").members.feed.read();
  await lab.wait(reader.next());
  lab.node("c").members.say("k", encodeText("v"));
  const { value } = await lab.wait(reader.next());
  assert.deepEqual(value!.changed.map(({ name }) => name), ["c"]);
  assert.deepEqual([value!.joined, value!.left, value!.skipped], [[], [], 0]);
});
