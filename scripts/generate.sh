#!/bin/sh
# Regenerates everything that is generated and committed. `--check` writes nothing and fails when
# what is committed differs from what the sources give now.
set -eu
cd "$(dirname "$0")/.."
bin=node_modules/.bin
out=.
if [ "${1:-}" = "--check" ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
"$bin/buf" generate --output "$out"
"$bin/buf" generate --template test/buf.gen.yaml --output "$out"
if [ "$out" != . ]; then
  diff -r "$out/src/gen" src/gen && diff -r "$out/test/gen" test/gen || {
    echo "generated code differs from the .proto files: run scripts/generate.sh and commit" >&2
    exit 1
  }
fi
