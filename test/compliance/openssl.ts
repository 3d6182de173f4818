/** OpenSSL's own client, for what the engines' clients do not do: resuming TLS sessions. */
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { Address } from "../../src/base/address.ts";
import type { CertificateSet } from "../support/certificates.ts";

/** Why there is none, or undefined. */
export function lacksOpenssl(): string | undefined {
  const { status } = spawnSync("openssl", ["version"]);
  return status === 0 ? undefined : "no openssl on this machine";
}

/** A client that keeps its session in a folder; see the harness. */
export function opensslClient(
  directory: string,
  set: CertificateSet,
  version: "TLSv1.3" | "TLSv1.2",
): (address: Address) => Promise<{ greeted: boolean; resumed: boolean }> {
  const session = `${directory}/session.pem`;
  const files = { CAfile: set.authorities, cert: set.good.certificate, key: set.good.key };
  const common = ["s_client", version === "TLSv1.3" ? "-tls1_3" : "-tls1_2"];
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(`${directory}/${name}.pem`, content);
    common.push(`-${name}`, `${directory}/${name}.pem`);
  }
  let first = true;
  return (address) => {
    if (address.kind !== "tcp") throw new Error("made for TCP only");
    const where = ["-connect", `${address.host}:${address.port}`];
    const sessionOption = [first ? "-sess_out" : "-sess_in", session];
    first = false;
    return run([...common, ...where, ...sessionOption]);
  };
}

function run(args: readonly string[]): Promise<{ greeted: boolean; resumed: boolean }> {
  return new Promise((resolve, reject) => {
    const child = spawn("openssl", args, { stdio: ["pipe", "pipe", "ignore"] });
    let output = "";
    child.on("error", reject);
    // The end of its input makes it go. What it was sent before may be in its output by then.
    child.stdin.on("error", () => {});
    child.stdout.on("data", (chunk: Uint8Array) => {
      output += new TextDecoder().decode(chunk);
      if (output.includes("greeting\n")) child.stdin.end();
    });
    child.on("close", () => {
      const resumed = /^Reused, /m.test(output);
      resolve({ greeted: output.includes("greeting\n"), resumed });
    });
  });
}
