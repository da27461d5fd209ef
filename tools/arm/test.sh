#!/usr/bin/env bash
# Builds the ARM wheels, installs them into Debian sysroots and runs tests under qemu, once for each kind of board.
# Usage: tools/arm/test.sh short|all|table [CPU…]; without CPUs as all four, two at a time
#   short  every kernel of the target on its benchmark case, small networks, LeNet-5, dispatch: what CI runs, some minutes
#   all    every test of kernels, plans and files that needs no package which is not there for ARM, with few random examples and no large
#          layers, in the parts that THINFER_ARM_PARTS names (below; default all); then the table. Some 15 minutes of one core for each CPU
#   table  tools/results/arm-tests.md, of each CPU's last run of each part; one that was stopped is shown with what it came to
# THINFER_ARM_BUILT=1: with the wheels that the last run installed. Needs Debian or Ubuntu, Python 3.11, and for qemu-user, if it is not
# installed, to be root.
set -euo pipefail
source "$(dirname "$0")/env.sh"
cd "$root"
which=${1:?short or all}
shift

say() { echo "[$SECONDS s] $*"; }

cannot() {
  echo "ARM tests cannot run: $1" >&2
  exit 1
}

need() {
  command -v apt-get > /dev/null || cannot "there is no apt-get here, which brings the ARM sysroots"
  command -v "python$py" > /dev/null || cannot "there is no python$py here, which cross-builds for the same version on ARM"
  if ! command -v qemu-aarch64 > /dev/null || ! command -v qemu-arm > /dev/null; then
    { apt-get -qq update && apt-get -qq -y install --no-install-recommends qemu-user; } > "$work/qemu.log" 2>&1 ||
      cannot "qemu-user is not installed and apt-get cannot install it ($work/qemu.log)"
  fi
}

