# Sourced by smoke.sh: an arm64 C library for qemu-user, where apt can fetch one.

# arm64_libraries FOLDER fills FOLDER/root with Debian's libc6 for arm64, the only library that the
# glibc build needs. apt works in FOLDER alone: the machine's own lists and packages stay as they are.
arm64_libraries() {
  [ ! -d "$1/root" ] || return 0
  command -v qemu-aarch64-static >/dev/null || { echo "qemu-aarch64-static is not installed"; return 1; }
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo "apt is not here"; return 1; }
  mkdir -p "$1/lists/partial" "$1/archives/partial"
  folder=$(cd "$1" && pwd)
  : >"$folder/status"
  arm64_apt() {
    timeout 180 apt-get -q -o Dir::State="$folder" -o Dir::State::status="$folder/status" \
      -o Dir::Cache="$folder" -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
      -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
      -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
  }
  arm64_apt update || { echo "apt has no lists for arm64"; return 1; }
  (cd "$folder" && arm64_apt download libc6) || { echo "apt has no libc6 for arm64"; return 1; }
  dpkg-deb -x "$folder"/libc6_*_arm64.deb "$folder/root.part" && mv "$folder/root.part" "$folder/root"
  rm -rf "$folder/lists" "$folder/archives" "$folder"/*.bin
}
