/** What is committed at all: no blobs, nothing that names a machine or a registry. */
import type { Offence } from "./source.ts";

/** Any file that is committed, or would be. */
export interface CommittedFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** Undefined for what is not text. */
  readonly text: string | undefined;
}

/** A repository carries sources: what is larger is built, fetched or generated. */
export const fileBytesMax = 300_000;

/** Hosts that packages come from. Spelled in pieces, because this file is read too. */
const registryHosts = [
  ["registry", "npmjs", "org"],
  ["npmjs", "com"],
  ["jsr", "io"],
  ["deno", "land"],
  ["esm", "sh"],
  ["unpkg", "com"],
  ["yarnpkg", "com"],
  ["pypi", "org"],
  ["pythonhosted", "org"],
  ["crates", "io"],
  ["proxy", "golang", "org"],
  ["deb", "debian", "org"],
  ["repo1", "maven", "org"],
].map((parts) => parts.join("."));

const hostPattern = new RegExp(
  `(?<![\\w-])(?:${registryHosts.map((host) => host.replaceAll(".", "\\.")).join("|")})(?![\\w-])`,
);

/** The folders of somebody's machine; a temporary one only counts where a user would see it. */
const personal = ["root/", "home/[a-z]", "Users/[A-Za-z]", "work/(?:main|shared|\\.library)"];
const product = /^(?:src\/|proto\/|docs\/|mod\.ts$|compile\.sh$|README\.md$|CHANGELOG\.md$)/;

function machinePath(names: readonly string[]): RegExp {
  return new RegExp(`(?:^|[^\\w.$)}/-])/(?:${names.join("|")})`);
}
const machineAnywhere = machinePath(personal);
const machineInProduct = machinePath([...personal, "work/", "farm/", "tmp/"]);

/** Blobs, paths of a machine, hosts of registries. */
export function committed(files: readonly CommittedFile[]): Offence[] {
  const offences: Offence[] = [];
  for (const file of files) {
    const say = (rule: string, line: number, message: string): void => {
      offences.push({ path: file.path, line, rule, message });
    };
    if (file.sizeBytes > fileBytesMax) {
      say(
        "blob",
        0,
        `${file.sizeBytes} bytes, past ${fileBytesMax}: build it, fetch it or make it`,
      );
    }
    if (file.text === undefined) continue;
    const machine = product.test(file.path) ? machineInProduct : machineAnywhere;
    for (const [index, line] of file.text.split("\n").entries()) {
      const host = hostPattern.exec(line);
      if (host !== null) {
        say("registry", index + 1, `${host[0]} is a registry's host: name the package alone`);
      }
      const path = machine.exec(line);
      if (path !== null) {
        say("machine", index + 1, `a path of one machine: ${line.trim().slice(0, 80)}`);
      }
    }
  }
  return offences;
}

/** A lock that whoever has another registry can use too. */
export function lockFile(text: string): Offence[] {
  const lock = JSON.parse(text) as {
    packages: Record<string, { version?: string; integrity?: string; resolved?: string }>;
  };
  const offences: Offence[] = [];
  for (const [name, entry] of Object.entries(lock.packages)) {
    const say = (message: string): void => {
      offences.push({ path: "package-lock.json", line: 0, rule: "lock", message });
    };
    if (entry.resolved !== undefined) {
      say(`${name} has an address: npm install with the .npmrc of this checkout`);
    }
    if (name !== "" && entry.integrity === undefined) say(`${name} has no integrity hash`);
  }
  return offences;
}

/** Every pin is exact. */
export function pins(text: string): Offence[] {
  const own = JSON.parse(text) as Record<string, Record<string, string> | undefined>;
  return ["dependencies", "devDependencies", "overrides"].flatMap((field) =>
    Object.entries(own[field] ?? {}).filter(([, version]) =>
      !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)
    )
      .map(([name, version]) => ({
        path: "package.json",
        line: 0,
        rule: "pins",
        message: `${field}: ${name} ${version} is not one exact version`,
      }))
  );
}

export interface ServiceMethods {
  /** "covey.node.v1.Node" */
  readonly service: string;
  readonly methods: readonly string[];
}

/** Every method has its row in the access table, and every row its method. */
export function accessRows(
  services: readonly ServiceMethods[],
  table: Readonly<Record<string, { readonly action: string; readonly resource: string }>>,
): Offence[] {
  const offences: Offence[] = [];
  const say = (message: string): void => {
    offences.push({ path: "src/security/access.ts", line: 0, rule: "access", message });
  };
  const keys = new Set(
    services.flatMap(({ service, methods }) => methods.map((method) => `${service}/${method}`)),
  );
  for (const key of keys) {
    const row = Object.hasOwn(table, key) ? table[key] : undefined;
    if (row === undefined) say(`${key} has no row: say which action on which resource it is`);
    else if (row.action === "" || row.resource === "") {
      say(`${key} has an empty action or resource`);
    }
  }
  for (const key of Object.keys(table)) {
    if (!keys.has(key)) say(`${key} is no method of a service in src/gen: take the row away`);
  }
  return offences;
}
