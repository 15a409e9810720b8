#!/usr/bin/env bash
# sanitize.sh JOBS: the quick tests under AddressSanitizer and UndefinedBehaviorSanitizer.
set -euo pipefail
jobs=$1

"$(dirname "$0")/build.sh" asan "$jobs"
# LibTorch keeps what it allocated for good; leaks of ours show in the process tests' memory.
export ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
ctest --test-dir build-asan --output-on-failure -j "$jobs" -LE slow
