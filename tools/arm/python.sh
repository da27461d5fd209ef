#!/usr/bin/env bash
# The target's Python under qemu as one kind of CPU, with the target's site folder.
# Usage: tools/arm/python.sh cortex-a53|cortex-a72|cortex-a76|cortex-a7 [ARGUMENT…]; THINFER_QEMU_PLUGIN is given to qemu as -plugin.
set -euo pipefail
source "$(dirname "$0")/env.sh"
cpu=$1
shift
case $cpu in
  cortex-a7) target armv7l; part=0xc07 ;;
  cortex-a53) target aarch64; part=0xd03 ;;
  cortex-a72) target aarch64; part=0xd08 ;;
  cortex-a76) target aarch64; part=0xd0b ;;
  *) echo "unknown CPU $cpu; there are cortex-a7, cortex-a53, cortex-a72 and cortex-a76" >&2; exit 1 ;;
esac

# Who looks into /proc/cpuinfo (onnxruntime, llvmlite) has to find the CPU that qemu plays; qemu -L looks in the sysroot first.
features="fp asimd evtstrm crc32 cpuid"
[ "$cpu" = cortex-a76 ] && features="$features aes pmull sha1 sha2 atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
info=$(for ((i = 0; i < 4; i++)); do
  printf '%s\t: %s\n' processor "$i" BogoMIPS 108.00 Features "$features" "CPU implementer" 0x41 "CPU architecture" 8 "CPU variant" 0x0 \
    "CPU part" "$part" "CPU revision" 3
  echo
done)
mkdir -p "$sysroot/proc"
[ "$(cat "$sysroot/proc/cpuinfo" 2>/dev/null)" = "$info" ] || echo "$info" > "$sysroot/proc/cpuinfo"

export QEMU_CPU=$cpu PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH} OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
# What qemu has compiled once, the next process finds.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX=$work/$machine/pycache
[ -z "${THINFER_QEMU_PLUGIN:-}" ] || export QEMU_PLUGIN=$THINFER_QEMU_PLUGIN
exec "$sysroot/usr/bin/python$py" "$@"
