"""What a peer's module takes and gives.

A module has ``load(case) -> Loaded`` and may have ``convert(case)``, which writes the files that ``load`` reads; it runs in a process of its
own, once, so that the process that is timed never imported a converter. Plain classes: ``dataclasses`` takes 10 ms to import, of every contender's
seconds from a fresh process to the first output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np


class Case:
    """A case as it lies on disk. ``folder`` holds ``x.npy`` (samples first), ``reference.npy`` (float64), ``meta.json`` and, where there
    is a network to convert, ``model.onnx`` (opset 17), ``model.ts`` (TorchScript) and ``model.pt2``; a matrix product has ``w.npy``
    [outputs, inputs]; what is to be calibrated has ``calibration.npy`` (samples first). ``variant``: in which form the peer runs it."""

    def __init__(self, folder: str, variant: str, threads: int) -> None:
        self.folder, self.variant, self.threads = Path(folder), variant, threads

    @cached_property
    def meta(self) -> dict[str, Any]:
        import json

        return dict(json.loads((self.folder / "meta.json").read_text()))

    def file(self, name: str) -> Path:
        return self.folder / name

    @property
    def model(self) -> Path:
        """The network in ONNX, of the variant if it has one of its own (``model-VARIANT.onnx``)."""
        own = self.folder / f"model-{self.variant}.onnx"
        return own if own.exists() else self.folder / "model.onnx"

    @property
    def x(self) -> np.ndarray:
        """float32 [samples, …]: inputs, each as the model takes it."""
        return np.load(self.folder / "x.npy")

    @property
    def first(self) -> np.ndarray:
        """The first sample alone, the others unread."""
        return np.array(np.load(self.folder / "x.npy", mmap_mode="r")[0])

    @property
    def rows(self) -> np.ndarray:
        """float32 [samples, rows, inputs]: what the matrix is multiplied with. A convolution's are its lowered images."""
        lowered = self.folder / "lowered.npy"
        return np.load(lowered) if lowered.exists() else self.x

    @property
    def calibration(self) -> np.ndarray:
        return np.load(self.folder / "calibration.npy")

    @property
    def w(self) -> np.ndarray:
        """float32 [outputs, inputs], of the variant if it has one of its own."""
        own = self.folder / f"w-{self.variant}.npy"
        return np.load(own if own.exists() else self.folder / "w.npy")


class Loaded:
    """``bind(x)`` gives a call that runs one inference and returns what ``finish`` makes an array of, in the logical order of the reference.
    ``package``: whose version is to be named. ``nbytes``: of the model's files on disk. ``samples``: what to bind instead of the case's ``x``."""

    def __init__(self, bind: Callable[[np.ndarray], Callable[[], Any]], package: str, nbytes: int, finish: Callable[[Any], np.ndarray] = np.asarray,
                 samples: np.ndarray | None = None) -> None:
        self.bind, self.package, self.nbytes, self.finish, self.samples = bind, package, nbytes, finish, samples


def size(*paths: Path) -> int:
    return sum(path.stat().st_size for path in paths)


def products(case: Case, multiply: Callable[[np.ndarray], Any], package: str, nbytes: int) -> Loaded:
    """``multiply`` takes the columns [inputs, rows], or one vector, and gives [outputs, rows], or one vector."""
    samples, shape = case.rows, tuple(case.meta["output_shape"])
    image = len(shape) == 4  # [1, outputs, height, width], which is as the product lies

    def bind(x: np.ndarray) -> Callable[[], Any]:
        columns = np.ascontiguousarray(x.T) if len(x) > 1 else x[0].copy()
        return lambda: multiply(columns)

    def finish(y: Any) -> np.ndarray:
        found = np.asarray(y)
        return (found if image else found.T).reshape(shape)

    return Loaded(bind, package, nbytes, finish, samples)
