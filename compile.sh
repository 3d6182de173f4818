#!/bin/sh
# Builds the one-file executable.
#
#   ./compile.sh                  for this machine: dist/covey
#   ./compile.sh --target NAME    for another one: dist/covey-NAME
#   ./compile.sh --all            the four of them, their sizes and dist/SHA256SUMS
#
# NAME is linux-x64, linux-arm64, linux-x64-musl or linux-arm64-musl (Bun's own names, such as
# bun-linux-aarch64-musl, are understood too). Installs what it needs with npm; everything else,
# the runtime of another machine too, comes from npm at the version and hash of package-lock.json.
set -eu
cd "$(dirname "$0")"

targets="linux-x64 linux-arm64 linux-x64-musl linux-arm64-musl"
fail() {
  echo "compile.sh: $1" >&2
  exit "${2:-1}"
}
usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0"
}

# One spelling for each target; empty when it is none.
target_name() {
  name=${1#bun-}
  name=${name%-baseline}
  case $name in
    linux-x64 | linux-x64-musl | linux-arm64 | linux-arm64-musl) echo "$name" ;;
    linux-x64-baseline-musl | linux-x64-musl-baseline) echo linux-x64-musl ;;
    linux-aarch64) echo linux-arm64 ;;
    linux-aarch64-musl) echo linux-arm64-musl ;;
  esac
}

wanted=""
case ${1:-} in
  "") [ $# -eq 0 ] || fail "an empty argument" 2 ;;
  --all) [ $# -eq 1 ] || fail "--all takes nothing after it" 2; wanted=$targets ;;
  --target | --target=*)
    case $1 in
      --target=*) asked=${1#--target=}; shift ;;
      *) [ $# -ge 2 ] || fail "--target needs a name: $targets" 2; asked=$2; shift 2 ;;
    esac
    [ $# -eq 0 ] || fail "one target at a time, or --all; left over: $*" 2
    wanted=$(target_name "$asked")
    [ -n "$wanted" ] || fail "$asked is not a target: $targets" 2
    ;;
  -h | --help) usage; exit 0 ;;
  *) fail "$1 is not an option: nothing, --target NAME or --all" 2 ;;
esac

command -v npm >/dev/null || fail "npm is not on the PATH: install Node 20 or newer"
. scripts/tools.sh
missing=$(missing_package)
if [ -n "$missing" ]; then
  echo "compile.sh: $missing is not in node_modules: npm ci" >&2
  npm ci >&2
fi
ready_tools

bun=node_modules/.bin/bun
version=$("$bun" --version)
cache=node_modules/.cache/covey
mkdir -p dist "$cache"
scratch=$(mktemp -d "$PWD/$cache/build-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM HUP

# Prints the path of Bun for a target. `bun build --target` would fetch it by itself, but from one
# fixed address and unchecked (tried); `npm ci` honours the user's registry and the lock's hash.
runtime_for() {
  package="bun-$(echo "$1" | sed 's/arm64/aarch64/')"
  folder="$cache/runtime/$package-$version"
  program="$folder/node_modules/@oven/$package/bin/bun"
  if [ ! -x "$program" ]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    node -e '
      const { readFileSync, writeFileSync } = require("node:fs");
      const [folder, name] = process.argv.slice(1);
      const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
      const { version, integrity } = lock.packages[`node_modules/${name}`];
      const own = { name: "runtime", version: "0.0.0", dependencies: { [name]: version } };
      const packages = { "": own, [`node_modules/${name}`]: { version, integrity } };
      writeFileSync(`${folder}/package.json`, JSON.stringify({ ...own, private: true }));
      writeFileSync(`${folder}/package-lock.json`,
        JSON.stringify({ name: own.name, version: own.version, lockfileVersion: 3, packages }));
    ' "$folder" "@oven/$package"
    # --force: the package says that it is for another machine.
    (cd "$folder" && npm ci --force --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    [ -x "$program" ] || fail "@oven/$package@$version has no bin/bun"
  fi
  echo "$program"
}

# --minify-identifiers is left out: the names in stack traces cost 0.3 MB of the file. --bytecode
# takes the time to ready from 70-130 ms to 30-40 and 2 MB of memory away, --splitting 2 MB more,
# because what a run does not import stays unread; it needs --format=esm. Without the autoload
# switches, a bunfig.toml in the directory of the start could run code (tried).
build() {
  output=$1
  shift
  "$bun" --no-install build src/main.ts --compile --outfile="$scratch/covey" \
    --minify-syntax --minify-whitespace --bytecode --format=esm --splitting --sourcemap \
    --no-compile-autoload-dotenv --no-compile-autoload-bunfig \
    --no-compile-autoload-tsconfig --no-compile-autoload-package-json \
    "$@" >"$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    fail "bun build failed for $output"
  }
  # The map is inside the executable; the copy beside it stays behind.
  mv -f "$scratch/covey" "dist/$output"
  echo "dist/$output $(($(wc -c <"dist/$output") / 1000000)) MB"
}

if [ -z "$wanted" ]; then
  build covey
  exit 0
fi
for target in $wanted; do
  program=$(runtime_for "$target")
  build "covey-$target" "--target=bun-$target" "--compile-executable-path=$program"
done
if [ "$wanted" = "$targets" ]; then
  (
    cd dist
    # shellcheck disable=SC2046 # The names have no spaces.
    sha256sum $(printf 'covey-%s ' $targets) >SHA256SUMS
    cat SHA256SUMS
  )
fi
