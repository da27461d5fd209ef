#!/usr/bin/env bash
# The slower checks: real networks from package registries, many more damaged files. Some minutes.
# Usage: tools/slow.sh [PYTHON], the interpreter of an environment with ".[toolchain,test,bench]".
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
"$python" -m pytest -q -m slow
THINFER_DAMAGE_EXAMPLES=6000 "$python" -m pytest -q tests/test_format_damage.py
