/** A connection between covey peers notices within its bounds that the other side is gone. */
import type { Observer } from "./observer.ts";

/** Links are swept once a second; a ping is sent by one sweep and judged by another. */
const sweepMs = 1000;
const slackMs = 300;

export function checkSigns(observer: Observer, nowMs: number, slept: boolean): void {
  const { verdict } = observer.parts.ledger;
  for (const watched of observer.open) {
    const { link, paused } = watched;
    if (slept || paused) {
      watched.heardMs = nowMs;
      continue;
    }
    if (!link.isOpen || !link.machine.extended) continue;
    const { keepaliveIntervalMs, keepaliveTimeoutMs } = link.limits;
    const boundMs = keepaliveIntervalMs + keepaliveTimeoutMs + 2 * sweepMs + slackMs;
    verdict.check(
      nowMs - watched.heardMs <= boundMs,
      "a dead peer is noticed",
      () => `${watched.name} heard nothing for ${nowMs - watched.heardMs} ms, bound ${boundMs}`,
    );
  }
}
