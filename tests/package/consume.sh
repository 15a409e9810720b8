#!/usr/bin/env bash
# consume.sh BUILD_FOLDER SOURCE_FOLDER: installs the build and uses it from a separate project.
set -euo pipefail
build=$1
source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --install "$build" --prefix "$folder/prefix" >/dev/null
cmake -S "$source" -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/prefix" >"$folder/log" 2>&1 ||
  { cat "$folder/log"; exit 1; }
cmake --build "$folder/build"
"$folder/build/core_consumer"
"$folder/build/full_consumer"
"$folder/prefix/bin/unbraid" --version
