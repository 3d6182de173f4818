/**
 * A TCP port on loopback that neither accepts nor refuses: a listening socket with the smallest
 * backlog that nobody ever asks. Once the backlog is full the kernel drops what comes, which is
 * how a host that is gone looks. Made by the C library, because the engines accept on their own
 * (and Bun's listeners have a backlog of 512 whatever is asked for).
 */

/** The calls it takes, see ip(7). */
interface Calls {
  socket(domain: number, type: number, protocol: number): number;
  bind(descriptor: number, address: Uint8Array, length: number): number;
  listen(descriptor: number, backlog: number): number;
  getsockname(descriptor: number, address: Uint8Array, length: Uint8Array): number;
  connect(descriptor: number, address: Uint8Array, length: number): number;
  close(descriptor: number): number;
}

const library = "libc.so.6";

async function loadBun(): Promise<Calls> {
  const { dlopen } = await import("bun:ffi");
  return dlopen(library, {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    bind: { args: ["i32", "ptr", "i32"], returns: "i32" },
    listen: { args: ["i32", "i32"], returns: "i32" },
    getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
    connect: { args: ["i32", "ptr", "i32"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
  }).symbols as unknown as Calls;
}

function loadDeno(): Calls {
  return Deno.dlopen(library, {
    socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
    bind: { parameters: ["i32", "buffer", "i32"], result: "i32" },
    listen: { parameters: ["i32", "i32"], result: "i32" },
    getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
    connect: { parameters: ["i32", "buffer", "i32"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
  }).symbols as unknown as Calls;
}

const internet = 2;
const stream = 1;
const nonBlocking = 0o4000;

/** Opens one. `close` frees it; until then whoever connects waits. */
export async function openSilentPort(): Promise<{ port: number; close(): void }> {
  const calls = "Bun" in globalThis ? await loadBun() : loadDeno();
  const open: number[] = [];
  const socket = (): number => {
    const descriptor = calls.socket(internet, stream | nonBlocking, 0);
    if (descriptor < 0) throw new Error("no socket");
    open.push(descriptor);
    return descriptor;
  };
  // struct sockaddr_in for 127.0.0.1, port 0: family, port, address.
  const address = new Uint8Array([internet, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  const listener = socket();
  if (calls.bind(listener, address, address.length) !== 0) throw new Error("cannot bind");
  if (calls.listen(listener, 0) !== 0) throw new Error("cannot listen");
  const length = new Uint8Array(new Uint32Array([address.length]).buffer);
  if (calls.getsockname(listener, address, length) !== 0) throw new Error("no name");
  // A backlog of 0 holds one connection.
  for (let index = 0; index < 2; index++) calls.connect(socket(), address, address.length);
  return {
    port: address[2] * 256 + address[3],
    close: () => open.forEach((descriptor) => calls.close(descriptor)),
  };
}
