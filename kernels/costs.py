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
