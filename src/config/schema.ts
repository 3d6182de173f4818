/**
 * The one schema. Every key of the file, of the environment, of the flags and of `mod.ts` is a line
 * here, and what is not here does not exist. After a change run
 * `node_modules/.bin/bun scripts/generate_config.ts`, which rewrites the types and the reference.
 *
 * Loaded only by commands that need a configuration: `covey version` does not pay for Zod.
 */
import * as z from "npm:zod@4.6.7";
import {
  address,
  addressList,
  choice,
  duration,
  flag,
  integer,
  optionalAddress,
  optionalChoice,
  optionalPath,
  pathPattern,
  size,
  text,
  textList,
} from "./fields.ts";

/** What a section is for; the reference and the sample print it. */
export const sectionDocs: Readonly<Record<string, string>> = {
  node: "Who this node is, where it keeps its data and where it is reached.",
  tls: "Mutual TLS between nodes. Both sides always verify each other.",
  rpc: "Limits and timers of the mesh listener and of every call.",
  admin: "The HTTP endpoint for people and tools on this machine.",
  log: "What is written to standard error.",
};

/** A section may be missing as a whole: each of its keys then has its default. */
function section<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
): z.core.$ZodPrefault<z.core.$ZodObject<Shape, z.core.$strict>> {
  const table = z.prefault(z.strictObject(shape), {} as never);
  return table as unknown as z.core.$ZodPrefault<z.core.$ZodObject<Shape, z.core.$strict>>;
}

