#!/usr/bin/env bash
# Unpacks a Debian system with Python for a target, without touching this machine's packages. About 10 s, 130 MB.
# Usage: tools/arm/sysroot.sh aarch64|armv7l
# Its bin/python3.11 is replaced by a script that starts qemu, so that sys.executable and subprocesses work too.
set -euo pipefail
source "$(dirname "$0")/env.sh"
target "$1"

packages=("python$py-minimal" "libpython$py-stdlib" "libpython$py-dev" libstdc++6 libgomp1)
[ "$machine" = armv7l ] && packages+=(python3-numpy)  # there is no NumPy wheel for it on the package index

# apt with a state and a cache of its own, which knows one suite and one architecture.
private_apt() {
  local state=$work/$machine/apt
  apt-get -qq -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" -o Dir::Etc="$state/etc" \
    -o Dir::Etc::Parts=/etc/apt/apt.conf.d -o Dir::Etc::SourceParts=none -o APT::Architecture="$debian" -o APT::Architectures="$debian" \
    -o APT::Install-Recommends=false -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@"
}

# The mirror that this machine itself uses, or Debian's own.
mirror() {
  local found
  found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
    sed -nE 's/^deb( \[[^]]*\])? *(https?:[^ ]*debian)\/? .*/\2/p; s/^URIs: *(https?:[^ ]*debian)\/?$/\1/p' |
    grep -v security | head -1 || true)
  echo "${found:-http://deb.debian.org/debian}"
}

unpack() {
  local to=$1 state=$work/$machine/apt
  mkdir -p "$to" "$state"/{lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d}
  : > "$state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $suite main" > "$state/etc/sources.list"
  private_apt update
  private_apt -y --download-only install "${packages[@]}" > /dev/null
  for package in "$state"/cache/archives/*.deb; do dpkg-deb -x "$package" "$to"; done
  find "$to" -type l -lname '/*' -printf '%p\t%l\n' | while IFS=$'\t' read -r link aim; do ln -sfnr "$to$aim" "$link"; done
  rm -rf "$state"
  local python=$to/usr/bin/python$py libraries=$sysroot/usr/lib/$triple
  mv "$python" "$python.elf"
  cat > "$python" <<END
#!/bin/sh
exec $qemu -0 $sysroot/usr/bin/python$py -E LD_LIBRARY_PATH=$libraries/blas:$libraries/lapack -L $sysroot $sysroot/usr/bin/python$py.elf "\$@"
END
  chmod +x "$python"
}

once "$sysroot" unpack
