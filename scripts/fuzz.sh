#!/usr/bin/env bash
# fuzz.sh JOBS SECONDS: feeds each reader of files with mutations of tests/fuzz/corpus, for so long.
set -euo pipefail
jobs=$1
seconds=$2

cmake --preset fuzz >/dev/null
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
cmake --build build-fuzz --target unbraid_fuzzers -j "$jobs" >"$found/build.log" ||
  { grep -E 'error|undefined' "$found/build.log" >&2; exit 1; }
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=0
for corpus in tests/fuzz/corpus/*/; do
  reader=$(basename "$corpus")
  mkdir "$found/$reader"
  echo "fuzz: $reader, $seconds s"
  log="$found/$reader.log"
  # Findings stay where they can be looked at.
  "build-fuzz/tests/fuzz/${reader}_fuzz" -seed=1 -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=60 \
    -max_len=65536 -artifact_prefix=build-fuzz/ -print_final_stats=1 "$found/$reader" "$corpus" \
    >"$log" 2>&1 || { tail -n 40 "$log" >&2; exit 1; }
  grep -E 'number_of_executed_units|peak_rss_mb' "$log"
done
