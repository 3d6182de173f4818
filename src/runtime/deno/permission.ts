/** The names of permissions as a user grants them, for error messages and for asking first. */
import { type Address, formatAddress } from "../../base/address.ts";
import { netDenied } from "./error.ts";

/** The flags that listening on or dialling an address takes. */
export function netFlag(address: Address, listening: boolean): string {
  switch (address.kind) {
    case "tcp":
      return hostFlag(address.host, address.port);
    case "unix": {
      const files = `--allow-read=${address.path}`;
      return `--allow-net=unix:${address.path} ${files}` +
        (listening ? ` --allow-write=${address.path}` : "");
    }
    case "abstract":
    case "vsock":
      return `--allow-net for ${formatAddress(address)}`;
  }
}

/** The flag for a host and a port; without the port when any will do. */
export function hostFlag(host: string, port: number): string {
  const name = host.includes(":") ? `[${host}]` : host;
  return port === 0 ? `--allow-net=${name}` : `--allow-net=${name}:${port}`;
}

/** Whether the permission is there; asks nobody. */
export function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/**
 * Makes sure of a network permission, asking the user where Deno would, or throws `denied`. For
 * calls that throw outside of any promise when it is missing.
 */
export function requireHost(host: string, port: number, doing: string): void {
  const name = host.includes(":") ? `[${host}]` : host;
  const descriptor = { name: "net", host: `${name}:${port}` } as const;
  if (Deno.permissions.requestSync(descriptor).state !== "granted") {
    throw netDenied(doing, hostFlag(host, port));
  }
}
