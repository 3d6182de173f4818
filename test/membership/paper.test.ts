/**
 * The paper's experiments (section 7) with fewer members: what bench/membership.ts measures at a
 * thousand and more holds at a hundred.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Lab } from "../../bench/membership_lab.ts";
import type { LabNode } from "../../bench/membership_node.ts";
import { lan, lossy, lowLatency, type Profile } from "../../src/membership/core/options.ts";

const members = 100;
const faulty = 3;
/** Up to ten members take in everybody at once: that is one or two views more. */
const joiners = 250;

function steady(
  profile: Profile,
  seed: number,
  { rejoins = true, countsBytes = false } = {},
): Lab {
  const lab = new Lab({ seed, profile, rejoins, countsBytes });
  lab.found(members);
  lab.clock.run(profile.probes.intervalMs * (profile.probes.window + 2.5));
  return lab;
}

function others(lab: Lab, nodes: readonly LabNode[]): number {
  return lab.nodes.reduce((sum, node) => sum + (nodes.includes(node) ? 0 : node.evictions), 0);
}

test("paper: those who join one seed within two seconds are few views, and all get the last one", () => {
  for (const seed of [1, 2]) {
    const lab = new Lab({ seed, profile: lan });
    lab.found(1);
    for (let at = 1; at < joiners; at++) {
      lab.clock.at(lab.prng.fraction() * 2_000, () => lab.join(at, [lab.nodes[0].address]));
    }
    assert.ok(lab.clock.run(10_000, () => lab.have(joiners, joiners)), [...lab.sizes].join(" "));
    assert.ok(lab.sizes.size <= 4, [...lab.sizes.keys()].join(" "));
  }
});

test("paper: members that crash together are one cut, soon", () => {
  const limits: [Profile, number][] = [[lan, 8_000], [lowLatency, 1_500], [lossy, 60_000]];
  for (const [profile, limitMs] of limits) {
    const lab = steady(profile, 2);
    for (let at = 0; at < faulty; at++) lab.nodes[at * 17].crash();
    const left = members - faulty;
    assert.ok(lab.clock.run(limitMs, () => lab.have(left, left)), [...lab.sizes].join(" "));
    assert.deepEqual([...lab.sizes.keys()], [members, left]);
  }
});

test("paper: who hears nothing for twenty seconds leaves in one cut, and nobody else", () => {
  const lab = steady(lan, 3, { rejoins: false });
  const bad = lab.nodes.slice(0, faulty);
  const flip = (loss: number): void => {
    for (const node of bad) node.ingressLoss = loss;
    lab.clock.at(20_000, () => flip(1 - loss));
  };
  flip(1);
  lab.clock.run(60_000);
  assert.deepEqual([...lab.sizes.keys()], [members, members - faulty]);
  assert.ok(lab.have(members - faulty, members - faulty));
  assert.equal(others(lab, bad), 0);
  assert.ok(bad.every(({ evictions }) => evictions === 1), "they learn it once they hear again");
});

test("paper: who loses most of what it sends leaves, stays out, and is back when it is well", () => {
  const lab = steady(lan, 4);
  const bad = lab.nodes.slice(0, faulty);
  for (const node of bad) node.egressLoss = 0.8;
  const left = members - faulty;
  assert.ok(lab.clock.run(60_000, () => lab.have(left, left)), [...lab.sizes].join(" "));
  lab.clock.run(60_000);
  assert.ok(lab.have(left, left), "they do not come and go");
  assert.equal(others(lab, bad), 0);
  for (const node of bad) node.egressLoss = 0;
  assert.ok(lab.clock.run(600_000, () => lab.have(members, members)), [...lab.sizes].join(" "));
  assert.equal(others(lab, bad), 0);
});

test("paper: in a steady state a member sends and receives its probes, and nothing else", () => {
  const lab = steady(lan, 5, { countsBytes: true });
  const fromS = Math.ceil(lab.nowMs / 1_000);
  lab.clock.run(20_000);
  for (const { traffic } of lab.nodes) {
    for (let second = fromS; second < fromS + 10; second++) {
      const [sent, received] = [traffic.sentIn(second), traffic.receivedIn(second)];
      // Ten probes and ten answers, give or take what two subjects on several rings are.
      assert.ok(sent > 200 && sent <= 710, `${sent} bytes sent`);
      assert.ok(received > 200 && received <= 710, `${received} bytes received`);
    }
  }
});

test("paper: a cut costs a member a few kilobytes", () => {
  const lab = steady(lan, 7, { countsBytes: true });
  const fromS = Math.ceil(lab.nowMs / 1_000);
  lab.clock.run(fromS * 1_000 + 5_000 - lab.nowMs);
  for (let at = 0; at < faulty; at++) lab.nodes[at * 17].crash();
  lab.clock.run(10_000);
  assert.ok(lab.have(members - faulty, members - faulty));
  const running = lab.nodes.filter(({ isRunning }) => isRunning);
  const sent = (second: number): number =>
    running.reduce((sum, { traffic }) => sum + traffic.sentIn(second), 0) / running.length;
  let extra = 0;
  for (let second = fromS + 5; second < fromS + 15; second++) extra += sent(second) - sent(fromS);
  assert.ok(extra > 500 && extra < 6_000, `${extra} bytes`);
});

test("paper: one seed is one run", () => {
  const run = (): string => {
    const lab = steady(lan, 6);
    lab.nodes[3].crash();
    lab.clock.run(10_000);
    return `${lab.clock.events} ${lab.network.messages} ${
      [...lab.views.values()].map(({ atMs }) => atMs)
    }`;
  };
  assert.equal(run(), run());
});
