/** What the crash and fault tests do to a log. */
import type { Runtime } from "../../../src/runtime/port.ts";
import { entries, entry, hardState, meta, openOn, type Told, type Twin } from "./support.ts";

/** Small segments, so that a small workload fills, releases and reuses several. */
export const workloadOptions = { segmentBytes: 2048, sparesMax: 1 } as const;

/** Two groups interleaved: one rewrites and truncates, the other compacts; segments come and go. */
export async function workload(
  runtime: Pick<Runtime, "disk" | "random">,
  twin: Twin,
  told: Told,
): Promise<void> {
  const { log } = await openOn(runtime, workloadOptions, told);
  twin.create(log, 0, 1);
  await log.whenDurable(twin.create(log, 5, 2));
  twin.append(log, 5, { snapshot: meta(0, 0, 1, 2, 3), hardState: hardState(1, 0, 0) });
  for (let round = 0; round < 14; round++) {
    const first = round * 4 + 1;
    twin.append(log, 0, {
      entries: entries(first, first + 3, 1 + round, "value ".repeat(20)),
      hardState: hardState(1 + round, 1, first - 1),
    });
    if (round < 6) twin.append(log, 5, { entries: entries(round + 1, round + 6, 1 + round) });
    if (round % 2 === 1) await log.whenDurable(told.durable + 1);
    if (round % 3 === 2) twin.truncate(log, 5, round < 6 ? round + 3 : 22);
    if (round === 3) twin.compact(log, 0, meta(9, 3, 1, 2));
    if (round === 5) twin.append(log, 5, { snapshot: meta(20, 5, 1, 2), entries: [entry(21, 6)] });
    if (round === 5) twin.compact(log, 0, meta(22, 6, 1, 2));
    if (round > 8) twin.compact(log, 0, meta(first - 4, round, 1, 2));
    if (round === 12) twin.compact(log, 5, meta(24, 7, 1, 2));
    if (round >= 5) twin.append(log, 5, { entries: entries(round < 12 ? 22 : 25, 24 + round, 7) });
    if (round === 6) twin.append(log, 0, { hardState: hardState(9, 2, 24), lazy: true });
    await log.whenDurable(twin.states.length - 1 - (round === 6 ? 1 : 0));
  }
  twin.remove(log, 5);
  await log.whenDurable(twin.create(log, 6, 4));
  await log.close();
}
