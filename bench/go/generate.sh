#!/usr/bin/env bash
# Regenerates grpcpb/ from test/proto. The plugins are built at the versions that go.mod pins, into a
# folder that is thrown away.
set -euo pipefail
cd "$(dirname "$0")"
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
GOBIN=$tools timeout 300 go install tool
cd ../..
PATH=$tools:$PATH timeout 120 node_modules/.bin/buf generate --template bench/go/buf.gen.yaml
