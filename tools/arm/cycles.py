"""Instructions and modelled cycles of one inference on 64-bit ARM, ours beside onnxruntime's and ncnn's, from any machine.

qemu counts how often each block of instructions runs (count.c); llvm-mca says how many cycles a block takes on a Cortex-A72 or a
Neoverse-N1 (for the Cortex-A76, whose core it is; LLVM's own model of the A76 is the A72's). It takes every load as a first-level hit,
so of a layer that is read from memory the modelled time is the larger of its cycles and its bytes over the board's bandwidth.
Modelled, not measured: a board will be slower than that, and the ratios are what is worth reading.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
LLVM = os.environ.get("LLVM_SUFFIX", "-19")
"""What Debian puts behind the names of LLVM's programs."""
REPEATS = 64
"""How often llvm-mca repeats a block: most of the hot ones are loops."""
COVERED = 0.97
"""Part of the instructions whose blocks are modelled; the rest is taken at the same rate."""


@dataclass(frozen=True)
class Board:
    """``bandwidth``: bytes per second of its memory as published: bus width × transfers."""

    cpu: str
    model: str
    name: str
    hertz: float
    bandwidth: float


BOARDS = [Board("cortex-a72", "cortex-a72", "Raspberry Pi 4", 1.8e9, 12.8e9), Board("cortex-a76", "neoverse-n1", "Raspberry Pi 5", 2.4e9, 17.1e9)]


