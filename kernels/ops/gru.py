"""GRU: update gate z, reset gate r, hidden gate h; ``h' = (1 - z) ⊙ g + z ⊙ h``, walked over time in one or both directions.

``X`` [steps, batch, inputs], ``W`` [directions, 3 · hidden, inputs], ``R`` [directions, 3 · hidden, hidden], ``B`` [directions, 6 · hidden],
the gates in the order z, r, h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._cell_activations import Activation
from ._recurrence import ALL, Cell, States, Step, Weights, operator
from ._recurrence_cases import case, common_cases


def _cell(attrs: Mapping[str, Any], weights: Weights, functions: Sequence[Activation],
          clip: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, Step]:
    """With linear_before_reset the reset gate scales the product with R and its bias, otherwise the hidden state ahead of the product."""
    (f, g), hidden = functions, len(weights.bias) // 3
    early, late, rest = weights.recurrent_bias.copy(), weights.recurrent_bias[2 * hidden:], slice(2 * hidden, None)
    if attrs["linear_before_reset"]:
        early[2 * hidden:] = 0

    def step(inputs: np.ndarray, states: States) -> States:
        (h,) = states
        products = weights.times_r(h, ALL if attrs["linear_before_reset"] else slice(2 * hidden))
        gates = f(clip(inputs[:, :2 * hidden] + products[:, :2 * hidden]))
        z, r = gates[:, :hidden], gates[:, hidden:]
        inner = r * (products[:, 2 * hidden:] + late) if attrs["linear_before_reset"] else weights.times_r(r * h, rest)
        candidate = g(clip(inputs[:, 2 * hidden:] + inner))
        return ((1 - z) * candidate + z * h,)

    return weights.bias + early, step


OP = operator("GRU", Cell(3, 1, ("Sigmoid", "Tanh"), _cell), {"linear_before_reset": 0}, 6, (
    *common_cases(3, 1, ("Sigmoid", "Tanh"), ("HardSigmoid", "Softsign")),
    case("linear_before_reset", 3, 1, linear_before_reset=1, direction="bidirectional", initial=True),
    case("linear_before_reset_clipped", 3, 1, linear_before_reset=1, clip=0.5, lens=(5, 1, 3)),
    case("speech_linear_before_reset", 3, 1, linear_before_reset=1, sizes=(100, 1, 128, 256), bench=True),
))
