"""How large a model would be under each recipe, told in seconds from samples of its weights.

A large weight is cut to some of its channels, which the recipe's own passes compress and the writer's own coders write; what of that is
no table counts for all of them. Of many weights with the same settings some stand for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..formats import writer
from ..formats.blob_writer import encode_blob
from ..formats.errors import ThinferError
from ..formats.graph import Graph
from ..formats.tensor import Affine, Dense, EncodedTensor, Symbols
from . import recipe as recipes
from .passes._edit import is_plain
from .pipeline import folded, settled
from .recipe import Recipe, Settings

SAMPLE = 1 << 15
"""Elements of a weight that are looked at."""

FEWEST_CHANNELS = 4
"""Channels of which they are, where one is long."""

LOOKED_AT = 6
"""Weights with the same settings that are looked at; the others take as much for each element."""

ALIGNED_FROM, ALIGNMENT = 4096, 32
"""Raw bytes from which a blob is aligned, and what that costs on average."""


@dataclass(frozen=True)
class Estimate:
    """``nbytes``: of the whole file, about. ``ratio``: of the source's bytes over it. Where the recipe refuses the model both are None,
    and ``problem`` says why."""

    recipe: str
    nbytes: int | None
    ratio: float | None
    problem: str = ""


def estimates(graph: Graph, names: list[str] | None = None) -> Iterator[Estimate]:
    """One for each recipe in ``names``, by default every preset."""
    base = folded(graph)
    header = writer.header_size(base)
    known: dict[tuple[str, Settings], float] = {}
    for name in names if names is not None else recipes.presets():
        try:
            nbytes = header + sum(_sizes(base, recipes.load(name), known))
        except ThinferError as error:
            yield Estimate(name, None, None, str(error))
            continue
        yield Estimate(name, round(nbytes), graph.source.nbytes / max(nbytes, 1))


def _sizes(graph: Graph, recipe: Recipe, known: dict[tuple[str, Settings], float]) -> Iterator[float]:
    """Bytes of the weights with each of the settings that occur. ``known``: what other recipes have asked of the same weight."""
    settings = recipe.resolve(graph)
    alike: dict[Settings, list[str]] = {}
    for name in graph.weights:
        alike.setdefault(settings.get(name, Settings()), []).append(name)
    for asked, names in alike.items():
        chosen = names if asked == Settings() else _spread(sorted(names, key=lambda name: graph.weights[name].size))
        for name in chosen:
            if (name, asked) not in known:
                known[name, asked] = _size(name, graph.weights[name], asked)
        looked_at, elements = (sum(graph.weights[name].size for name in some) for some in (chosen, names))
        yield sum(known[name, asked] for name in chosen) * elements / max(looked_at, 1)


def _spread(names: list[str]) -> list[str]:
    """At most LOOKED_AT of them, the first and the last included."""
    return [names[i] for i in sorted({*np.linspace(0, len(names) - 1, LOOKED_AT).astype(int)})]


def _size(name: str, tensor: EncodedTensor, asked: Settings) -> float:
    """Bytes of one weight's blob."""
    if asked == Settings() or not tensor.size:
        stored = len(encode_blob(name, tensor)[0])
        return stored + ALIGNMENT * (stored >= ALIGNED_FROM)
    cut = _cut(tensor)
    made = settled(Graph((), (), (), {name: cut}), {name: asked}).weights[name]
    if cut is tensor:
        return len(encode_blob(name, made)[0])
    fixed = _tables(made, made.channels, made.view.inputs)
    return (len(encode_blob(name, made)[0]) - fixed) * tensor.size / cut.size + _tables(made, tensor.channels, tensor.view.inputs)


def _cut(tensor: EncodedTensor) -> EncodedTensor:
    """Some of the channels, whole unless they are very long. What a model brings on a grid stays on it."""
    grid = tensor.values
    on_grid = isinstance(grid, Affine) and isinstance(tensor.structure, Dense)
    if tensor.size <= SAMPLE or not (on_grid or is_plain(tensor)):
        return tensor
    rows = _rows(tensor, tensor.decode())
    width = min(rows.shape[1], SAMPLE // FEWEST_CHANNELS)
    count = min(len(rows), SAMPLE // width)
    # As many of the small channels as of the large: training that prunes leaves some with hardly anything in them.
    ordered = np.argsort(np.abs(rows).sum(axis=1), kind="stable")
    chosen = np.sort(ordered[((np.arange(count) + 0.5) * len(rows) / count).astype(int)])
    cut = EncodedTensor.dense(rows[chosen, :width], axis=0)
    if not isinstance(grid, Affine):
        return cut
    block = min(grid.block, width)
    point = (chosen if len(grid.scale) > 1 else slice(None), slice(-(-width // block)))
    zero_point = None if grid.zero_point is None else grid.zero_point[point]
    codes = _rows(tensor, grid.codes.reshape(tensor.shape))[chosen, :width].ravel()
    return replace(cut, values=replace(grid, codes=codes, scale=grid.scale[point], zero_point=zero_point, block=block))


def _rows(tensor: EncodedTensor, elements: np.ndarray) -> np.ndarray:
    """[channels, inputs]."""
    return np.moveaxis(elements, tensor.axis, 0).reshape(tensor.channels, -1)


def _tables(made: EncodedTensor, channels: int, inputs: int) -> int:
    """Bytes of what the symbols of a weight of so many channels and inputs would stand for, if it were encoded as ``made`` is."""
    values = made.values
    if not isinstance(values, Symbols) or values.scale is None:
        return values.nbytes_tables
    blocks = -(-inputs // values.block) if isinstance(values, Affine) else 1
    grids = (channels if values.scale.shape[0] > 1 else 1) * blocks
    point = 1 if isinstance(values, Affine) and values.zero_point is not None else 0
    return values.nbytes_tables + (grids - values.scale.size) * (values.scale.itemsize + point)