@dataclass
class Counts:
    """``blocks``: how often each block of code ran; ``files``: instructions by file of the guest."""

    blocks: Counter[bytes] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)

    @property
    def instructions(self) -> int:
        return sum(len(code) // 4 * count for code, count in self.blocks.items())


def branches(code: bytes) -> bool:
    """Whether a block ends because its last instruction branches (A64: B, BL, B.cond, CBZ, CBNZ, TBZ, TBNZ, BR, BLR, RET)."""
    word = int.from_bytes(code[-4:], "little")
    return word >> 26 & 0x1F == 5 or word >> 24 == 0x54 or word >> 25 & 0x3F in (0x1A, 0x1B) or word >> 25 == 0x6B


def joined(blocks: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Blocks (address, count, code), those made whole that qemu cut in two without a branch: at the end of a page, or because they are long."""
    at = Counter(address for address, _, _ in blocks)
    found = {address: (count, code) for address, count, code in blocks if at[address] == 1}
    for address in sorted(found, reverse=True):
        count, code = found[address]
        after, rest = found.get(address + len(code), (0, b""))
        if not branches(code) and after >= count:
            found[address] = count, code + rest
            found[address + len(code)] = after - count, rest
    return [block for block in blocks if at[block[0]] > 1] + [(address, count, code) for address, (count, code) in found.items()]


def read_counts(path: Path) -> Counts:
    counts, maps, blocks = Counts(), [], []
    for line in path.read_text().splitlines():
        kind, rest = line.split(" ", 1)
        if kind == "map":
            start, end, name = rest.split(" ", 2)
            maps.append((int(start, 16), int(end, 16), Path(name).name))
        else:
            address, count, code = rest.split(" ")
            blocks.append((int(address, 16), int(count), bytes.fromhex(code)))
    for at, count, block in joined(blocks):
        counts.blocks[block] += count
        counts.files[next((name for start, end, name in maps if start <= at < end), "")] += len(block) // 4 * count
    return counts


def disassemble(blocks: Iterable[bytes]) -> list[list[str]]:
    """The instructions of each block, in LLVM's syntax. One line of output per instruction of 4 bytes."""
    listed = list(blocks)
    text = "\n".join(" ".join(f"0x{byte:02x}" for byte in block) for block in listed)
    found = subprocess.run([f"llvm-mc{LLVM}", "--disassemble", "--triple=aarch64-linux-gnu", "-mattr=+all"], input=text, capture_output=True,
                           text=True, check=True)
    lines = [line.split("//")[0].strip() for line in found.stdout.splitlines() if line.startswith("\t") and not line.strip().startswith(".")]
    if len(lines) != sum(len(block) // 4 for block in listed):
        raise SystemExit(f"llvm-mc does not know every instruction: {found.stderr[:300]}")
    rest = iter(lines)
    return [[next(rest) for _ in range(len(block) // 4)] for block in listed]


def cycles_per_block(blocks: list[bytes], model: str) -> list[float]:
    """Cycles of one repetition of each block, when it is repeated."""
    regions = "".join(f"# LLVM-MCA-BEGIN block{i}\n" + "\n".join(lines) + "\n# LLVM-MCA-END\n" for i, lines in enumerate(disassemble(blocks)))
    found = subprocess.run([f"llvm-mca{LLVM}", "-mtriple=aarch64-linux-gnu", f"-mcpu={model}", f"-iterations={REPEATS}",
                            "-mattr=+dotprod,+fullfp16,+lse,+rcpc,+pauth,+bf16,+i8mm", "--json"], input=regions, capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(found.stderr[:1000])
    regions_found = json.loads(found.stdout)["CodeRegions"]
    assert len(regions_found) == len(blocks)
    return [region["SummaryView"]["TotalCycles"] / REPEATS for region in regions_found]


def modelled(counts: Counts, model: str) -> float:
    """Cycles of everything counted."""
    hottest, seen, total = [], 0, counts.instructions
    for code, _ in sorted(counts.blocks.items(), key=lambda item: -len(item[0]) * item[1]):
        hottest.append(code)
        seen += len(code) // 4 * counts.blocks[code]
        if seen >= COVERED * total:
            break
    cycles = sum(each * counts.blocks[code] for code, each in zip(hottest, cycles_per_block(hottest, model)))
    return cycles * total / seen


def count(cpu: str, contender: str, folder: Path, work: Path) -> tuple[Counts, dict[str, object]]:
    peer, variant = contender.split(":", 1)
    out = work / "counts.txt"
    environment = {**os.environ, "THINFER_QEMU_PLUGIN": f"{work}/libcount.so,out={out}", "PYTHONHASHSEED": "0"}
    guest = [str(HERE / "python.sh"), cpu, str(HERE / "guest.py"), peer, variant, str(folder)]
    found = subprocess.run(guest, env=environment, capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"{contender} as {cpu}: {found.stderr[-2000:]}")
    return read_counts(out), json.loads(found.stdout.splitlines()[-1])


@dataclass
class Row:
    contender: str
    board: Board
    instructions: int
    cycles: float
    nbytes: int
    cosine: float
    version: str

    @property
    def seconds(self) -> float:
        return max(self.cycles / self.board.hertz, self.nbytes / self.board.bandwidth)


def rows_of(folder: Path, contenders: list[str], work: Path) -> list[Row]:
    found = []
    for board in BOARDS:
        for contender in contenders:
            counts, said = count(board.cpu, contender, folder, work)
            where = ", ".join(f"{name or '?'} {100 * n / counts.instructions:.0f} %" for name, n in counts.files.most_common(2))
            nbytes = int(str(said["nbytes"]))
            row = Row(contender, board, counts.instructions, modelled(counts, board.model), nbytes, float(str(said["cosine"])), str(said["version"]))
            print(f"{contender} {board.cpu}: {row.instructions / 1e6:.2f} M instructions, {row.cycles / 1e6:.2f} M cycles; {where}", file=sys.stderr)
            found.append(row)
    return found


def table(case: str, rows: list[Row], against: str) -> str:
    lines = [f"## {case}", "",
             f"| board (model) | contender | instructions, M | cycles, M | weights, MB | modelled ms | / {against} | cosine |",
             "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        base = next(r for r in rows if r.board == row.board and r.contender == against)
        cells = (f"{row.board.name} ({row.board.model})", f"{row.contender} {row.version}", f"{row.instructions / 1e6:.2f}",
                 f"{row.cycles / 1e6:.2f}", f"{row.nbytes / 1e6:.2f}", f"{1e3 * row.seconds:.2f}",
                 f"{row.seconds / base.seconds:.3f}", f"{row.cosine:.5f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of a case, as `python -m thinfer.benchmarks prepare` leaves it")
    parser.add_argument("contenders", nargs="+", help="PEER:VARIANT …; ratios are to the last one")
    parser.add_argument("--work", type=Path, required=True, help="the work folder of tools/arm")
    given = parser.parse_args()
    print(table(given.folder.name, rows_of(given.folder, given.contenders, given.work), given.contenders[-1]))


if __name__ == "__main__":
    main()
