#!/usr/bin/env bash
# ruff and mypy over everything. mypy finds the packages through symlinks, since no folder here is called thinfer.
# Usage: tools/lint.sh [BIN], where BIN is the folder of the virtual environment's programs.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:+$1/}
mkdir -p build/ns/thinfer
packages=()
for top in formats kernels runtime toolchain benchmarks; do
  ln -sfn "../../../$top" "build/ns/thinfer/$top"
  packages+=(-p "thinfer.$top")
done
"${bin}ruff" check .
MYPYPATH=build/ns "${bin}mypy" "${packages[@]}"
