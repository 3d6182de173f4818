#!/bin/sh
# The compiled binary by itself: scripts/smoke.sh [BINARY], default dist/covey.
#
# Runs it where the checkout cannot be seen and every file of the working directory is a trap, and
# watches with strace what it opens. Also runs the arm64 build (dist/covey-linux-arm64) under
# qemu-aarch64-static and the musl build (dist/covey-linux-x64-musl) where the machine can. Each
# check is a line; what a machine cannot do is a `skip` with its reason.
set -u

if [ "${1:-}" != --inside ]; then
  cd "$(dirname "$0")/.." || exit 1
  root=$PWD
  binary=${1:-dist/covey}
  [ -x "$binary" ] || { echo "smoke.sh: $binary is not there: run ./compile.sh" >&2; exit 1; }
  scratch=$(mktemp -d /var/tmp/covey-smoke-XXXXXX) || exit 1
  trap 'rm -rf "$scratch"' EXIT
  trap 'exit 1' INT TERM HUP
  mkdir "$scratch/bin" "$scratch/data" "$scratch/home" "$scratch/nothing" "$scratch/temporary"
  cp "$binary" "$scratch/bin/covey"
  for other in linux-arm64 linux-x64-musl; do
    [ ! -x "dist/covey-$other" ] || cp "dist/covey-$other" "$scratch/bin/"
  done
  cp scripts/smoke.sh scripts/smoke_trace.cjs "$scratch/"
  node -p 'require("./package.json").version' >"$scratch/version"
  . scripts/arm64_libraries.sh
  arm64_libraries node_modules/.cache/covey/arm64 >"$scratch/arm64" 2>&1 || true
  if [ -d node_modules/.cache/covey/arm64/root ]; then
    cp -r node_modules/.cache/covey/arm64/root "$scratch/arm64-root"
  fi
  if unshare -m true 2>/dev/null; then
    unshare -m sh "$scratch/smoke.sh" --inside "$scratch" "$root"
  else
    sh "$scratch/smoke.sh" --inside "$scratch" ""
  fi
  exit
fi

scratch=$2
root=$3
cd "$scratch" || exit 1
passed=0
failed=0
skipped=0
ok() {
  passed=$((passed + 1))
  echo "ok   $1"
}
bad() {
  failed=$((failed + 1))
  echo "FAIL $1"
}
skip() {
  skipped=$((skipped + 1))
  echo "skip $1: $2"
}
# Judges the exit code of the command before it; shows the file when it is not 0.
verdict() {
  if [ "$1" -eq 0 ]; then ok "$2"; else
    bad "$2 (exit code $1)"
    [ ! -f "${3:-}" ] || sed 's/^/     /' "$3" | tail -n 40
  fi
}
bare() {
  env -i PATH=/usr/bin:/bin HOME="$scratch/home" TMPDIR="$temporary" TZ=UTC LANG=C "$@"
}

# What must not be visible is covered by an empty folder, for this process and its children only.
temporary=$scratch/temporary
if [ -n "$root" ] && mount --bind "$scratch/nothing" "$root" 2>/dev/null; then
  ok "the checkout is hidden"
  if mount --bind "$scratch/temporary" /tmp 2>/dev/null; then temporary=/tmp; fi
else
  skip "the checkout is hidden" "this machine permits no mounts; the binary runs elsewhere with a bare environment"
fi

# Every file that a runtime looks for in its working directory, and none may be heeded.
mkdir cwd
cat >cwd/bunfig.toml <<'END'
preload = ["./trap.ts"]
END
echo 'console.log("TRAP"); process.exit(77);' >cwd/trap.ts
printf 'COVEY_NODE__NAME=trap\nCOVEY_NO_SUCH_KEY=1\n' >cwd/.env
echo '{"name": "trap", "type": "commonjs", "imports": {"#x": "./trap.ts"}}' >cwd/package.json
echo '{"compilerOptions": {"paths": {"*": ["./trap.ts"]}}}' >cwd/tsconfig.json
cp cwd/tsconfig.json cwd/deno.json
cat >covey.toml <<END
[node]
data = "$scratch/data"
listen = ["tcp://127.0.0.1:0"]
[admin]
listen = "tcp://127.0.0.1:0"
END
cd cwd || exit 1

