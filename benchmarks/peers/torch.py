"""torch. Variants: fp32 (TorchScript, frozen and optimised for inference); csr (its sparse product)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .interface import Case, Loaded, products, size


def load(case: Case) -> Loaded:
    torch.set_num_threads(case.threads)
    torch.set_num_interop_threads(1)
    return _csr(case) if case.variant.startswith("csr") else _script(case)


def _script(case: Case) -> Loaded:
    with torch.inference_mode():
        model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.load(str(case.file("model.ts"))).eval()))

    def bind(x: np.ndarray) -> Callable[[], Any]:
        tensor = torch.from_numpy(x)

        def call() -> Any:
            with torch.inference_mode():
                return model(tensor)

        return call

    return Loaded(bind, "torch", size(case.file("model.ts")), lambda y: y.numpy())


def _csr(case: Case) -> Loaded:
    warnings.simplefilter("ignore")  # that CSR is in beta
    matrix = torch.from_numpy(case.w).to_sparse_csr()
    nbytes = sum(part.nbytes for part in (matrix.values(), matrix.col_indices(), matrix.crow_indices()))

    def multiply(columns: np.ndarray) -> Any:
        with torch.inference_mode():
            return matrix @ torch.from_numpy(columns)

    return products(case, multiply, "torch", nbytes)