/** The keys, each judged by itself; the rules between them are in `rules.ts`. */
export const keysSchema = z.strictObject({
  node: section({
    name: text({
      doc: "Name for people and logs; empty means the machine's host name.",
      default: "",
      pattern: "^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?)?$",
      allowed: "1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit at " +
        "both ends",
    }),
    data: text({
      doc: "Folder of everything that survives a restart, made when missing. A relative path " +
        "starts at the working directory.",
      default: "./covey-data",
      pattern: pathPattern,
      allowed: "the path of a folder",
    }),
    memory_only: flag({
      doc: "Keep everything in memory and write nothing to disk; a restart forgets all. " +
        "`--dev` sets it.",
      default: false,
    }),
    listen: addressList({
      doc: "Addresses of the mesh listener, which carries every service. Beyond loopback " +
        "`tls.mode` must be written out. Port 0, which lets the system choose, may come again.",
      default: ["tcp://127.0.0.1:7946"],
      least: 1,
      most: 16,
    }),
    advertise: optionalAddress({
      doc: "Address that other nodes are told to dial, when it is not the first of " +
        "`node.listen`.",
      fits: (value) =>
        value.kind === "tcp" && value.port === 0
          ? "found port 0, which nobody can dial; allowed: the real port"
          : undefined,
    }),
    tags: textList({
      doc: "Labels by which nodes are chosen.",
      default: [],
      least: 0,
      most: 32,
      items: "labels",
      itemPattern: "^[A-Za-z0-9][A-Za-z0-9._:/=-]{0,63}$",
      itemAllowed: "1 to 64 letters, digits and . _ : / = -, a letter or digit first",
    }),
  }),
  tls: section({
    mode: optionalChoice({
      doc: '"on" encrypts and verifies both sides of every connection. "off" beyond loopback ' +
        "means plaintext, with a warning at every start.",
      choices: ["off", "on"],
    }),
    certificate_file: optionalPath({ doc: "This node's certificate with its chain, PEM." }),
    key_file: optionalPath({ doc: "The private key of that certificate, PEM." }),
    authorities_file: optionalPath({
      doc: "The authorities that a peer's certificate must chain to, PEM.",
    }),
  }),
  rpc: section({
    message_bytes_max: size({
      doc: "Largest message, sent or received; a larger one fails its call with " +
        "`resource_exhausted`.",
      default: "4MiB",
      least: "1KiB",
      most: "16777215B",
    }),
    calls_per_connection_max: integer({
      doc: "Calls of all kinds in flight on one connection.",
      default: 1024,
      least: 1,
      most: 1_000_000,
    }),
    streams_per_connection_max: integer({
      doc: "Streaming calls in flight on one connection; they count as calls too.",
      default: 1024,
      least: 1,
      most: 1_000_000,
    }),
    stream_queue_bytes_max: size({
      doc: "Bytes that wait on one stream, per direction; one message always fits.",
      default: "1MiB",
      least: "1KiB",
      most: "1GiB",
    }),
    stream_queue_messages_max: integer({
      doc: "Messages that wait on one stream, per direction.",
      default: 1024,
      least: 1,
      most: 1_000_000,
    }),
    connection_queue_bytes_max: size({
      doc: "Bytes that wait to be sent on one connection; one message always fits.",
      default: "16MiB",
      least: "64KiB",
      most: "4GiB",
    }),
    connection_queue_messages_max: integer({
      doc: "Messages that wait to be sent on one connection.",
      default: 16_384,
      least: 1,
      most: 10_000_000,
    }),
    connections_per_listener_max: integer({
      doc: "Connections that one listener holds; one more is closed at once and counted.",
      default: 1024,
      least: 1,
      most: 1_000_000,
    }),
    connections_max: integer({
      doc: "Connections of all listeners together. Must fit below the process's limit of open " +
        "descriptors; the default shrinks to fit.",
      default: 4096,
      least: 1,
      most: 1_000_000,
    }),
    handshake_timeout: duration({
      doc: "Time for a new connection to prove who it is, TLS included.",
      default: "5s",
      least: "10ms",
      most: "10m",
    }),
    idle_timeout: duration({
      doc: "A connection without a call for this long is closed.",
      default: "0s",
      least: "100ms",
      most: "365d",
      zero: "never",
    }),
    keepalive_interval: duration({
      doc: "A covey peer that was silent for this long is asked whether it lives.",
      default: "10s",
      least: "100ms",
      most: "1d",
      zero: "never",
    }),
    keepalive_timeout: duration({
      doc: "Time for that answer; without one the connection is closed.",
      default: "5s",
      least: "10ms",
      most: "1h",
    }),
    drain_timeout: duration({
      doc: "Time that calls in flight get to finish when the node stops.",
      default: "10s",
      least: "1ms",
      most: "1h",
      zero: "none",
    }),
    io_stall_timeout: duration({
      doc: "A peer that stops in the middle of a frame, or does not read what it is sent, is " +
        "closed after this long.",
      default: "1m",
      least: "100ms",
      most: "1d",
    }),
    stream_stall_timeout: duration({
      doc:
        "Where the peer has no flow control: how long a stream with a slow reader may hold the " +
        "connection before it is ended.",
      default: "250ms",
      least: "1ms",
      most: "10m",
    }),
    peer_credentials: flag({
      doc: "Ask the kernel for process, user and group of unix socket peers. Refused at start " +
        "where the runtime cannot.",
      default: false,
    }),
  }),
  admin: section({
    enabled: flag({
      doc: "Serve the admin endpoint; when false it is not even loaded.",
      default: true,
    }),
    listen: address({
      doc: "Where it serves; loopback only, until TLS and tokens exist for it.",
      default: "tcp://127.0.0.1:7980",
      allowed: "tcp://host:port",
      fits: (value) =>
        value.kind === "tcp"
          ? undefined
          : `found a ${value.kind} address; allowed: tcp://host:port on loopback`,
    }),
    allowed_hosts: textList({
      doc: "Host names that a request may carry beside the loopback names and the address " +
        "itself. Anything else is refused, which stops DNS rebinding.",
      default: [],
      least: 0,
      most: 64,
      items: "host names",
      itemPattern: "^(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|\\[[0-9A-Fa-f:.]{2,45}\\])$",
      itemAllowed: "a host name without scheme and port; an IPv6 address in brackets",
    }),
    body_bytes_max: size({
      doc: "Largest request body; a larger one is answered 413.",
      default: "4MiB",
      least: "1KiB",
      most: "64MiB",
    }),
    event_clients_max: integer({
      doc: "Clients that may follow events at the same time.",
      default: 64,
      least: 1,
      most: 10_000,
    }),
  }),
  log: section({
    level: choice({
      doc: "The least important level that is written.",
      choices: ["trace", "debug", "info", "warning", "error"],
      default: "info",
    }),
    format: choice({
      doc: '"auto" writes text for a terminal and one JSON object a line everywhere else.',
      choices: ["auto", "json", "text"],
      default: "auto",
    }),
  }),
});