expected=$(cat ../version)
bare ../bin/covey version >../out 2>&1
verdict $? "covey version" ../out
grep -qF "$expected" ../out && ! grep -q TRAP ../out
verdict $? "covey version says $expected and no trap was heeded" ../out
bare ../bin/covey version --self-test >../out 2>&1
verdict $? "covey version --self-test: every dependency works inside the binary" ../out

# Bytes that a process gave to the disk, its log included.
written() {
  sed -n 's/^write_bytes: //p' "/proc/$1/io" 2>/dev/null
}
# A node that nobody asks for anything wears no flash.
idle() {
  before=$(written "$1")
  if [ -z "$before" ]; then
    skip "$2: idle, it writes nothing to disk" "/proc/$1/io cannot be read here"
    return
  fi
  sleep 5
  after=$(written "$1")
  [ "$after" = "$before" ]
  verdict $? "$2: idle for 5 s, it writes $((after - before)) bytes to disk"
  echo "     $(($(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status") / 1024)) MB of memory"
}

# Runs `covey agent` with the given arguments until it is ready, asks /livez, watches it being idle,
# stops it with SIGTERM.
agent() {
  title=$1
  trace=$2
  shift 2
  rm -f ../ready ../log
  if [ -n "$trace" ]; then
    bare strace -f -y -qq -e trace=%file -o "$trace" ../bin/covey agent --json "$@" >../ready 2>../log &
  else
    bare ../bin/covey agent --json "$@" >../ready 2>../log &
  fi
  child=$!
  tries=0
  while ! grep -q '"event":"ready"' ../ready 2>/dev/null && [ $tries -lt 300 ] && kill -0 $child 2>/dev/null; do
    tries=$((tries + 1))
    sleep 0.1
  done
  if ! grep -q '"event":"ready"' ../ready; then
    kill $child 2>/dev/null
    bad "$title: no ready line"
    sed 's/^/     /' ../ready ../log | tail -n 40
    return
  fi
  ok "$title: ready"
  node -e '
    const line = require("node:fs").readFileSync("../ready", "utf8").split("\n")
      .find((text) => text.includes("\"event\":\"ready\""));
    const { pid, listeners } = JSON.parse(line);
    console.log(pid);
    fetch(`${listeners.admin}/livez`, { signal: AbortSignal.timeout(10000) }).then(
      (response) => process.exit(response.status === 200 ? 0 : 1),
      (error) => { console.error(error); process.exit(1); });
  ' >../pid 2>../out
  verdict $? "$title: /livez answers 200" ../out
  idle "$(cat ../pid)" "$title"
  kill -TERM "$(cat ../pid)"
  (sleep 20 && kill -KILL "$(cat ../pid)" 2>/dev/null) &
  guard=$!
  wait $child
  verdict $? "$title: SIGTERM, exit code 0" ../log
  kill $guard 2>/dev/null
}

agent "agent --dev" "" --dev --config ../covey.toml
[ -z "$(ls -A ../data)" ]
verdict $? "agent --dev: nothing in the data folder"

if bare strace -o /dev/null true 2>/dev/null; then
  bare strace -f -y -qq -e trace=%file -o ../trace-self-test ../bin/covey version --self-test >/dev/null 2>&1
  agent "agent on disk" ../trace-agent --config ../covey.toml
  for name in self-test agent; do
    node ../smoke_trace.cjs "../trace-$name" "$scratch/bin/covey" "$scratch/data" "$scratch/covey.toml" >../out 2>&1
    verdict $? "trace of $name: only its data, its config and the system's libraries" ../out
    sed 's/^/     /' ../out | grep -v '^     BAD'
  done
else
  agent "agent on disk" "" --config ../covey.toml
  skip "trace of what is opened" "strace is not installed, or not permitted"
