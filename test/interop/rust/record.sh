#!/usr/bin/env bash
# Records Rust's client against Rust's server into test/golden/ttrpc/v1/rust-*.json:
#   record.sh RUST_PROGRAM GO_PROGRAM
# The proxy of the Go program stands between the two. The calls are those of the Go recordings of the
# same names, so that the two implementations can be laid side by side.
set -euo pipefail
rust=$1
go=$2
golden=$(cd "$(dirname "$0")/../../golden/ttrpc/v1" && pwd)
folder=$(mktemp -d)
version="ttrpc-rust 0.10.0 (async), $(rustc --version | cut -d' ' -f1,2)"
timeout 300 "$rust" serve "$folder/server" >/dev/null 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
for _ in $(seq 50); do [ -S "$folder/server" ] && break; sleep 0.1; done

record() { # NAME ABOUT [FLAGS OF THE PROXY]
  local name=$1 about=$2
  shift 2
  timeout 90 "$go" proxy "$folder/proxy-$name" --to "$folder/server" --out "$golden" \
    --name "rust-$name" --about "$about" --client "$version" --server "$version" "$@" >/dev/null &
  local proxy=$!
  for _ in $(seq 50); do [ -S "$folder/proxy-$name" ] && break; sleep 0.1; done
  timeout 60 "$rust" call "$folder/proxy-$name" "$name"
  wait "$proxy"
}

same() { # NAME ABOUT [FLAGS]
  record "$@" --calls-from "$1"
}

same unary "one unary call: Rust writes an empty status with every success"
same unary-empty "an empty message, answered with one: the response is the empty status alone"
same unary-metadata-timeout "two values under one key, and a deadline of a day"
same unary-error "a status that has a message only"
same unary-error-details "a status that has two details, each the request"
same unknown-service "a service that the server does not have: Rust's code is 3"
same unknown-method "a method that the service does not have"
same server-stream "three messages"
same server-stream-empty "an empty request, answered with no message"
same server-stream-empty-message "one message that has no bytes"
same client-stream "two messages, the second of no bytes"
same client-stream-empty "no message at all"
same bidi "three messages, each sent after the answer to the one before"
record bidi-metadata-timeout "a stream whose request carries two values under one key and a deadline of a day" \
  --calls '[{"method":"Chat","service":"covey.test.v1.TestService","kind":"bidi_streaming","metadata":{"key":["one","two"]},"timeoutMillis":86400000,"requests":[{"payload":"aGVsbG8=","metadataKey":"key"}],"responses":[{"payload":"aGVsbG8=","metadataValues":["one","two"],"hasDeadline":true}]}]'
same stream-error "two messages, then a status"
same stream-error-at-once "a status and no message"
