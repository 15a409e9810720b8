#!/usr/bin/env bash
# Installs what is missing of the given groups of packages.txt (default: build) with apt, through sudo
# when not root. Silent when nothing is missing.
set -euo pipefail

list="$(dirname "$0")/packages.txt"
groups=" ${*:-build} "

missing=()
while read -r group package _; do
  [[ "$group" == "#"* || -z "$group" || "$groups" != *" $group "* ]] && continue
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  # Node.js of another source has an npm of its own, beside which Debian's cannot be installed.
  [[ "$package" == npm ]] && command -v npm >/dev/null && continue
  [[ "$state" == installed ]] || missing+=("$package")
done < "$list"
[[ ${#missing[@]} -eq 0 ]] && exit 0

fail() {
  echo "setup: $*" >&2
  exit 1
}

command -v apt-get >/dev/null || fail "this system has no apt-get; install by hand: ${missing[*]}"
as_root=()
if [[ $EUID -ne 0 ]]; then
  command -v sudo >/dev/null || fail "neither root nor sudo here; install by hand: ${missing[*]}"
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y "$@" \
    >"$log" 2>&1
}
echo "setup: installing ${#missing[@]} Debian packages: ${missing[*]}"
if ! apt install --no-install-recommends "${missing[@]}"; then
  # The package lists may be missing or old.
  apt update || fail "apt-get update failed: $(grep -m1 '^E:' "$log" || tail -n1 "$log")"
  apt install --no-install-recommends "${missing[@]}" ||
    fail "apt-get install failed: $(grep -m1 '^E:' "$log" || tail -n1 "$log")"
fi