fi
[ -n "$(ls -A ../data)" ]
verdict $? "agent on disk: its data is in the data folder"

# Waits until a file has a line that matches, and prints the last such; fails when the process ends.
await() {
  tries=0
  while ! grep -q "$2" "$1" 2>/dev/null && [ $tries -lt 300 ] && kill -0 "$3" 2>/dev/null; do
    tries=$((tries + 1))
    sleep 0.1
  done
  grep "$2" "$1" | tail -n 1
}
# Of one line of JSON on standard input, what an expression of it says.
pick() {
  node -e 'const line = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    console.log(eval(process.argv[1]));' "$1"
}
title="covey demo"
rm -f ../log
env -i PATH=/usr/bin:/bin HOME="$scratch/home" TMPDIR="$temporary" TZ=UTC LANG=C \
  ../bin/covey demo --json >../demo 2>../log &
child=$!
ready=$(await ../demo '"event":"ready"' $child)
if [ -z "$ready" ]; then
  kill $child 2>/dev/null
  bad "$title: three nodes elect a leader"
  sed 's/^/     /' ../demo ../log | tail -n 40
else
  ok "$title: three nodes elect a leader"
  nodes=$(echo "$ready" | pick 'line.nodes.map(({ listeners }) => listeners.mesh).join()')
  bare ../bin/covey kv put greeting hello --node "$nodes" >../out 2>&1
  verdict $? "$title: a write is taken" ../out
  kill -KILL "$(echo "$ready" | pick 'line.nodes.find(({ name }) => name === line.leader).pid')"
  up=$(await ../demo '"event":"up"' $child)
  [ -n "$up" ]
  verdict $? "$title: the leader is killed, and taken back" ../demo
  bare ../bin/covey kv get greeting --print-value-only --node "$nodes" >../out 2>&1
  [ "$(cat ../out)" = hello ]
  verdict $? "$title: the write is there" ../out
  kill -TERM $child
  wait $child
  verdict $? "$title: SIGTERM, exit code 0" ../log
fi
left=$(ls -A "$temporary")
[ -z "$left" ]
verdict $? "nothing was written to the temporary directory $left"
[ -z "$(ls -A ../home)" ]
verdict $? "nothing was written to the home directory"

title="the arm64 build runs"
if [ ! -x ../bin/covey-linux-arm64 ]; then
  skip "$title" "dist/covey-linux-arm64 is not built: ./compile.sh --target linux-arm64"
elif ! command -v qemu-aarch64-static >/dev/null; then
  skip "$title" "qemu-aarch64-static is not installed (Debian: qemu-user-static)"
elif [ ! -d ../arm64-root ]; then
  skip "$title" "no arm64 libc for qemu: $(tail -n 1 ../arm64)"
else
  bare timeout 120 qemu-aarch64-static -L ../arm64-root ../bin/covey-linux-arm64 version >../out 2>&1
  verdict $? "$title: version" ../out
  grep -qF "$expected" ../out
  verdict $? "$title: says $expected" ../out
  bare timeout 300 qemu-aarch64-static -L ../arm64-root ../bin/covey-linux-arm64 version --self-test >../out 2>&1
  code=$?
  # qemu-user answers /proc/self/stat itself, with no memory use in it: that part cannot pass there.
  if [ $code -eq 1 ] && [ "$(grep -c FAILED ../out)" -eq 1 ] && grep -q "the process has no memory" ../out; then
    code=0
  fi
  verdict $code "$title: version --self-test, but for the memory use that qemu hides" ../out
fi

title="the musl build runs"
if [ ! -x ../bin/covey-linux-x64-musl ]; then
  skip "$title" "dist/covey-linux-x64-musl is not built: ./compile.sh --target linux-x64-musl"
elif [ ! -e /lib/ld-musl-x86_64.so.1 ]; then
  skip "$title" "this machine has no musl with its own libstdc++"
else
  bare ../bin/covey-linux-x64-musl version >../out 2>&1
  verdict $? "$title: version" ../out
fi

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
