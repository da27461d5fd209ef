"""Cases that RNN, LSTM and GRU have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._op import Arg, Case

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 6, 4


def _weight(directions: int, rows: int, columns: int) -> Arg:
    """As small as trained weights are: with larger ones a long walk is chaotic, and no two roundings agree."""
    bound = 1.5 * columns ** -0.5
    return Arg((directions, rows, columns), low=-bound, high=bound, weight=True)


def case(name: str, gates: int, states: int, *, bias: bool = True, lens: Sequence[int] | None = None, initial: bool = False,
         peepholes: bool = False, sizes: tuple[int, int, int, int] = (STEPS, BATCH, INPUTS, HIDDEN), bench: bool = False, **attrs: Any) -> Case:
    """A case of a cell with so many gates and states. ``sizes``: steps, batch, inputs, hidden."""
    steps, batch, inputs, hidden = sizes
    directions, turned = 2 if attrs.get("direction") == "bidirectional" else 1, attrs.get("layout", 0)
    state = (batch, directions, hidden) if turned else (directions, batch, hidden)
    args = [Arg((batch, steps, inputs) if turned else (steps, batch, inputs)),
            _weight(directions, gates * hidden, inputs), _weight(directions, gates * hidden, hidden),
            Arg((directions, 2 * gates * hidden), weight=True, absent=not bias),
            Arg((batch,), "int32", value=lens, absent=lens is None), *(Arg(state, absent=not initial) for _ in range(states))]
    if states == 2:
        args.append(Arg((directions, 3 * hidden), weight=True, absent=not peepholes))
    while args[-1].absent:
        args.pop()
    return Case(name, tuple(args), {"hidden_size": hidden, **attrs}, bench)


def common_cases(gates: int, states: int, activations: Sequence[str], other: Sequence[str]) -> tuple[Case, ...]:
    """Directions, layouts, sequence lengths, initial states, clip, other activations. ``activations`` are the cell's own."""
    both = "bidirectional"
    return (
        case("plain", gates, states),
        case("no_bias", gates, states, bias=False),
        case("reverse", gates, states, direction="reverse"),
        case("both", gates, states, direction=both),
        case("initial", gates, states, initial=True, direction=both),
        case("lengths", gates, states, lens=(5, 2, 3)),
        case("lengths_reverse", gates, states, lens=(1, 5, 4), direction="reverse", initial=True),
        case("lengths_both", gates, states, lens=(4, 3, 1), direction=both, initial=True, bias=False),
        case("batchwise", gates, states, layout=1, direction=both, initial=True),
        case("batchwise_lengths", gates, states, layout=1, lens=(2, 5, 3), direction="reverse"),
        case("clipped", gates, states, clip=0.25),
        case("one_step", gates, states, sizes=(1, 1, 7, 5), initial=True),
        case("other_activations", gates, states, activations=tuple(other), direction="forward"),
        case("parameters", gates, states, activations=("HardSigmoid", "LeakyRelu", "ScaledTanh")[-len(other):],
             activation_alpha=(0.3, 0.2, 0.9)[-len(other):], activation_beta=(0.4, 1.1) if len(other) > 2 else (1.1,)),
        case("both_activations", gates, states, activations=(*activations, *other), direction=both),
        case("speech", gates, states, sizes=(100, 1, 128, 256), bench=True),
        case("speech_of_four", gates, states, sizes=(20, 4, 128, 256), bench=True),
    )
