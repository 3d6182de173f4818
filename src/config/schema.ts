/**
 * The one schema. Every key of the file, of the environment, of the flags and of `mod.ts` is a line
 * here, and what is not here does not exist. After a change run
 * `node_modules/.bin/bun scripts/generate_config.ts`, which rewrites the types and the reference.
 *
 * Loaded only by commands that need a configuration: `covey version` does not pay for Zod.
 */
import * as z from "npm:zod@4.6.7";
import type { Address } from "../base/address.ts";
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
  section,
  size,
  text,
  textList,
} from "./fields.ts";
import { membershipSections } from "./schema_membership.ts";

/** What a section is for; the reference and the sample print it. */
export const sectionDocs: Readonly<Record<string, string>> = {
  node: "Who this node is, where it keeps its data and where it is reached.",
  cluster: "How nodes found a cluster together, or find the one that there is.",
  tls: "Mutual TLS between nodes. Both sides always verify each other.",
  rpc: "Limits and timers of the mesh listener and of every call.",
  raft: "Consensus: the replicated log that the key-value store stands on.",
  kv: "The replicated key-value store.",
  membership: "Who takes part in the cluster: one agreed view, at every member the same.",
  discovery:
    "Where to look for members beside `cluster.join`. What is found is only dialled, never " +
    "trusted.",
  cache:
    "Values that members share: each key is filled once and kept by its owner, and near those " +
    "who ask for it.",
  autopilot: "Which nodes vote in consensus: kept where the living members are.",
  dns: "Members and services as DNS names, for tools that know nothing else.",
  admin: "The HTTP endpoint for people and tools on this machine.",
  log: "What is written to standard error.",
};

/** Refuses an address that nobody can dial: its port is chosen by whoever listens. */
function dialable(address: Address): string | undefined {
  return address.kind === "tcp" && address.port === 0
    ? "found port 0, which nobody can dial; allowed: the real port"
    : undefined;
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
      fits: dialable,
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
  cluster: section({
    join: addressList({
      doc:
        "Mesh addresses of the nodes that found the cluster together; where it exists already, " +
        "of any of its members. Empty: this node is a cluster of its own. A node that learns here " +
        "that the cluster exists without it waits to be added with `covey raft add`.",
      default: [],
      least: 0,
      most: 15,
      fits: dialable,
    }),
    expect: integer({
      doc: "How many nodes found the cluster. 0: exactly the nodes at the addresses of " +
        "`cluster.join`, and this one. Every founder needs the same number.",
      default: 0,
      least: 0,
      most: 15,
    }),
  }),
  tls: section({
    mode: optionalChoice({
      doc:
        '"on" encrypts and verifies both sides of every connection. "off" is plaintext: whoever ' +
        "reaches a listener may do everything, and beyond loopback every start warns. Without it, " +
        "listeners are on loopback, and a peer without an identity may do nothing.",
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
      doc: "Time that calls in flight get to finish, and other nodes to take over what this one " +
        "leads, when the node stops. With none it stops at once, and the others elect a leader when " +
        "they notice.",
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
  raft: section({
    enabled: flag({
      doc: "Take part in consensus; when false it is not even loaded.",
      default: true,
    }),
    heartbeat_interval: duration({
      doc: "How often a leader shows that it lives.",
      default: "100ms",
      least: "10ms",
      most: "10s",
    }),
    election_timeout: duration({
      doc:
        "Silence of the leader after which others stand for election. It is the least: the time " +
        "in force grows with the measured round trip, unless `raft.lease_reads` fixes it.",
      default: "500ms",
      least: "50ms",
      most: "5m",
    }),
    disk_stall_timeout: duration({
      doc: "A leader whose disk does not answer for this long hands its leadership over.",
      default: "3s",
      least: "100ms",
      most: "1h",
    }),
    segment_bytes: size({
      doc: "Length of one file of the log; it is written in full when it is made.",
      default: "4MiB",
      least: "256KiB",
      most: "64MiB",
    }),
    low_water_bytes: size({
      doc: "Free space of the disk below which writes are refused and leadership is handed over, " +
        "so that the log never meets a full disk.",
      default: "64MiB",
      least: "1MiB",
      most: "1024GiB",
      zero: "no such mark",
    }),
    snapshot_log_bytes: size({
      doc: "Log since the last snapshot after which the next one is taken.",
      default: "8MiB",
      least: "64KiB",
      most: "4GiB",
    }),
    catch_up_bytes: size({
      doc: "Applied entries kept in memory, for followers that are a little behind.",
      default: "4MiB",
      least: "64KiB",
      most: "4GiB",
    }),
    append_bytes_max: size({
      doc: "Entries in one append to a follower; one entry always fits.",
      default: "64KiB",
      least: "64KiB",
      most: "4MiB",
    }),
    inflight_bytes_max: size({
      doc: "Appends under way to one follower.",
      default: "16MiB",
      least: "64KiB",
      most: "1GiB",
    }),
    inflight_messages_max: integer({
      doc: "The same, counted in appends.",
      default: 256,
      least: 1,
      most: 65_536,
    }),
    uncommitted_bytes_max: size({
      doc: "Entries of a leader that are not committed yet; proposals above it are refused.",
      default: "64MiB",
      least: "1MiB",
      most: "4GiB",
    }),
    proposals_max: integer({
      doc: "Proposals and reads that wait on this node; one more is refused.",
      default: 65_536,
      least: 1,
      most: 10_000_000,
    }),
    request_timeout: duration({
      doc: "Time for a request that came without a deadline of its own.",
      default: "7s",
      least: "10ms",
      most: "1h",
    }),
    lease_reads: flag({
      doc: "Let a leader answer linearizable reads without asking the others, for as long as its " +
        "lease lasts. Needs clocks that run at the same speed, fixes the election timeout, and takes " +
        "effect only while every voter has the same two keys.",
      default: false,
    }),
  }),
  kv: section({
    enabled: flag({
      doc: "Hold the key-value store and serve it; when false it is not even loaded.",
      default: true,
    }),
    quota_bytes: size({
      doc: "Size of the store above which writes fail with `resource_exhausted`; reads, deletes " +
        "and compaction go on. The value of the node that leads counts for all.",
      default: "512MiB",
      least: "1MiB",
      most: "64GiB",
    }),
    request_bytes_max: size({
      doc:
        "Largest command; a larger one is refused. The value of the node that leads counts for " +
        "all; the default shrinks to fit `rpc.message_bytes_max`.",
      default: "1536KiB",
      least: "1KiB",
      most: "7MiB",
    }),
    compaction_revisions: integer({
      doc: "Revisions of history that are kept; the node that leads has older ones forgotten. 0: " +
        "never.",
      default: 50_000,
      least: 0,
      most: 1_000_000_000,
    }),
    compaction_bytes: size({
      doc: "The same, counted in bytes of history; never more than a quarter of the quota.",
      default: "16MiB",
      least: "64KiB",
      most: "64GiB",
      zero: "never",
    }),
    watches_max: integer({
      doc: "Watches that this node serves; one more is refused.",
      default: 100_000,
      least: 1,
      most: 10_000_000,
    }),
    watch_queue_bytes_max: size({
      doc:
        "Events that wait on one stream of watches; a reader that falls further behind is read " +
        "for from history, and told when history does not reach back.",
      default: "1MiB",
      least: "16KiB",
      most: "1GiB",
    }),
    progress_interval: duration({
      doc: "How often a watch that asked for it is told that there is nothing to tell.",
      default: "10m",
      least: "100ms",
      most: "1d",
    }),
  }),
  ...membershipSections,
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
