"""RNN: ``h' = f(x · Wᵀ + h · Rᵀ + both biases)``, walked over time in one or both directions.

``X`` [steps, batch, inputs], ``W`` [directions, hidden, inputs], ``R`` [directions, hidden, hidden], ``B`` [directions, 2 · hidden].
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
    (f,) = functions

    def step(inputs: np.ndarray, states: States) -> States:
        return (f(clip(inputs + weights.times_r(states[0], ALL))),)

    return weights.bias + weights.recurrent_bias, step


OP = operator("RNN", Cell(1, 1, ("Tanh",), _cell), {"activations": ("Tanh", "Tanh")}, 6, (
    *common_cases(1, 1, ("Tanh",), ("Softsign",)),
    *(case(f"activation_{name.lower()}", 1, 1, activations=(name,), activation_alpha=(0.75,), activation_beta=(0.25,))
      for name in ("Relu", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "Softplus")),
))
