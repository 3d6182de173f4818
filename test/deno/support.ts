/** Programs in a folder of their own, run by Deno alone: no configuration, no prompt. */
import { assert } from "@std/assert";

export const root = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An empty folder, gone when the test is over. */
export async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "covey-deno-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs `deno …` in a folder, killed after a while: a test must never hang. */
export async function deno(
  folder: string,
  args: readonly string[],
  limitMs = 60_000,
): Promise<Ran> {
  const inherited = Object.entries(Deno.env.toObject()).filter(([name]) =>
    !name.startsWith("COVEY_")
  );
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: folder,
    clearEnv: true,
    env: {
      ...Object.fromEntries(inherited),
      DENO_NO_PROMPT: "1",
      DENO_NO_UPDATE_CHECK: "1",
      NO_COLOR: "1",
    },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(limit);
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** A port that nothing listens on at this moment. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/** Why packages cannot be had outside of the checkout, or undefined. */
export async function missingPackages(): Promise<string | undefined> {
  let reason: string | undefined;
  await inFolder(async (folder) => {
    const packages = ["npm:@bufbuild/protobuf@2.17.0", "npm:hono@4.13.19", "npm:zod@4.6.7"];
    const { code, stderr } = await deno(folder, ["cache", "--no-config", ...packages], 30_000);
    if (code !== 0) reason = stderr.trim().split("\n").at(-1);
  });
  return reason;
}

/** Serves the checkout as any web server would, and remembers what was asked for. */
export function serveCheckout(): {
  readonly port: number;
  readonly asked: string[];
  stop(): Promise<void>;
} {
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    asked.push(pathname);
    const type = pathname.endsWith(".ts") ? "application/typescript" : "text/html";
    try {
      const body = await Deno.readFile(root + pathname);
      return new Response(body, { headers: { "content-type": type } });
    } catch {
      return new Response("not found", { status: 404 });
    }
  });
  assert(server.addr.transport === "tcp");
  return { port: server.addr.port, asked, stop: () => server.shutdown() };
}
