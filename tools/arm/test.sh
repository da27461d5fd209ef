#!/usr/bin/env bash
# Builds the ARM wheels, installs them into Debian sysroots and runs tests under qemu, once for each kind of board.
# Usage: tools/arm/test.sh short|all
#   short  kernels and dispatch, minutes
#   all    every test that needs no package which is not there for ARM; writes tools/results/arm-tests.md. An hour on two cores
# Where apt-get or qemu cannot be had, it says SKIPPED and succeeds, unless THINFER_REQUIRE_ARM=1.
set -euo pipefail
source "$(dirname "$0")/env.sh"
cd "$root"
which=${1:?short or all}

skip() {
  echo "ARM tests SKIPPED: $1"
  [ "${THINFER_REQUIRE_ARM:-0}" != 1 ] || exit 1
  exit 0
}

need() {
  command -v apt-get > /dev/null || skip "no apt-get here, which brings the ARM sysroots"
  command -v "python$py" > /dev/null || skip "no python$py here, which cross-builds for the same version on ARM"
  if ! command -v qemu-aarch64 > /dev/null || ! command -v qemu-arm > /dev/null; then
    { apt-get -qq update && apt-get -qq -y install --no-install-recommends qemu-user; } > /dev/null 2>&1 ||
      skip "qemu-user is not installed and cannot be"
  fi
}

install() {
  target "$1"
  local packages=(pytest hypothesis)
  [ "$machine" = aarch64 ] && packages+=(numpy scipy)
  [ -e "$site/pytest" ] || tools/arm/site.sh "$machine" "${packages[@]}"
  rm -rf "$site/thinfer"
  tools/arm/site.sh "$machine" --no-deps dist/*"_$machine.whl"
}

# on CPU TEST…: pytest there; the last line of what it says goes to $result
on() {
  local cpu=$1 log=$work/$1.log
  shift
  tools/arm/python.sh "$cpu" -m pytest -q -p no:cacheprovider "$@" > "$log" 2>&1 || {
    tail -60 "$log"
    echo "failed as $cpu"
    return 1
  }
  result=$(tail -1 "$log")
  echo "$cpu: $result"
}

# Tests that need this machine's compiler: objects of a level, and a malloc that counts.
compiling=(--deselect tests/test_dispatch.py::test_level_objects_export_kernels_alone
  --deselect tests/test_session.py::test_a_run_allocates_nothing)

short() {
  local dispatch=(tests/test_dispatch.py "${compiling[@]}")
  local gemm=tests/test_native_gemm.py first
  on cortex-a53 "${dispatch[@]}" "$gemm::test_outputs" &
  first=$!
  on cortex-a72 "${dispatch[@]}" "$gemm::test_encodings"
  wait $first
  on cortex-a76 "${dispatch[@]}" "$gemm::test_encodings" "$gemm::test_rows" tests/test_native_depthwise.py &
  first=$!
  on cortex-a7 "${dispatch[@]}" "$gemm::test_encodings" "$gemm::test_every_half" "$gemm::test_rows" tests/test_native_sparse.py::test_mat_mul \
    tests/test_native_windows.py::test_fewest_columns
  wait $first
}

# The test files that can be imported there. Fails if another thing than a package that is not there keeps one from it.
importable() {
  local log=$work/collect.log
  tools/arm/python.sh "$1" -m pytest -q --collect-only --continue-on-collection-errors -p no:cacheprovider tests > "$log" 2>&1 || true
  local failed
  failed=$(sed -nE 's/^ERROR (tests\/test_[a-z0-9_]+\.py).*/\1/p' "$log" | sort -u)
  [ "$(grep -cE '^E  +ModuleNotFoundError' "$log")" -ge "$(wc -w <<< "$failed")" ] || { grep '^E  ' "$log" | sort | uniq -c; return 1; }
  ls tests/test_*.py | grep -vxF "$failed"
}

all() {
  local rows=() files out
  for cpu in cortex-a53 cortex-a72 cortex-a76 cortex-a7; do
    mapfile -t files < <(importable "$cpu")
    [ "${#files[@]}" -gt 0 ]
    on "$cpu" "${compiling[@]}" "${files[@]}"
    rows+=("| $cpu | ${#files[@]} | $result |")
  done
  out=tools/results/arm-tests.md
  {
    echo "# Tests on ARM, under qemu"
    echo
    echo "\`tools/arm/test.sh all\` at revision $(git describe --always --dirty), $(qemu-aarch64 --version | head -1)."
    echo "A test file is left out where it needs a package that is not there for the target (torch, onnx, the toolchain's)."
    echo
    echo "| CPU | test files | result |"
    echo "|---|---|---|"
    printf '%s\n' "${rows[@]}"
  } > "$out"
  cat "$out"
}

need
tools/arm/wheels.sh
install aarch64
install armv7l
case $which in
  short) short ;;
  all) all ;;
  *) echo "unknown set $which; there are short and all" >&2; exit 1 ;;
esac
