/** Free TCP ports for a cluster that is to keep them while its nodes come and go. */
import { Code, CoveyError } from "../../base/error.ts";
import type { ConnectionHandler, Listener, Net, Random } from "../../runtime/port.ts";
import { NetError } from "../../runtime/port.ts";

/**
 * Below those that the system gives to connections: a node that is down would lose its port to one
 * of them, and dialling it could even meet itself.
 */
const first = 10_000;
const last = 29_999;
const triesMax = 2000;

const handler: ConnectionHandler<undefined> = {
  open: (connection) => connection.close(),
  data() {},
  drain() {},
  end() {},
  close() {},
};

/** So many free ports of loopback; they were free a moment ago, which is all that can be said. */
export async function findPorts(net: Net, random: Random, count: number): Promise<number[]> {
  const bytes = new Uint8Array(2);
  random.fill(bytes);
  let port = first + ((bytes[0] << 8) | bytes[1]) % (last - first);
  const listeners: Listener[] = [];
  const ports: number[] = [];
  try {
    for (let tries = 0; ports.length < count; tries++) {
      if (tries >= triesMax) {
        throw new CoveyError(Code.unavailable, `found no ${count} free ports on 127.0.0.1`);
      }
      port = port >= last ? first : port + 1;
      try {
        // All are held until the last is found, so that none is found twice.
        listeners.push(
          await net.listen({
            address: { kind: "tcp", host: "127.0.0.1", port },
            handler,
            state: () => undefined,
            connectionsMax: 1,
          }),
        );
        ports.push(port);
      } catch (error) {
        if (!(error instanceof NetError) || error.kind !== "in-use") throw error;
      }
    }
  } finally {
    for (const listener of listeners) listener.stop();
  }
  return ports;
}
