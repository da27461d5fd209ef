#!/usr/bin/env bash
# Installs packages for a target's Python: wheels of the package index, without running any of them.
# Usage: tools/arm/site.sh aarch64|armv7l PACKAGE…
set -euo pipefail
source "$(dirname "$0")/env.sh"
target "$1"
shift
need_tools
platforms=()
for version in 36 34 31 28 27 26 24 17; do platforms+=(--platform "manylinux_2_${version}_$machine"); done
platforms+=(--platform "manylinux2014_$machine")
"$tools/python" -m pip -q install --no-compile --upgrade --target "$site" "${platforms[@]}" --python-version "$py" --implementation cp \
  --only-binary=:all: "$@"
