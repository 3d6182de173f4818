/** The names of permissions as a user grants them, for error messages and for asking first. */
import { type Address, formatAddress } from "../../base/address.ts";
import { netDenied } from "./error.ts";

/** The flags that listening on or dialling an address takes; on unix sockets both take the same. */
export function netFlag(address: Address): string {
  switch (address.kind) {
    case "tcp":
      return hostFlag(address.host, address.port);
    case "unix": {
      const { path } = address;
      // A relative path is taken for files and refused for sockets; a shell makes it whole.
      const whole = path.startsWith("/") ? path : `$PWD/${path.replace(/^(?:\.\/+)+/, "")}`;
      return `--allow-net=unix:${whole} --allow-read=${path} --allow-write=${path}`;
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
