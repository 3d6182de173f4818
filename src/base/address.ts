/**
 * Addresses as users write them: `tcp://host:port`, `unix:/path`, `unix://@abstract`,
 * `vsock://cid:port`.
 */
import { Code, CoveyError } from "./error.ts";

/** Where something listens or is reached. */
export type Address =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "abstract"; readonly name: string }
  | { readonly kind: "vsock"; readonly cid: number; readonly port: number };

function bad(text: string, why: string): CoveyError {
  return new CoveyError(
    Code.invalidArgument,
    `address ${JSON.stringify(text)}: ${why}; allowed: tcp://host:port, unix:/path, ` +
      `unix://@abstract, vsock://cid:port`,
  );
}

function parsePort(text: string, whole: string, most: number): number {
  if (!/^\d{1,10}$/.test(text)) throw bad(whole, `${JSON.stringify(text)} is not a port`);
  const port = Number(text);
  if (port > most) throw bad(whole, `port ${port} is above ${most}`);
  return port;
}

/** Reads an address; throws `invalid_argument` that says what is wrong and what is allowed. */
export function parseAddress(text: string): Address {
  if (text.startsWith("unix:")) {
    const rest = text.slice("unix:".length);
    if (rest.startsWith("//@") || rest.startsWith("@")) {
      const name = rest.slice(rest.indexOf("@") + 1);
      if (name === "") throw bad(text, "the abstract name is empty");
      if (name.length > 107) throw bad(text, "the abstract name is longer than 107 bytes");
      return { kind: "abstract", name };
    }
    const path = rest.startsWith("///") ? rest.slice(2) : rest;
    if (path === "") throw bad(text, "the path is empty");
    if (path.startsWith("//")) throw bad(text, "a unix path has one slash, or three after unix:");
    // sockaddr_un holds 108 bytes with the closing zero.
    if (new TextEncoder().encode(path).length > 107) {
      throw bad(text, "the path is longer than the 107 bytes that a unix socket allows");
    }
    return { kind: "unix", path };
  }
  if (text.startsWith("vsock://")) {
    const rest = text.slice("vsock://".length);
    const match = /^(\d+):(\d+)$/.exec(rest);
    if (match === null) throw bad(text, "vsock needs cid:port in decimal");
    return {
      kind: "vsock",
      cid: parsePort(match[1], text, 0xffffffff),
      port: parsePort(match[2], text, 0xffffffff),
    };
  }
  if (text.startsWith("tcp://")) {
    const rest = text.slice("tcp://".length);
    const colon = rest.lastIndexOf(":");
    if (colon < 0) throw bad(text, "the port is missing");
    let host = rest.slice(0, colon);
    if (host.startsWith("[") && host.endsWith("]")) host = host.slice(1, -1);
    else if (host.includes(":")) throw bad(text, "an IPv6 host needs brackets, [::1]");
    if (host === "") throw bad(text, "the host is empty");
    if (/[\s/@?#]/.test(host)) throw bad(text, `${JSON.stringify(host)} is not a host`);
    return { kind: "tcp", host, port: parsePort(rest.slice(colon + 1), text, 65535) };
  }
  throw bad(text, "unknown or missing scheme");
}

/** The text form that {@link parseAddress} reads back. */
export function formatAddress(address: Address): string {
  switch (address.kind) {
    case "tcp":
      return `tcp://${
        address.host.includes(":") ? `[${address.host}]` : address.host
      }:${address.port}`;
    case "unix":
      return `unix:${address.path}`;
    case "abstract":
      return `unix://@${address.name}`;
    case "vsock":
      return `vsock://${address.cid}:${address.port}`;
  }
}

/** Whether nobody beyond this machine can reach it. Names other than localhost count as beyond. */
export function isLoopback(address: Address): boolean {
  switch (address.kind) {
    case "tcp":
      return address.host === "localhost" || address.host === "::1" ||
        /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address.host);
    case "unix":
    case "abstract":
      return true;
    case "vsock":
      return false;
  }
}

/** sockaddr_un holds 108 bytes with the closing zero. */
export const socketBytesMax = 107;

/**
 * An absolute path without empty names and `.`. `..` stays: behind a symbolic link it means another
 * folder than the text before it says.
 */
export function plainPath(path: string): string {
  return `/${path.split("/").filter((name) => name !== "" && name !== ".").join("/")}`;
}
