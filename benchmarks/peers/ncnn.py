"""ncnn, fp32, converted by pnnx from TorchScript."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from .interface import Case, Loaded, size


def _files(case: Case) -> tuple[Path, Path]:
    return case.file("ncnn.param"), case.file("ncnn.bin")


def convert(case: Case) -> None:
    param, weights = _files(case)
    if weights.exists():
        return
    shape = "[" + ",".join(map(str, case.x.shape[1:])) + "]"
    with tempfile.TemporaryDirectory(dir=case.folder) as name:  # pnnx writes beside what it reads
        scratch = Path(name)
        (scratch / "net.pt").symlink_to(case.file("model.ts").resolve())
        subprocess.run([str(Path(sys.prefix) / "bin/pnnx"), "net.pt", f"inputshape={shape}", "fp16=0"], cwd=scratch, check=True, stdout=sys.stderr)
        (scratch / "net.ncnn.param").replace(param)
        (scratch / "net.ncnn.bin").replace(weights)


def load(case: Case) -> Loaded:
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = case.threads, False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    for read, path in zip((net.load_param, net.load_model), _files(case)):
        read(str(path))
    shape = tuple(case.meta["output_shape"])

    def bind(x: np.ndarray) -> Callable[[], Any]:
        # ncnn has no batch axis: images lose the first axis, sequences [time, 1, features] the second
        source = ncnn.Mat(np.ascontiguousarray(x[:, 0] if x.ndim == 3 else x[0])).clone()

        def call() -> Any:
            extractor = net.create_extractor()
            extractor.input("in0", source)
            return np.array(extractor.extract("out0")[1])

        return call

    return Loaded(bind, "ncnn", size(*_files(case)), lambda y: np.array(y).reshape(shape))
