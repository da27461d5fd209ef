"""``python -m thinfer.benchmarks.one_row [WIDTH …] [--only PART …]``: y = Wx, W of WIDTH × WIDTH in every encoding, beside the same in dense
fp32, with fp32 activations and, where the weight is made of integers, with int8 ones. ``THINFER_ISA`` forces an ISA level.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..kernels import isa
from .encodings import ENCODINGS
from .environment import describe
from .kernel_cases import BY_ROW, Layer, NodeCase, integers, nodes_of, of_layer, with_codes
from .nets import single
from .report import machine, table

FLOATS = (*ENCODINGS, "codebook8-bf16", "codebook7-bf16", "codebook6-bf16",
          "codebook7", "codebook5", "binary", "affine2/32", "4x4 fp32", "1x4 codebook4")
INTEGERS = ("codebook8", "codebook6", "codebook4", "codebook3", "codebook2", "binary", "ternary", "affine8", "affine4", "affine3", "affine2")
TURNS, SECONDS = 5, 0.03


def floats(encoding: str, width: int) -> NodeCase:
    return of_layer(Layer(encoding, "Gemm", (1, width), (width, width), {"transB": 1}, encoding))


def codes(encoding: str, width: int) -> NodeCase:
    graph = single("Gemm", (1, width), (1, width), {"w": np.zeros((width, width), np.float32)}, {"transB": 1})
    graph = with_codes(graph, {"w": integers((width, width), encoding, np.random.default_rng(0))}, {"x": BY_ROW})
    return next(case for case in nodes_of(encoding, graph) if 1 in case.weights)


def cases() -> Iterator[tuple[str, str, Callable[[str, int], NodeCase]]]:
    for encoding in dict.fromkeys(FLOATS):
        yield encoding, "fp32", floats
    for encoding in INTEGERS:
        yield encoding, "int8", codes


def least(call: Callable[[], object]) -> float:
    """Seconds of the fastest call of a turn, of which the first does not count."""
    call()
    found: list[float] = []
    end = time.perf_counter() + SECONDS
    while not found or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def rows(width: int, only: list[str]) -> Iterator[dict[str, Any]]:
    level = isa.selected()

    def cheapest(case: NodeCase) -> tuple[str, Callable[[], object]]:
        option = min(case.options(level).values(), key=lambda found: found.cost)
        return option.kernel, case.call(option, level)

    _, dense = cheapest(floats("fp32", width))
    for encoding, activations, make in cases():
        if only and not any(part in f"{encoding} {activations}" for part in only):
            continue
        kernel, call = cheapest(make(encoding, width))
        taken = [(least(call), least(dense)) for _ in range(TURNS)]
        ours, theirs = (min(turn[i] for turn in taken) for i in (0, 1))
        yield {"weights": encoding, "activations": activations, "width": width, "kernel": kernel, "ms min": ours * 1e3,
               "dense fp32 ms min": theirs * 1e3, "this / dense": ours / theirs}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m thinfer.benchmarks.one_row", description="Time y = Wx in every encoding beside dense fp32.")
    parser.add_argument("widths", nargs="*", type=int, default=[1024, 4096], metavar="WIDTH", help="1024 and 4096 if none is given")
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="only encodings and activations whose names contain one of these")
    options = parser.parse_args()
    for width in options.widths:
        print("\n".join(table(list(rows(width, options.only)))) + "\n")
    print(machine(describe()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
