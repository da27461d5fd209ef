# What the scripts here share (sourced): the work folder, the targets, and how a sysroot's Python is started under qemu.
# THINFER_ARM names the work folder (default build/arm); everything in it can be deleted and comes back.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=${THINFER_ARM:-$root/build/arm}
tools=$work/tools/bin
py=3.11          # of Debian 12 and of Raspberry Pi OS 12: the wheels are for this version
suite=bookworm
glibc=2.28       # the oldest C library that the wheels run on (Debian 10)
export ZIG_GLOBAL_CACHE_DIR=${ZIG_GLOBAL_CACHE_DIR:-$work/zig}
mkdir -p "$work"

# target TARGET: sets what differs between aarch64 and armv7l.
target() {
  machine=$1
  case $machine in
    aarch64) debian=arm64 triple=aarch64-linux-gnu qemu=qemu-aarch64 zig="-target aarch64-linux-gnu.$glibc" ;;
    armv7l) debian=armhf triple=arm-linux-gnueabihf qemu=qemu-arm zig="-target arm-linux-gnueabihf.$glibc -mcpu=cortex_a7" ;;
    x86_64) debian=amd64 triple=x86_64-linux-gnu qemu=qemu-x86_64 zig="-target x86_64-linux-gnu.$glibc" ;;
    *) echo "unknown target $machine; there are aarch64, armv7l and x86_64" >&2; return 1 ;;
  esac
  sysroot=$work/$machine/root
  site=$work/$machine/site
}

# A step that cannot be done twice is done once: its folder appears when it is complete.
once() {
  local to=$1
  shift
  [ -e "$to" ] && return
  rm -rf "$to.part"
  mkdir -p "$(dirname "$to")"
  "$@" "$to.part"
  mv "$to.part" "$to"
}

# The build tools on this machine: zig, which brings clang and the C library's headers of every target.
make_tools() {
  python$py -m venv "$1"
  "$1/bin/python" -m pip -q install -U -c "$root/constraints.txt" ziglang "setuptools>=77" wheel pybind11 pip
}

need_tools() {
  once "$work/tools" make_tools
}
