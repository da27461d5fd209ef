"""``python -m thinfer.benchmarks.kernels [KERNEL …] [--threads N]``: single layers beside torch's fp32, without sessions and reorders: the
tables in the READMEs of the kernel families. ``THINFER_ISA`` forces an ISA level. ``pytest benchmarks`` times every kernel alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels import isa, ops
from ..toolchain.timing import interleaved
from .environment import describe
from .kernel_cases import Layer, NodeCase, layers, of_layer
from .report import machine, table


def torch_call(layer: Layer, case: NodeCase) -> Callable[[], object]:
    """The same layer with its weights in fp32."""
    import torch

    x = case.arrays[0]
    assert x is not None
    a, b = torch.from_numpy(x), torch.from_numpy(np.ascontiguousarray(case.weights[1].decode()))
    if layer.op != "Conv":
        return lambda: torch.nn.functional.linear(a, b)
    axes = len(layer.x) - 2
    pads, strides = layer.attrs.get("pads", (0,) * axes)[:axes], layer.attrs.get("strides", (1,) * axes)
    convolve = getattr(torch.nn.functional, f"conv{axes}d")
    return lambda: convolve(a, b, stride=strides, padding=pads, groups=layer.attrs.get("group", 1))


def row(layer: Layer, threads: int, wanted: Sequence[str]) -> dict[str, Any] | None:
    """One line of the table, of the lowering that a plan would take; None if its kernel is none of the ``wanted`` (beginnings of names)."""
    case, level = of_layer(layer), isa.selected()
    option = min(case.options(level, threads).values(), key=lambda found: found.cost)
    if wanted and not any(option.kernel.startswith(name) for name in wanted):
        return None
    site = case.site(level, threads)
    count = ops.get(layer.op).macs
    macs = count(site.attrs, site.inputs, site.outputs) if count else 0
    taken = interleaved({"ours": case.call(option, level, threads), "torch": torch_call(layer, case)})
    best = taken["ours"].minimum
    return {"layer": layer.name, "weights": layer.encoding, "kernel": option.kernel, "ms min": best * 1e3,
            "ms median": taken["ours"].median * 1e3, "GFLOP/s": 2e-9 * macs / best, "torch fp32 ms min": taken["torch"].minimum * 1e3,
            "torch / this": taken["torch"].minimum / best, "estimated ms": option.cost * 1e-6}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m thinfer.benchmarks.kernels", description="Time single layers beside torch's fp32.")
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help="only kernels whose names begin like this: gemm, gemv, depthwise …")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    found = (row(layer, options.threads, options.kernels) for layer in layers())
    print("\n".join(table([line for line in found if line is not None])))
    print(f"\n{machine(describe())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