# packages TARGET PACKAGE…: those that are not there yet
packages() {
  local missing=()
  target "$1"
  shift
  for package in "$@"; do [ -e "$site/$package" ] || missing+=("$package"); done
  [ ${#missing[@]} = 0 ] || tools/arm/site.sh "$machine" "${missing[@]}"
}

prepare() {
  local wheels kinds=(pytest) numpy=(numpy)
  if [ "$which" = all ]; then kinds+=(hypothesis) numpy+=(scipy); fi
  need_tools
  say "tools are there"
  tools/arm/wheels.sh &
  wheels=$!
  packages aarch64 "${kinds[@]}" "${numpy[@]}"
  packages armv7l "${kinds[@]}"  # NumPy is Debian's there
  wait $wheels
  for machine in aarch64 armv7l; do
    target "$machine"
    rm -rf "$site/thinfer"
    tools/arm/site.sh "$machine" --no-deps dist/*"_$machine.whl"
    git describe --always --dirty > "$work/$machine/revision"
    # Here it takes seconds; under qemu every process that does not find it takes 11 s of a core.
    env -u PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX="$work/$machine/pycache" "python$py" -m compileall -q -j 0 \
      -x '/(tests?|scipy|hypothesis|pygments|idlelib|lib2to3)/' "$site" "$sysroot/usr/lib/python3"*
  done
  say "wheels are installed"
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

short_on() {
  local tests=(tests/test_digits.py)
  [ "$1" = cortex-a72 ] || tests+=(tests/test_kernel_cases.py)  # the same code as the A53's
  [ "$1" != cortex-a76 ] || tests+=(-k "not neon")              # at the level of sdot, the rest is NEON's
  [ "$1" = cortex-a53 ] || [ "$1" = cortex-a76 ] || tests+=(tests/test_dispatch.py "${compiling[@]}")
  on "$1" "${tests[@]}"
}

# The test files that need no package which is not there for the target. Whatever else keeps one from being imported fails the run.
importable() {
  local file package
  for file in "$@"; do
    for package in torch scipy; do
      if [ ! -e "$site/$package" ] && grep -qE "^(import|from) $package\b" "$file"; then continue 2; fi
    done
    echo "$file"
  done
}

# What runs other code on another CPU: kernels, plans, sessions, decoders. The toolchain is Python alone.
# Each part is one process.
cases=(tests/test_kernel_cases.py tests/test_kernels_random.py)
bits=(tests/test_native_bits.py)
products=(tests/test_native_{fold,gemm,tiles}.py)
convolutions=(tests/test_native_{depthwise,pool,resample,winograd}.py)
sparse=(tests/test_native_{sparse,windows}.py)
integers=(tests/test_native_integer.py tests/test_integer_{begun,coded,dynamic,transposed}.py)
recurrent=(tests/test_native_recurrent.py tests/test_integer_recurrent.py)
named=("${bits[@]}" "${products[@]}" "${convolutions[@]}" "${sparse[@]}" "${integers[@]}" "${recurrent[@]}")
mapfile -t others < <(ls tests/test_native_*.py tests/test_integer_*.py | grep -vxF "$(printf '%s\n' "${named[@]}")")
operators=(tests/test_backends.py)
sessions=(tests/test_{bind,digits,dispatch,quantization,session,slabs,strips,weights_read_twice}.py)
files=(tests/test_{arena,arithmetic,checksum,format_files,huffman,plan_cache,profile,rans,roofs}.py)
parts="cases bits products convolutions sparse integers recurrent others operators sessions files"

# What is left out: NumPy's own operators, and what the writer of files (Python) makes of a million elements, are the same everywhere.
but="not (test_backends and numpy) and not percent and not millions and not optimal and not same_bytes_in_any_process"

# The parts that say something new: the A53 runs the instructions of the A72, the A76 those too, but for the four kernels that have sdot.
parts_of() {
  case $1 in
    cortex-a53) echo "cases operators sessions" ;;
    cortex-a76) echo "cases bits integers recurrent sessions" ;;
    *) echo "$parts" ;;
  esac
}

whole() {
  local cpu=$1 part chosen of one=$but failed=0
  if [ "$cpu" = cortex-a7 ]; then target armv7l; else target aarch64; fi
  [ "$cpu" != cortex-a76 ] || one="$but and not neon"  # at the level of sdot
  for part in ${THINFER_ARM_PARTS:-$(parts_of "$cpu")}; do
    local -n of_part=$part
    mapfile -t chosen < <(importable "${of_part[@]}")
    of="$machine $(date -u +%F) $(cat "$work/$machine/revision")"
    on "$cpu" -vv --durations=40 "${compiling[@]}" -k "$one" "${chosen[@]}" || failed=1
    cp "$work/$cpu.log" "$work/results/$cpu.$part.log"
    echo "$of" > "$work/results/$cpu.$part"
  done
  return $failed
}

# What a log of pytest says that names each test: how many of them ended how, and how far it came if it has no last line.
outcome() {
  local kind count said=() of
  for kind in PASSED FAILED ERROR SKIPPED; do
    count=$(grep -cE "^tests/.* $kind" "$1") || continue
    said+=("$count ${kind,,}")
  done
  printf -v said '%s, ' "${said[@]}"
  if ! tail -1 "$1" | grep -qE '^=+ .* =+$'; then
    of=$(sed -nE 's/.*collected ([0-9]+) items.*/\1/; s/.* ([0-9]+) selected.*/\1/; /^[0-9]+$/p' "$1" | tail -1)
    echo "${said%, }; stopped, of $of"
  else
    echo "${said%, }"
  fi
}

table() {
  local out=tools/results/arm-tests.md cpu part log
  {
    echo "# Tests on ARM, under qemu"
    echo
    echo "\`tools/arm/test.sh all\`, $(qemu-aarch64 --version | head -1), zig $("$tools/python" -m ziglang version)."
    echo "Random tests try $THINFER_EXAMPLES examples of each kind. A test file is left out where it needs a package that is not there for the"
    echo "target (torch; SciPy on 32 bits). What runs on which CPU, and why: tools/arm/README.md."
    echo
    echo "| CPU | part | wheel | test files | result | date | revision |"
    echo "|---|---|---|---|---|---|---|"
    for cpu in cortex-a53 cortex-a72 cortex-a76 cortex-a7; do
      for part in $parts; do
        log=$work/results/$cpu.$part.log
        [ -e "$log" ] || continue
        read -r machine day revision < "$work/results/$cpu.$part"
        echo "| $cpu | $part | $machine | $(sed -nE 's/^(tests[^:]*)::.* (PASSED|SKIPPED).*/\1/p' "$log" | sort -u | wc -l) | $(outcome "$log") |" \
          "$day | $revision |"
      done
    done
    sed '1,/^|---/d; /^|/d' "$out"  # what is written there by hand
  } > "$work/results/table"
  cp "$work/results/table" "$out"
}

cpus=("$@")
[ ${#cpus[@]} -gt 0 ] || cpus=(cortex-a76 cortex-a53 cortex-a7 cortex-a72)
export THINFER_EXAMPLES=${THINFER_EXAMPLES:-3} THINFER_LARGE=${THINFER_LARGE:-0}
mkdir -p "$work/results"
need
[ "${THINFER_ARM_BUILT:-0}" = 1 ] || [ "$which" = table ] || prepare
case $which in
  table) table; exit ;;
  short) run=short_on ;;
  all) run=whole ;;
  *) echo "unknown set $which; there are short, all and table" >&2; exit 1 ;;
esac
if [ ${#cpus[@]} = 1 ]; then
  $run "${cpus[0]}"
else
  printf '%s\n' "${cpus[@]}" | THINFER_ARM_BUILT=1 xargs -P 2 -n 1 tools/arm/test.sh "$which"  # two at a time; fails when all have ended, if one failed
fi
[ "$which" = short ] || table
