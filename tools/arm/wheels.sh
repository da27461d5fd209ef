#!/usr/bin/env bash
# Cross-builds the wheels of 64-bit and 32-bit ARM on x86-64 (or any machine that zig runs on): clang of `pip install ziglang`, a
# Python to compile against unpacked from Debian's packages. From nothing some two minutes, then about 15 s a wheel.
# Usage: tools/arm/wheels.sh [TARGET…] (aarch64 armv7l; x86_64 can be named); the wheels come to dist/.
# A board's wheel of 1.5 MB and more, one of x86-64 (four ISA levels) of 2.6 MB and more, or one that needs more than NumPy, is refused.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need_tools

# zig runs in this machine's Python, which must not see the target's configuration, and names CPUs in its own way.
compilers() {
  local clean="env -u PYTHONPATH -u _PYTHON_SYSCONFIGDATA_NAME -u _PYTHON_HOST_PLATFORM $tools/python -m ziglang"
  cat > "$1/c++" <<END
#!/bin/bash
arguments=()
for each in "\$@"; do
  case \$each in
    -march=armv8.2-a+dotprod) arguments+=(-mcpu=generic+v8_2a+dotprod) ;;
    -march=armv7-a | -mfpu=neon-vfpv4 | -mfloat-abi=hard) ;;  # what the target's cortex_a7 says already
    *) arguments+=("\$each") ;;
  esac
done
exec $clean c++ $zig "\${arguments[@]}"
END
  printf '#!/bin/sh\nexec %s ar "$@"\n' "$clean" > "$1/ar"
  chmod +x "$1/c++" "$1/ar"
}

build() {
  target "$1"
  "$root/tools/arm/sysroot.sh" "$machine"
  local home=$work/$machine/build
  mkdir -p "$home" "$root/dist"
  rm -rf "$home/src"
  # setuptools would take objects of another target in build/ for its own. `ls-files`: only what belongs to the project.
  (cd "$root" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$(mkdir -p "$home/src" && echo "$home/src")")
  cp "$sysroot/usr/lib/python$py/_sysconfigdata__$triple.py" "$home/"
  compilers "$home"
  local include="-I$sysroot/usr/include/python$py -idirafter $sysroot/usr/include"
  rm -f "$root/dist/"*"_$machine.whl"
  local cache=""
  command -v ccache > /dev/null && cache="ccache "
  (cd "$home/src" && env THINFER_REQUIRE_NATIVE=1 _PYTHON_HOST_PLATFORM="linux-$machine" _PYTHON_SYSCONFIGDATA_NAME="_sysconfigdata__$triple" \
    THINFER_REVISION="$(git -C "$root" describe --always --dirty)" PYTHONPATH="$home" CC="$cache$home/c++" CXX="$cache$home/c++" CCACHE_COMPILERTYPE=clang CCACHE_COMPILERCHECK="string:$zig" \
    CCACHE_BASEDIR="$work" \
    AR="$home/ar" LDSHARED="$home/c++ -Os -shared -s" LDCXXSHARED="$home/c++ -Os -shared -s" \
    CFLAGS="$include" CXXFLAGS="$include" PYTHONWARNINGS=ignore \
    "$tools/python" setup.py -q bdist_wheel --dist-dir "$home/dist" > "$home/log" 2>&1) || { tail -40 "$home/log"; return 1; }
  if grep -E "[0-9]: warning: " "$home/log"; then
    echo "the compiler warns (above)"
    return 1
  fi
  "$tools/python" -m wheel tags --remove --platform-tag "manylinux_2_28_$machine" "$home/dist/"*"-linux_$machine.whl" > /dev/null
  mv "$home/dist/"*"_$machine.whl" "$root/dist/"
  check "$root/dist/"*"_$machine.whl"
}

check() {
  local size limit=1500000
  [ "$machine" != x86_64 ] || limit=2600000
  size=$(stat -c %s "$1")
  echo "$(basename "$1"): $size bytes"
  [ "$size" -lt $limit ] || { echo "not below $limit bytes"; return 1; }
  local needs
  needs=$(unzip -p "$1" '*/METADATA' | grep '^Requires-Dist' | grep -v 'extra ==')
  [[ $needs =~ ^Requires-Dist:\ numpy[^[:cntrl:]]*$ ]] || { echo "needs more than NumPy: $needs"; return 1; }
}

targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(aarch64 armv7l)
jobs=()
for each in "${targets[@]}"; do
  build "$each" &
  jobs+=($!)
done
failed=0
for job in "${jobs[@]}"; do wait "$job" || failed=1; done  # all of them, so that none goes on in the background
exit $failed
