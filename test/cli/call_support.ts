/** A server for `covey call` to reach, and the call as a child process. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CallContext, Handlers } from "../../src/ttrpc/service.ts";
import { createLog } from "../../src/log.ts";
import { selectRuntime, startNode, type StartOptions } from "../../src/start.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { type CliRun, runCli } from "../support/cli.ts";
import { testHandlers } from "../support/test_service.ts";

export const service = TestService.typeName;

export interface Target {
  readonly folder: string;
  readonly tcp: string;
  readonly unix: string;
  /** What the last call of `Nothing` came with. */
  last(): CallContext | undefined;
}

/** Runs a test against a covey node that serves the test service and lets anybody in. */
export async function withTarget(
  body: (target: Target) => Promise<void>,
  options: StartOptions & { handlers?: Partial<Handlers<typeof TestService>> } = {},
): Promise<void> {
  const { handlers, ...rest } = options;
  const folder = mkdtempSync(join(tmpdir(), "covey-call-"));
  const unix = `unix:${folder}/test.sock`;
  const runtime = await selectRuntime();
  try {
    await using node = await startNode({
      dev: true,
      logger: await createLog(runtime, { level: "error", node: "test", format: "none" }),
      node: { listen: ["tcp://127.0.0.1:0", unix] },
      admin: { enabled: false },
      raft: { enabled: false },
      kv: { enabled: false },
      ...rest,
    });
    let last: CallContext | undefined;
    node.rpc.serve(TestService, {
      ...testHandlers(runtime.clock),
      nothing(_request, context) {
        last = context;
        return {};
      },
      ...handlers,
    });
    await body({ folder, tcp: node.rpc.addresses[0], unix, last: () => last });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `covey call …` to its end. */
export function call(args: readonly string[], input?: string): Promise<CliRun> {
  return runCli(["call", ...args], { input });
}

/** Standard output as one parsed object a line. */
export function lines(run: CliRun): unknown[] {
  return run.stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** Builds a descriptor set of the test protos with buf, as a user would. */
export function buildDescriptorSet(file: string): Promise<void> {
  const root = fileURLToPath(new URL("../../", import.meta.url).href);
  return new Promise((resolve, reject) => {
    const child = spawn(join(root, "node_modules/.bin/buf"), ["build", "test/proto", "-o", file], {
      cwd: root,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text);
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`buf build ended with ${code}: ${stderr}`));
    });
  });
}
