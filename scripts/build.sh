#!/usr/bin/env bash
# build.sh PRESET JOBS [CMAKE_OPTION…]: configures and builds, saying little unless something fails.
set -euo pipefail
preset=$1
jobs=$2
shift 2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake --preset "$preset" "$@" >"$log" 2>&1; then
  cat "$log" >&2
  echo "build: cmake could not configure the preset $preset (see above)" >&2
  exit 1
fi
folder=$(sed -n 's/^-- Build files have been written to: //p' "$log")
if ! ninja -C "$folder" -n | grep -q 'no work to do'; then
  echo "build: compiling (preset $preset, $jobs jobs)"
fi
cmake --build "$folder" -j "$jobs" -- --quiet
