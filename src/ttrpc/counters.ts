/** What an RPC endpoint counts. Plain numbers on the hot path; whoever shows them reads them. */
import type { LimitName } from "./core/limits.ts";

export class RpcCounters {
  connectionsOpen = 0;
  connectionsTotal = 0;
  /** Refused by the identification, or because there were too many. */
  connectionsRefusedTotal = 0;
  /** Closed for a broken protocol, a stalled socket or a missing sign of life. */
  connectionsBrokenTotal = 0;
  callsOpen = 0;
  callsTotal = 0;
  /** Ended calls by status code, 0 for OK. */
  readonly callsByCode: number[] = new Array(17).fill(0);
  receivedBytesTotal = 0;
  sentBytesTotal = 0;
  /** How often each limit was reached. */
  readonly limitHits: Record<LimitName | "connections", number> = {
    message_bytes: 0,
    calls_per_connection: 0,
    streams_per_connection: 0,
    stream_queue: 0,
    connection_queue: 0,
    connections: 0,
  };

  /** One call ended with this code; anything outside the set counts as unknown. */
  ended(code: number): void {
    this.callsByCode[code >= 0 && code <= 16 ? code : 2]++;
  }
}
