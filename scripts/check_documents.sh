#!/usr/bin/env bash
# Runs every shell command of README.md (those of the set-up excepted, which CI runs itself), checks
# that the recipe and the C++ it and docs/library.md show are those of the tree, and that it lists
# every package.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "documents: $*" >&2
  exit 1
}

# Blocks of one language, without fences.
blocks() {
  awk -v language="$2" '$0 == "```" language { inside = 1; next } /^```/ { inside = 0 } inside' "$1"
}

squeezed() { tr -d ' \n'; }

# The same, each block on a line of its own, squeezed.
blocks_by_line() {
  awk -v language="$2" '$0 == "```" language { inside = 1; next }
    /^```/ { if (inside) print text; inside = 0; text = "" } inside { text = text $0 }' "$1" |
    tr -d ' '
}

[[ "$(squeezed < recipes/avdigits/dgl.toml)" == *"$(blocks README.md toml | squeezed)"* ]] ||
  fail "the recipe in README.md is not recipes/avdigits/dgl.toml"
[[ "$(squeezed < examples/dgl_in_ten_lines.cpp)" == *"$(blocks README.md cpp | squeezed)"* ]] ||
  fail "the C++ in README.md is not in examples/dgl_in_ten_lines.cpp"
all_examples=$(cat examples/*.cpp | squeezed)
while read -r block; do
  [[ "$all_examples" == *"$block"* ]] || fail "this C++ in docs/library.md is in no example: $block"
done < <(blocks_by_line docs/library.md cpp)
while read -r group package _; do
  [[ "$group" == "#"* || -z "$group" ]] && continue
  [[ "$package" == fonts-* ]] || grep -qF -- "$package" README.md ||
    fail "README.md does not list $package"
done < scripts/packages.txt

# A miniature stands in for the data set that the README prepares.
left=(runs/dgl runs/joint runs/compare runs/avdigits runs/cremad cremad.png predictions.csv report.html model.pt audio.safetensors recipes/cremad/cremad.csv CREMA-D)
[[ ! -e CREMA-D ]] || fail "there is a folder CREMA-D already, which this check would remove"
rm -rf "${left[@]}"
tests/data/miniature_cremad.sh CREMA-D
blocks README.md sh | grep -v '^make \(demo\|test\|bench\)$' | while read -r command; do
  echo "documents: $command"
  bash -c "$command" </dev/null >/dev/null 2>&1 || fail "failed: $command"
done
# What takes an hour is run with little data and one epoch.
less="--seeds 1 --set train.epochs=1 --set data.train=64 --set data.val=20 --set data.test=20"
blocks README.md "sh long" | while read -r command; do
  echo "documents: $command $less"
  bash -c "$command $less" </dev/null >/dev/null 2>&1 || fail "failed: $command $less"
done
rm -rf "${left[@]}"
