"""The activation functions of RNN, LSTM and GRU, with the alpha and beta that some of them take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.record import dataclass
from ._op import OpError

Activation = Callable[[np.ndarray], np.ndarray]
Formula = Callable[[np.ndarray, Any, Any], np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))``; by tanh, which is one pass and never overflows."""
    half = x.dtype.type(0.5)
    return half * np.tanh(half * x) + half


@dataclass(frozen=True)
class Kind:
    """A function of x, alpha and beta. Where it takes one of them: the default, or NaN where ONNX gives none."""

    formula: Formula
    alpha: float | None = None
    beta: float | None = None


KINDS: Mapping[str, Kind] = {
    "Relu": Kind(lambda x, a, b: np.maximum(x, 0)),
    "Tanh": Kind(lambda x, a, b: np.tanh(x)),
    "Sigmoid": Kind(lambda x, a, b: sigmoid(x)),
    "Affine": Kind(lambda x, a, b: a * x + b, np.nan, np.nan),
    "LeakyRelu": Kind(lambda x, a, b: np.where(x >= 0, x, a * x), 0.01),
    "ThresholdedRelu": Kind(lambda x, a, b: np.where(x >= a, x, 0), 1.0),
    "ScaledTanh": Kind(lambda x, a, b: a * np.tanh(b * x), np.nan, np.nan),
    "HardSigmoid": Kind(lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "Elu": Kind(lambda x, a, b: np.where(x >= 0, x, a * np.expm1(np.minimum(x, 0))), 1.0),
    "Softsign": Kind(lambda x, a, b: x / (1 + np.abs(x))),
    "Softplus": Kind(lambda x, a, b: np.logaddexp(x, 0)),
}


@dataclass(frozen=True)
class Chosen:
    """An activation function with its parameters (0 where it takes none)."""

    name: str
    alpha: float
    beta: float

    def function(self, dtype: np.dtype[Any]) -> Activation:
        """The function on arrays of the float ``dtype``."""
        formula, alpha, beta = KINDS[self.name].formula, dtype.type(self.alpha), dtype.type(self.beta)
        return lambda x: formula(x, alpha, beta).astype(dtype, copy=False)


def chosen(place: str, attrs: Mapping[str, Any], default: Sequence[str], directions: int) -> list[list[Chosen]]:
    """The activations of each direction. Alphas and betas are handed out in order to the functions that take them.

    Raises OpError, which names the node by ``place``, for a function that does not exist, a wrong number of them, or a missing parameter.
    """
    names = tuple(attrs["activations"] or tuple(default) * directions)
    if directions == 1 and len(names) == len(default) * 2:
        names = names[:len(default)]  # RNN's own default names two, whatever the direction
    if len(names) != len(default) * directions:
        raise OpError(f"{place} has {len(names)} activations; it takes {len(default) * directions}")
    alphas, betas = list(attrs["activation_alpha"] or ()), list(attrs["activation_beta"] or ())
    found = [_one(place, name, alphas, betas) for name in names]
    return [found[first:first + len(default)] for first in range(0, len(found), len(default))]


def _one(place: str, name: str, alphas: list[float], betas: list[float]) -> Chosen:
    known = {kind.lower(): kind for kind in KINDS}
    if name.lower() not in known:
        raise OpError(f"{place} has the activation {name!r}; it takes {', '.join(KINDS)}")
    kind = KINDS[known[name.lower()]]
    alpha, beta = _next(kind.alpha, alphas), _next(kind.beta, betas)
    if np.isnan(alpha) or np.isnan(beta):
        raise OpError(f"{place} has the activation {name} without activation_alpha and activation_beta; it has no defaults")
    return Chosen(known[name.lower()], alpha, beta)


def _next(default: float | None, given: list[float]) -> float:
    if default is None:
        return 0.0
    return float(given.pop(0)) if given else default
