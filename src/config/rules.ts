/**
 * The rules that no key can check by itself. A rule's sentence says what was found and what to
 * write instead. Rules see a configuration whose keys are all good.
 */
import { formatAddress, isLoopback, parseAddress } from "../base/address.ts";
import type { Host, Runtime } from "../runtime/port.ts";
import { checkCluster, checkConsensus, isWildcard } from "./cluster_rules.ts";
import type { Path } from "./problem.ts";
import type { Config } from "./types.ts";

/** A broken rule and the key to point at. */
export interface RuleProblem {
  readonly path: Path;
  readonly message: string;
  /** What to say instead where nobody wrote the key of `path`, which then has its default. */
  readonly unlessWritten?: { readonly path: Path; readonly message: string };
}

const tlsFiles = ["certificate_file", "key_file", "authorities_file"] as const;

/** The rules that hold on every machine. With `dev`, nothing but loopback is served. */
export function checkRules(config: Config, dev: boolean): RuleProblem[] {
  return [
    ...checkTls(config),
    ...checkListen(config, dev),
    ...checkAdmin(config),
    ...checkCluster(config, dev),
    ...checkConsensus(config),
    ...checkAutopilot(config),
  ];
}

function checkAutopilot({ autopilot, raft, membership }: Config): RuleProblem[] {
  const problems: RuleProblem[] = [];
  if (autopilot.voters % 2 === 0) {
    problems.push({
      path: ["autopilot", "voters"],
      message: `found ${autopilot.voters}; allowed: 1, 3, 5 or 7 (an even number bears no more ` +
        "failures than the odd one below it)",
    });
  }
  if (autopilot.mode !== "off" && !(raft.enabled && membership.enabled)) {
    problems.push({
      path: ["autopilot", "mode"],
      message: `found "${autopilot.mode}" without raft.enabled and membership.enabled; allowed: ` +
        '"off", or both on',
    });
  }
  return problems;
}

function checkTls({ tls }: Config): RuleProblem[] {
  const problems: RuleProblem[] = [];
  const missing = tlsFiles.filter((key) => tls[key] === undefined);
  if (tls.mode === "on" && missing.length > 0) {
    problems.push({
      path: ["tls", "mode"],
      message: `found "on" without ${missing.map((key) => `tls.${key}`).join(", ")}; ` +
        `allowed: "on" with all three files`,
    });
  }
  if (tls.mode === undefined) {
    for (const key of tlsFiles) {
      if (tls[key] === undefined) continue;
      problems.push({
        path: ["tls", key],
        message: `found a file while tls.mode is not set; allowed: with tls.mode = "on", ` +
          `or "off" to leave it unused`,
      });
    }
  }
  return problems;
}

function checkListen({ node, tls }: Config, dev: boolean): RuleProblem[] {
  const problems: RuleProblem[] = [];
  for (const [index, listen] of node.listen.entries()) {
    const address = parseAddress(listen);
    if (isLoopback(address) || (tls.mode !== undefined && !dev)) continue;
    const found = `found ${JSON.stringify(listen)}, which is beyond loopback, `;
    const near = address.kind === "tcp"
      ? `tcp://127.0.0.1:${address.port}`
      : "tcp://127.0.0.1:7946";
    problems.push({
      path: ["node", "listen", index],
      // In --dev whoever reaches the node may do everything, so that no TLS would open it.
      message: dev
        ? `${found}with --dev, which serves this machine alone; allowed: a loopback address such ` +
          `as "${near}", or a start without --dev`
        : `${found}without TLS; allowed: a loopback address such as "${near}", tls.mode = "on" ` +
          `with its three files, or tls.mode = "off" written out for plaintext`,
    });
  }
  return problems;
}

function checkAdmin({ node, admin }: Config): RuleProblem[] {
  const path = ["admin", "listen"];
  const found = `found ${JSON.stringify(admin.listen)}`;
  const address = parseAddress(admin.listen);
  if (!isLoopback(address)) {
    return [{
      path,
      message: `${found}, which is beyond loopback; allowed: a loopback address such as ` +
        `"tcp://127.0.0.1:7980" (reach it through ssh -L)`,
    }];
  }
  if (address.kind !== "tcp" || address.port === 0 || !admin.enabled) return [];
  const taken = node.listen.find((listen) => {
    const mesh = parseAddress(listen);
    return mesh.kind === "tcp" && mesh.port === address.port &&
      (mesh.host === address.host || isWildcard(mesh));
  });
  if (taken === undefined) return [];
  const message = `${found}, which node.listen takes with ${JSON.stringify(taken)}; allowed: ` +
    `another port`;
  return [{ path, message }];
}

/** What this runtime and this process cannot honour. */
export function checkRuntime(
  config: Config,
  runtime: Pick<Runtime, "name" | "version" | "features">,
): RuleProblem[] {
  const { features } = runtime;
  const where = `${runtime.name} ${runtime.version}`;
  const problems: RuleProblem[] = [];
  if (config.rpc.peer_credentials && !features.peerCredentials) {
    problems.push({
      path: ["rpc", "peer_credentials"],
      message: `found true, but ${where} cannot read them; allowed here: false`,
    });
  }
  const addresses: [Path, string][] = config.node.listen.map((
    listen,
    index,
  ) => [["node", "listen", index], listen]);
  if (config.node.advertise !== undefined) {
    addresses.push([["node", "advertise"], config.node.advertise]);
  }
  for (const [index, join] of config.cluster.join.entries()) {
    addresses.push([["cluster", "join", index], join]);
  }
  for (const [path, text] of addresses) {
    const { kind } = parseAddress(text);
    if (
      (kind === "vsock" && !features.vsock) || (kind === "abstract" && !features.abstractSockets)
    ) {
      problems.push({
        path,
        message: `found ${JSON.stringify(text)}, but ${where} has no ${kind} sockets; ` +
          `allowed here: tcp://host:port, unix:/path`,
      });
    }
  }
  return problems;
}

/** Descriptors kept for files, logs, the admin endpoint and the connections that are dialled. */
const descriptorsReserved = 64;

/** How many connections fit below the limit of open descriptors. */
export function connectionsThatFit(host: Pick<Host, "descriptorsMax">): number {
  return Math.max(1, host.descriptorsMax - descriptorsReserved);
}

/** What is allowed but deserves a word at every start. */
export function warningsFor(config: Config): string[] {
  const warnings: string[] = [];
  if (config.tls.mode === "off") {
    for (const address of config.node.listen.map(parseAddress)) {
      if (isLoopback(address)) continue;
      warnings.push(
        `tls.mode is "off": everything on ${formatAddress(address)} is plaintext, and anybody ` +
          `who reaches it is a peer`,
      );
    }
  }
  if (config.node.memory_only && config.cluster.join.length > 0) {
    warnings.push(
      "node.memory_only is true in a cluster of several: a restart makes this another node, and " +
        "the one that it was must be taken out with covey raft remove",
    );
  }
  return warnings;
}
