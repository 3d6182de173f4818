/**
 * What one member keeps of a view of 1,000: run on its own by bench/membership.ts. Several of them are
 * made, each with records and rings of its own, as if each were a process.
 */
import { heapStats } from "bun:jsc";
import process from "node:process";
import { Configuration } from "../src/membership/core/configuration.ts";
import { freshAcceptor } from "../src/membership/core/consensus.ts";
import { type Member, MemberRole } from "../src/membership/core/member.ts";
import { Membership } from "../src/membership/core/membership.ts";
import { lan } from "../src/membership/core/options.ts";
import { Prober } from "../src/membership/core/prober.ts";

const copies = 8;

function record(at: number): Member {
  return {
    address: `tcp://gateway-${at}.example.net:7946`,
    nodeId: at.toString(16).padStart(32, "0"),
    incarnation: (BigInt(at) << 40n) + 12_345n,
    name: `gateway-${at}`,
    role: MemberRole.core,
    metadata: new Map([["zone", new Uint8Array(8)]]),
  };
}

function machine(size: number, joiners: number): unknown {
  const members = Array.from({ length: size }, (_, at) => record(at));
  const configuration = Configuration.first(1n, members, lan.protocol.rings);
  const membership = new Membership(
    members[0],
    { configuration, acceptor: freshAcceptor },
    lan.protocol,
    0,
  );
  const prober = new Prober(lan.probes, 0);
  prober.watch(membership.subjects, 0);
  for (const address of membership.peers) membership.linked(address);
  membership.take();
  membership.receive(membership.peers[0], {
    kind: "gossip",
    configuration,
    joiners: Array.from({ length: joiners }, (_, at) => record(size + at)),
    alerts: Array.from({ length: joiners }, (_, at) => ({
      place: undefined,
      joiner: record(size + at).incarnation,
      rings: [0, 5, 1, 5],
    })),
    notes: [],
    tallies: [],
  });
  // Outboxes stay full, as those of links that are slow.
  return { membership, prober };
}

function heapBytes(): number {
  Bun.gc(true);
  Bun.gc(true);
  const { heapSize, extraMemorySize } = heapStats();
  return heapSize + extraMemorySize;
}

const [size, joiners] = process.argv.slice(2).map(Number);
// Code and shapes are not counted.
let kept: unknown[] = [machine(size, joiners)];
kept = [];
const before = heapBytes();
for (let copy = 0; copy < copies; copy++) kept.push(machine(size, joiners));
const bytes = (heapBytes() - before) / kept.length;
console.log(JSON.stringify({ bytes }));
