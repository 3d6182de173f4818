/** No descriptor to open with: the log waits, tells once and goes on; only a stop gives up. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { type Logger, silentLogger } from "../../../src/base/log.ts";
import { PatientDisk } from "../../../src/raft/patient_disk.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { entries, hardState, type Lab, makeLab, openOn, type Running, Twin } from "./support.ts";

before(armBan);
after(liftBan);

interface Patience {
  readonly lab: Lab;
  readonly disk: PatientDisk;
  readonly parts: Pick<Runtime, "disk" | "random">;
  readonly warnings: string[];
  waits: number;
}

async function makePatience(): Promise<Patience> {
  const lab = await makeLab();
  const { disk, clock, random } = lab.machine.runtime;
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warning: (message) => void warnings.push(message) };
  const patient = new PatientDisk({ disk, clock, logger, waits: () => void patience.waits++ });
  const patience: Patience = {
    lab,
    disk: patient,
    parts: { disk: patient, random },
    warnings,
    waits: 0,
  };
  return patience;
}

/** Appends until the segment is full and another one is needed several times over. */
function fill({ log }: Running, twin: Twin): number {
  let ticket = twin.create(log, 0, 1);
  for (let index = 1; index <= 60; index++) {
    ticket = twin.append(log, 0, {
      entries: entries(index, index, 1, "value ".repeat(60)),
      hardState: hardState(1, 1, index - 1),
    });
  }
  return ticket;
}

test("appends wait for a segment that cannot be opened, and go on when it can", async () => {
  const patience = await makePatience();
  const { lab: { simulation, machine }, parts, warnings } = patience;
  const running = await simulation.wait(openOn(parts, { batchBytesMax: 512 }));
  const { log, told } = running;
  machine.disk.failOpen({ times: Infinity });
  const twin = new Twin();
  const ticket = fill(running, twin);
  const durable = log.whenDurable(ticket);
  await simulation.run({ forMs: 30_000 });
  assert.ok(told.durable < ticket, "without a new segment there is no room for all of it");
  assert.equal(log.isWriting, true);
  assert.ok(patience.waits > 0);
  assert.deepEqual(told.failed, []);
  assert.equal(warnings.length, 1, "one line, however often it tries");
  assert.match(warnings[0], /^the log waits for a free descriptor: /);

  machine.disk.heal();
  const healedMs = simulation.nowMs;
  await simulation.wait(durable);
  assert.ok(simulation.nowMs - healedMs < 2000, "it notices soon");
  assert.deepEqual(told.failed, []);
  await simulation.wait(log.close());
  machine.kill();
  machine.restart();
  const again = await simulation.wait(openOn(machine.runtime));
  assert.equal(again.tail, "clean");
  twin.check(again.groups, ticket, "after a shortage");
  await simulation.wait(again.log.close());
});

test("a node that stops does not wait for a descriptor for ever", async () => {
  const { lab: { simulation, machine }, parts, disk } = await makePatience();
  const running = await simulation.wait(openOn(parts, { batchBytesMax: 512 }));
  const { log, told } = running;
  machine.disk.failOpen({ times: Infinity });
  const twin = new Twin();
  const ticket = fill(running, twin);
  const durable = log.whenDurable(ticket).catch((error: unknown) => error);
  await simulation.run({ forMs: 1000 });
  const acknowledged = told.durable;
  disk.hurry(500);
  const startMs = simulation.nowMs;
  await simulation.wait(log.close());
  disk.close();
  assert.ok(simulation.nowMs - startMs <= 1000);
  assert.ok(await durable instanceof Error);
  assert.equal(told.failed.length, 1);
  assert.match(String(told.failed[0].cause), /no descriptor is left/);

  machine.disk.heal();
  machine.kill();
  machine.restart();
  const again = await simulation.wait(openOn(machine.runtime));
  twin.check(again.groups, acknowledged, "after a stop within a shortage");
  await simulation.wait(again.log.close());
});
