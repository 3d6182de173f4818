/**
 * The files that a configuration names. A key is good when it is text; whether the file is there
 * is another question, which only those ask who start a node or judge whether one would start.
 */
import { decodeText } from "../base/bytes.ts";
import type { Validity } from "../base/certificate.ts";
import { type Disk, DiskError, type Runtime } from "../runtime/port.ts";
import { ConfigError, type Origin, type Problem, quote } from "./problem.ts";
import type { Resolved } from "./resolve.ts";

/** More than any PEM file holds. */
export const pemBytesMax: number = 1 << 20;

const keys = ["certificate_file", "key_file", "authorities_file"] as const;

type Loaded = Pick<Resolved, "config" | "origins">;

/** Throws a {@link ConfigError} for every file of `[tls]` that cannot be read, or is not PEM. */
export async function checkFiles(disk: Disk, loaded: Loaded): Promise<void> {
  await readFiles(disk, loaded);
}

/**
 * Throws a {@link ConfigError} also for files of `[tls]` that no node can use: a key that is not the
 * certificate's, a certificate that is cut short, or of which no authority of the third file knows.
 */
export async function checkMaterial(
  { disk, net }: Pick<Runtime, "disk" | "net">,
  loaded: Loaded,
): Promise<Validity | undefined> {
  const files = await readFiles(disk, loaded);
  if (files === undefined) return undefined;
  const [certificate, key, authorities] = files;
  const { problems, validity } = net.inspectTls({ certificate, key, authorities });
  if (problems.length === 0) return validity;
  throw new ConfigError(
    problems.map(({ part, message }) => problemOf(loaded, `${part}_file`, message, allowed[part])),
  );
}

const allowed = {
  certificate: "the node's own certificate, whole, with what leads to one of tls.authorities_file",
  key: "the key of the certificate in tls.certificate_file, without a passphrase",
  authorities: "the certificates of those who issue the nodes' certificates",
} as const;

/** The text of the three files; undefined when none is used. */
async function readFiles(disk: Disk, loaded: Loaded): Promise<string[] | undefined> {
  const { tls } = loaded.config;
  if (tls.mode !== "on") return undefined;
  const problems: Problem[] = [];
  const texts: string[] = [];
  for (const name of keys) {
    const path = tls[name];
    if (path === undefined) continue;
    const read = await readPem(disk, path);
    if ("text" in read) texts.push(read.text);
    else {
      const wanted = "the path of a PEM file that this process may read";
      problems.push(problemOf(loaded, name, read.wrong, wanted));
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return texts;
}

function problemOf(
  { config, origins }: Loaded,
  name: (typeof keys)[number],
  wrong: string,
  wanted: string,
): Problem {
  const key = `tls.${name}`;
  const origin: Origin = origins.get(key) ?? { layer: "default" };
  const message = `found ${quote(config.tls[name] ?? "")}, ${wrong}; allowed: ${wanted}`;
  return { origin, key, message };
}

/** The text, or what is wrong with a file that is to be PEM, as it follows its name. */
async function readPem(
  disk: Disk,
  path: string,
): Promise<{ readonly text: string } | { readonly wrong: string }> {
  try {
    const text = decodeText(await disk.readFile(path, pemBytesMax));
    return text?.includes("-----BEGIN ") === true ? { text } : { wrong: "which is no PEM file" };
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    switch (error.kind) {
      case "not-found":
      case "not-a-directory":
        return { wrong: "where there is no file" };
      case "is-a-directory":
        return { wrong: "which is a folder" };
      case "too-large":
        return { wrong: "which is larger than any PEM file" };
      default:
        return { wrong: `which cannot be read (${error.message})` };
    }
  }
}
