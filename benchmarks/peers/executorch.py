"""ExecuTorch with the XNNPACK delegate. Variants: fp32; int8 (PT2E, symmetric, weights per channel)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .interface import Case, Loaded, size


def _target(case: Case) -> Path:
    return case.file(f"executorch-{case.variant}.pte")


def convert(case: Case) -> None:
    if _target(case).exists():
        return
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.load(str(case.file("model.pt2")))
    if case.variant == "int8":
        program = _quantized(program, case)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    _target(case).write_bytes(lowered.buffer)


def _quantized(program: Any, case: Case) -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program.module(), quantizer)
    for x in case.calibration:
        prepared(torch.from_numpy(x))
    return torch.export.export(convert_pt2e(prepared), (torch.from_numpy(case.x[0]),))


def load(case: Case) -> Loaded:
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    torch.set_num_threads(case.threads)
    portable_lib._unsafe_reset_threadpool(case.threads)
    if portable_lib._threadpool_get_thread_count() != case.threads:
        raise RuntimeError("its thread pool has another number of threads than asked for")
    method = Runtime.get().load_program(str(_target(case))).load_method("forward")

    def bind(x: np.ndarray) -> Callable[[], Any]:
        tensors = [torch.from_numpy(x)]
        return lambda: method.execute(tensors)[0]

    return Loaded(bind, "executorch", size(_target(case)), lambda y: y.numpy())
