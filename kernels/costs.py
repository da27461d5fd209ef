"""Measured costs, from which lowerings estimate nanoseconds on one thread: units of work × a constant.

One dict per family, one constant per kernel (the unit is said beside it). Rough on purpose: they only have to rank the ways
of running a node. Measured with AVX-512 at about 2.6 GHz; each family's README has the commands.
"""

STEP = 150.0
"""Starting a step: the engine's call, decoding parameters, a barrier."""

MOVEMENT = {
    "copy_tiles": 0.28,  # per float
    "copy_rows": 0.12,  # per float
    "row": 4.0,  # per row
}

ELEMENTWISE = {
    "clamp": 0.18,  # per float, as all below but the last
    "sigmoid": 0.4,
    "tanh": 0.5,
    "hard_sigmoid": 0.18,
    "hard_swish": 0.18,
    "binary": 0.2,
    "strided": 2.0,
    "scale_shift": 0.18,
    "row": 3.0,  # per row of a broadcast operation
}
