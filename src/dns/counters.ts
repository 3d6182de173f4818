/** What the DNS server counts, as plain fields; `metrics.ts` shows them. */
import type { Outcome } from "./core/responder.ts";

export class DnsCounters {
  readonly udp: Record<Outcome, number> = noOutcomes();
  readonly tcp: Record<Outcome, number> = noOutcomes();
  /** UDP answers that said that there is more over TCP: too large, or over the budget. */
  truncated = 0;
  /** Of these, the ones that were over the budget of their network. */
  overBudget = 0;
  /** Answers that left members out. */
  sampled = 0;
  /** Datagrams that could not be sent, and failures of the socket. */
  udpErrors = 0;
  tcpConnections = 0;
  /** Closed because of what they did: too slow, too many questions, too many bytes, no frames. */
  tcpClosed = 0;
}

function noOutcomes(): Record<Outcome, number> {
  return {
    answered: 0,
    no_data: 0,
    nonexistent: 0,
    refused: 0,
    rejected: 0,
    failed: 0,
    garbage: 0,
  };
}
