/**
 * HTTP and WebSockets between three machines under faults, for the comparison of the engines:
 * `Request`, `Response` and streams are the engines' own, and must not show in the trace.
 */
import { encodeText } from "../../src/base/bytes.ts";
import type { HttpContext, Runtime } from "../../src/runtime/port.ts";
import { roughFaults } from "../../src/runtime/sim/faults.ts";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";
import { sleep } from "./sleep.ts";

const names = ["a", "b", "c"];
const paths = ["/json", "/text", "/stream", "/socket"];
const clientsPerMachine = 3;

async function answer(
  runtime: Runtime,
  request: Request,
  context: HttpContext,
): Promise<Response> {
  switch (new URL(request.url).pathname) {
    case "/json":
      return Response.json({ got: await request.json() });
    case "/text":
      return new Response("x".repeat((await request.text()).length));
    case "/socket":
      return context.upgrade({
        open: (peer) => void peer.send("welcome"),
        message: (peer, message) => void peer.send(message),
        close: () => {},
      })!;
  }
  let index = 0;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      await sleep(runtime, 3);
      controller.enqueue(encodeText(`line ${index++}\n`));
      if (index > 5) controller.close();
    },
  });
  return new Response(body);
}

async function ask(runtime: Runtime, host: string, round: number): Promise<void> {
  const path = paths[round % paths.length];
  if (path === "/socket") {
    const handler = {
      open: () => {},
      message: (peer: { close(code: number, reason: string): void }) => peer.close(1000, "seen"),
      close: () => {},
    };
    await runtime.http.webSocket(`ws://${host}${path}`, handler, 500);
    return;
  }
  const aborted = new AbortController();
  const timer = runtime.clock.timer(800, () => aborted.abort(), undefined);
  const body = JSON.stringify({ round, padding: "é".repeat(round % 50) });
  const request = new Request(`http://${host}${path}`, {
    method: "POST",
    body,
    signal: aborted.signal,
  });
  const response = await runtime.http.fetch(request);
  const text = await response.text();
  timer.cancel();
  runtime.host.stderr(`${path} ${text.length}\n`);
}

async function node(simulation: Simulation, runtime: Runtime): Promise<void> {
  await runtime.http.serve({
    host: "0.0.0.0",
    port: 80,
    bodyBytesMax: 10_000,
    fetch: (request, context) => answer(runtime, request, context),
  });
  const client = async (number: number): Promise<void> => {
    for (let round = number;; round++) {
      await sleep(runtime, 7 * (number + 1));
      const asked = ask(runtime, names[round % names.length], round);
      simulation.mark(await asked.then(() => "answered", () => "failed"));
    }
  };
  await Promise.all(Array.from({ length: clientsPerMachine }, (_, number) => client(number)));
}

/** Runs the workload for so long and hands over the simulation. */
export async function runHttpWorkload(seed: number, forMs: number): Promise<Simulation> {
  const simulation = createSimulation({
    seed,
    marks: ["answered", "failed"],
    ...roughFaults,
    connectionResetChance: 0.002,
    nemesis: {
      crashEveryMs: 3000,
      partitionEveryMs: 3000,
      pauseEveryMs: 3000,
      lastsMs: [50, 1000],
    },
  });
  for (const name of names) {
    simulation.machine(name, { boot: (runtime) => node(simulation, runtime) });
  }
  await simulation.run({ forMs });
  return simulation;
}
