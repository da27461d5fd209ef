"""LSTM: input gate i, output gate o, forget gate f, cell gate c; ``c' = f ⊙ c + i ⊙ g``, ``h' = o ⊙ h(c')``, walked over time.

``X`` [steps, batch, inputs], ``W`` [directions, 4 · hidden, inputs], ``R`` [directions, 4 · hidden, hidden], ``B`` [directions, 8 · hidden],
``P`` (peepholes, from the cell state into the gates i, o, f) [directions, 3 · hidden]; the gates in the order i, o, f, c.
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
    """The peephole of the output gate sees the new cell state. With input_forget the forget gate is ``1 - i``.

    ``clip`` bounds what enters the gates, not the cell state on its way to h: the specification can be read either way, and this
    is how onnxruntime reads it.
    """
    f, g, h = functions
    peeps = None if weights.peepholes is None else np.split(weights.peepholes, 3)

    def step(inputs: np.ndarray, states: States) -> States:
        before, cell = states
        i, o, forget, c = np.split(inputs + weights.times_r(before, ALL), 4, axis=1)
        if peeps is not None:
            i, forget = i + peeps[0] * cell, forget + peeps[2] * cell
        i = f(clip(i))
        forget = 1 - i if attrs["input_forget"] else f(clip(forget))
        cell = forget * cell + i * g(clip(c))
        if peeps is not None:
            o = o + peeps[1] * cell
        return f(clip(o)) * h(cell), cell

    return weights.bias + weights.recurrent_bias, step


OP = operator("LSTM", Cell(4, 2, ("Sigmoid", "Tanh", "Tanh"), _cell), {"input_forget": 0}, 8, (
    *common_cases(4, 2, ("Sigmoid", "Tanh", "Tanh"), ("HardSigmoid", "Softsign", "Relu")),
    case("peepholes", 4, 2, peepholes=True),
    case("peepholes_both", 4, 2, peepholes=True, direction="bidirectional", initial=True, lens=(5, 2, 4)),
    case("input_forget", 4, 2, input_forget=1, peepholes=True, initial=True),
    case("clipped_peepholes", 4, 2, clip=0.3, peepholes=True, initial=True),
))
