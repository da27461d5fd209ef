"""Thinfer itself, in a process like any peer's. The variant names the packed file: ``VARIANT.thin``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from thinfer import runtime

from .interface import Case, Loaded, size


def load(case: Case) -> Loaded:
    path = case.file(f"{case.variant}.thin")
    session = runtime.load(path, threads=case.threads)
    name, shape = session.inputs[0].name, session.inputs[0].shape
    turned = False

    def bind(x: np.ndarray) -> Callable[[], Any]:
        nonlocal turned
        turned = shape != x.shape  # a model that takes samples in columns
        feeds = {name: np.ascontiguousarray(x.T) if turned else x}
        return lambda: session.run(feeds)

    def finish(found: Any) -> np.ndarray:
        y = next(iter(found.values()))
        return y.T if turned else y

    return Loaded(bind, "thinfer", size(path), finish)
