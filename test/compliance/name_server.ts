/** A name server for the suite: a table, by bytes of its own, so that nothing of ours is its judge. */
import dgram from "node:dgram";
import type { NameRecords } from "../../src/base/name_lookup.ts";

/** What it does with questions about a name: answers from the table, fails, or says nothing. */
export type NameServerMode = "answers" | "fails" | "silent";
export type NameServerTable = Readonly<Record<string, Partial<NameRecords>>>;

export interface TestNameServer {
  readonly host: string;
  readonly port: number;
  close(): void;
}

const typeNumbers = { A: 1, AAAA: 28, SRV: 33 } as const;

/** Binds on loopback; answers over UDP alone. */
export function startNameServer(
  table: NameServerTable,
  mode: NameServerMode,
): Promise<TestNameServer> {
  const host = "127.0.0.1";
  const socket = dgram.createSocket("udp4");
  socket.on("message", (message, from) => {
    if (mode !== "silent") socket.send(answer(message, table, mode), from.port, from.address);
  });
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.bind(0, host, () => {
      const { port } = socket.address();
      resolve({ host, port, close: () => void socket.close() });
    });
  });
}

function answer(message: Uint8Array, table: NameServerTable, mode: NameServerMode): Uint8Array {
  let at = 12;
  const labels: string[] = [];
  for (; message[at] !== 0; at += 1 + message[at]) {
    labels.push(new TextDecoder().decode(message.subarray(at + 1, at + 1 + message[at])));
  }
  const type = message[at + 1] << 8 | message[at + 2];
  const question = message.subarray(12, at + 5);
  const known = table[labels.join(".").toLowerCase()];
  const records = mode === "fails" ? [] : contents(known, type);
  const code = mode === "fails" ? 2 : known === undefined ? 3 : 0;
  const header = [message[0], message[1], 0x81, 0x80 | code, 0, 1, 0, records.length, 0, 0, 0, 0];
  const body = records.flatMap((bytes) => [
    ...[0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0],
    ...[bytes.length >> 8, bytes.length & 255, ...bytes],
  ]);
  return Uint8Array.from([...header, ...question, ...body]);
}

function contents(known: Partial<NameRecords> | undefined, type: number): number[][] {
  if (type === typeNumbers.A) return (known?.A ?? []).map((ip) => ip.split(".").map(Number));
  if (type === typeNumbers.AAAA) return (known?.AAAA ?? []).map(ipv6);
  if (type !== typeNumbers.SRV) return [];
  return (known?.SRV ?? []).map(({ priority, weight, port, target }) => [
    ...[priority, weight, port].flatMap((value) => [value >> 8, value & 255]),
    ...target.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]),
    0,
  ]);
}

/** Of an address that has all of its eight groups written out. */
function ipv6(text: string): number[] {
  return text.split(":").flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
}
