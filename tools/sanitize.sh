#!/usr/bin/env bash
# Builds the compiled modules with sanitizers into build/sanitize and runs tests on them: a read or write outside of a buffer, a shift too far or
# an overflow ends the run with a report of where.
# Usage: tools/sanitize.sh [-s address,undefined] [-p PYTHON] [-c | PYTEST ARGUMENTS …]; -c: the short set that CI runs; without arguments the
# kernels' tests and the formats'.
set -euo pipefail
cd "$(dirname "$0")/.."
kinds=address,undefined
python=python3
short=
while getopts s:p:c option; do
  case $option in
    s) kinds=$OPTARG ;;
    p) python=$OPTARG ;;
    c) short=1 ;;
    *) sed -n 2,5p "$0"; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
tests=("$@")
if [ $short ]; then
  # The levels that differ most, since compiling takes most of the time.
  tests=(tests/test_kernels_random.py tests/test_format_damage.py "$@")
  export THINFER_LEVELS=baseline,avx2 THINFER_EXAMPLES=${THINFER_EXAMPLES:-5} THINFER_DAMAGE_EXAMPLES=${THINFER_DAMAGE_EXAMPLES:-100}
elif [ ${#tests[@]} = 0 ]; then
  tests=(tests/test_native_*.py tests/test_kernels_random.py tests/test_backends.py tests/test_quantization.py tests/test_format_damage.py
         tests/test_format_attacks.py tests/test_huffman.py tests/test_rans.py tests/test_arithmetic.py)
fi

"$python" -c "import pybind11, setuptools" 2> /dev/null || "$python" -m pip install -q -c constraints.txt pybind11 setuptools
mkdir -p build
export THINFER_SANITIZE=$kinds THINFER_REQUIRE_NATIVE=1
"$python" setup.py -q build --build-base build/sanitize --build-lib build/sanitize/lib > build/sanitize.log 2>&1 || { tail -40 build/sanitize.log; exit 1; }
unset THINFER_SANITIZE
processes=()
"$python" -c "import xdist" 2> /dev/null && processes=(-n auto)
# The runtime of the sanitizers has to be in the process before Python's own memory is. Python leaks at exit by design.
preload=$(g++ -print-file-name=libasan.so):$(g++ -print-file-name=libubsan.so)
export PYTHONPATH=$PWD/build/sanitize/lib ASAN_OPTIONS=detect_leaks=0,allocator_may_return_null=1 PYTHONMALLOC=malloc OMP_NUM_THREADS=1
LD_PRELOAD=$preload exec "$python" -m pytest -q "${processes[@]}" -p no:cacheprovider "${tests[@]}"
