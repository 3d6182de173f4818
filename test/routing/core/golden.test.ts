/** The same numbers on both engines: coordinates to the last bit, and every choice of a policy. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText, toHex } from "../../../src/base/bytes.ts";
import { Prng } from "../../../src/base/prng.ts";
import { Xxh64 } from "../../../src/base/xxh64.ts";
import { encodeCoordinate } from "../../../src/routing/core/coordinate.ts";
import { createPolicy, type Pick } from "../../../src/routing/core/picks.ts";
import { candidate } from "./candidates.ts";
import { grid, Measuring, scattered, sites } from "./topologies.ts";

test("coordinates after 200 s on three networks", () => {
  const hash = new Xxh64();
  const networks = [grid(5, 10), scattered(30, 100, new Prng(2)), sites(3, 8, new Prng(3))];
  const firsts = networks.map((trips) => {
    const measuring = new Measuring(trips, 7).seconds(200);
    const doubles = new Float64Array(1);
    for (const { current } of measuring.nodes) {
      for (const value of [...current.position, current.heightMs, current.error]) {
        doubles[0] = value;
        hash.update(new Uint8Array(doubles.buffer));
      }
      hash.update(encodeCoordinate(current));
    }
    return toHex(encodeCoordinate(measuring.nodes[0].current));
  });
  assert.deepEqual([...firsts, hash.digestHex()], [
    "01c176357bc0beb6b641458b3dc1c63099411aa74dc159e773408f2e4dc17fe2bd3f0646b73f843ae93d81b24d",
    "01413d9199c1e512bcc2515b15c13fc6b5c146f4d4c183c211c142e561c1b9386f3c2949da3e7980fc3cc1e2b2",
    "01c232c1f442044e384202baf240f2c37fc20e5267bf5c4198c1cbc042c1d34b9b3f2bba42bc0457cf3d3590b7",
    "9a0c8e68005a2e90",
  ]);
});

test("two hundred choices of each policy", () => {
  const picks: readonly Pick[] = ["round_robin", "least_pending", "nearest", "key", {
    tag: "even",
  }];
  const hashes = picks.map((pick) => {
    const random = new Prng(11);
    const policy = createPolicy(pick, random.fork());
    const all = Array.from(
      { length: 20 },
      (_, index) => candidate(index, { tags: index % 2 === 0 ? ["even"] : [] }),
    );
    const hash = new Xxh64();
    for (let round = 1; round <= 200; round++) {
      const admitted = policy.admits === undefined ? all : all.filter(policy.admits);
      const chosen = policy.choose(admitted, encodeText(`key ${round}`));
      hash.update(encodeText(chosen.address));
      chosen.lastCall = round;
      chosen.pending = random.below(3);
      chosen.tripMs = random.below(5);
    }
    return hash.digestHex();
  });
  assert.deepEqual(hashes, [
    "9a918821f4f461c8",
    "698a50e8df97dd97",
    "585479ca3c67ee6e",
    "a5f7489b7d9f1787",
    "2c02d5fc4e34758f",
  ]);
});
