/** How much a connection may hold, and that its sums are what its calls really hold. */
import { frameHeaderBytes } from "../../../src/ttrpc/core/frame.ts";
import { messageOverheadBytes } from "../../../src/ttrpc/core/call.ts";
import type { Watched } from "./observer.ts";
import type { Verdict } from "../seeds/verdict.ts";

/** Status, metadata and envelope around the largest message. */
const envelopeBytes = 1024;
/** What one chunk of the simulated network brings at most. */
const chunkBytesMax = 1 << 20;

export function checkBounds(watched: Watched, verdict: Verdict): void {
  const { link, name } = watched;
  const { machine, limits } = link;
  const say = (holds: boolean, text: () => string): void =>
    verdict.check(holds, "queues stay below their bounds", () => `${name}: ${text()}`);
  const frameBytes = limits.messageBytesMax + frameHeaderBytes + envelopeBytes;

  const output = machine.output.queuedBytes;
  const outputMax = 2 * limits.queueBytesMax + 2 * frameBytes;
  say(output <= outputMax, () => `${output} bytes of output, at most ${outputMax}`);
  const outboxMax = limits.queueBytesMax + frameBytes * 2;
  say(machine.outboxBytes <= outboxMax, () => `${machine.outboxBytes} bytes wait to be sent`);
  say(
    machine.outboxMessages <= limits.queueMessagesMax + 3 * limits.callsMax,
    () => `${machine.outboxMessages} messages wait to be sent`,
  );
  say(
    machine.inboxBytes <= limits.queueBytesMax + frameBytes,
    () => `${machine.inboxBytes} bytes wait to be read`,
  );

  let inboxBytes = 0;
  let outboxBytes = 0;
  let outboxMessages = 0;
  for (const call of machine.calls.values()) {
    const flow = call.flow;
    if (flow === undefined) continue;
    inboxBytes += flow.inboxBytes;
    outboxBytes += flow.outboxBytes;
    outboxMessages += flow.outbox.length;
    const slack = machine.extended
      ? limits.messageBytesMax + messageOverheadBytes
      : 2 * chunkBytesMax;
    say(
      flow.inboxBytes <= limits.streamQueueBytesMax + slack,
      () => `${flow.inboxBytes} bytes wait on stream ${call.id}`,
    );
  }
  verdict.check(
    machine.inboxBytes === inboxBytes,
    "queued bytes are given back",
    () => `${name}: ${machine.inboxBytes} bytes to be read are counted, ${inboxBytes} are there`,
  );
  // A client's request that waits has no id yet and is in no table.
  const uncounted = machine.callCount > machine.calls.size;
  verdict.check(
    uncounted || (machine.outboxBytes === outboxBytes && machine.outboxMessages === outboxMessages),
    "queued bytes are given back",
    () => `${name}: ${machine.outboxBytes} bytes to send are counted, ${outboxBytes} are there`,
  );
}
