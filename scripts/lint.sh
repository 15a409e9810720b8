#!/usr/bin/env bash
# lint.sh JOBS [COMMIT]: clang-tidy over all sources, or over those changed since COMMIT.
set -euo pipefail
jobs=$1
since=${2:-}

cmake --preset tidy >/dev/null
cmake --build build-tidy --target library/CMakeFiles/unbraid_core.dir/cmake_pch.hxx.pch \
  unbraid_report_page >/dev/null
if [[ -n "$since" ]]; then
  mapfile -t files < <(git diff --name-only --diff-filter=d "$since" -- '*.cpp')
else
  mapfile -t files < <(git ls-files '*.cpp')
fi
known=()
for file in "${files[@]}"; do
  grep -qF "$PWD/$file\"" build-tidy/compile_commands.json && known+=("$file")
done
echo "lint: ${#known[@]} files"
[[ ${#known[@]} -eq 0 ]] && exit 0
printf '%s\n' "${known[@]}" |
  xargs -P "$jobs" -n 1 clang-tidy -p build-tidy --quiet --warnings-as-errors='*' 2>/dev/null
