#!/usr/bin/env bash
# Builds the Rust peer into the given folder: build.sh FOLDER gives FOLDER/interop-rust.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/source"
folder=$(cd "$1" && pwd)
cp -r "$here/Cargo.toml" "$here/build.rs" "$here/src" "$here/../../proto/covey/test/v1/test.proto" "$folder/source/"
timeout 900 cargo build --quiet --release --manifest-path "$folder/source/Cargo.toml" --target-dir "$folder/target"
cp "$folder/target/release/interop-rust" "$folder/interop-rust"
