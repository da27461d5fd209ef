"""From an imported graph to a compressed one: a plain list of passes in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..formats.graph import Graph, verify
from .passes.binarize import binarize
from .passes.canonicalize import canonicalize, drop_identities
from .passes.cluster import Clustering, cluster
from .passes.correct_biases import correct_biases
from .passes.dead_code import dead_code
from .passes.encode import encode
from .passes.fold_batchnorm import fold_batchnorm
from .passes.fold_constants import fold_constants
from .passes.halve import halve
from .passes.prune_channels import prune_channels
from .passes.prune_weights import prune_weights, sparsify
from .passes.quantize_activations import quantize_activations
from .passes.quantize_weights import Grid, quantize_weights
from .passes.ternarize import ternarize
from .recipe import ChannelPruning, Recipe, Settings

Progress = Callable[[str, int, int], None]
"""(what is being done, weights done, weights in all)."""


def compress(graph: Graph, recipe: Recipe, *, calibration: Mapping[str, np.ndarray] | None = None,
             progress: Progress | None = None) -> Graph:
    """The graph compressed as ``recipe`` says. ``calibration``: input name → array, samples first; APoZ pruning and static
    activations need it.

    Raises RecipeError (an override matches nothing), EncodingError (a weight cannot be represented as asked), PruningError.
    """
    # One spelling for one thing, so that the passes after it know fewer cases.
    graph = canonicalize(graph)
    # Before BatchNormalization is folded, whose scales go along with the channels.
    graph = folded(_channels_pruned(graph, recipe, calibration))
    graph = _biases_corrected(graph, weights_compressed(graph, recipe, progress), recipe, calibration, progress)
    # After the weights: which of them are integers decides what is read quantized, and ranges are those that compressed weights make.
    return verify(_activations_quantized(graph, recipe, calibration, progress))


def folded(graph: Graph) -> Graph:
    """The graph without what only training needs."""
    # Nothing is trained from here on, so Dropout and Identity go; one between Conv and BatchNormalization would keep them apart.
    graph = drop_identities(graph)
    # Before weights are pruned or shared: what is stored is what the kernel multiplies by, BatchNormalization's scale included.
    graph = fold_batchnorm(graph)
    # After folding and pruning, which leave constants and weights that nothing reads.
    return dead_code(fold_constants(graph))


def weights_compressed(graph: Graph, recipe: Recipe, progress: Progress | None = None) -> Graph:
    """The last passes, which change weights alone."""
    return settled(graph, recipe.resolve(graph), progress)


def settled(graph: Graph, settings: Mapping[str, Settings], progress: Progress | None = None) -> Graph:
    """The graph whose weights are as ``settings`` says of each by name."""
    # Zeros that are there count as removed when pruning looks for what is smallest.
    graph = sparsify(graph, {name: s.sparsify for name, s in settings.items() if s.sparsify is not None})
    # Before clustering, so that no centroid is spent on weights that go.
    graph = prune_weights(graph, {name: s.prune_weights for name, s in settings.items() if s.prune_weights is not None})
    clusterings = {name: s.values for name, s in settings.items() if isinstance(s.values, Clustering)}
    graph = cluster(graph, clusterings, done=_counted("clustering", len(clusterings), progress))
    grids = {name: s.values for name, s in settings.items() if isinstance(s.values, Grid)}
    graph = quantize_weights(graph, grids, done=_counted("quantizing", len(grids), progress))
    graph = binarize(graph, [name for name, s in settings.items() if s.values == "binary"])
    graph = ternarize(graph, [name for name, s in settings.items() if s.values == "ternary"])
    graph = halve(graph, [name for name, s in settings.items() if s.values == "fp16"])
    # Last: the coder squeezes whatever the others made.
    return encode(graph, {name: s.coder for name, s in settings.items()})


def _channels_pruned(graph: Graph, recipe: Recipe, calibration: Mapping[str, np.ndarray] | None) -> Graph:
    per_node = {o.match: o.prune_channels for o in recipe.overrides if o.prune_channels is not None}
    if recipe.prune_channels is None and not per_node:
        return graph
    asked = recipe.prune_channels or ChannelPruning()
    return prune_channels(graph, fraction=asked.fraction, scope=asked.scope, importance=asked.importance, calibration=calibration,
                          exempt=recipe.exempt_names(graph).__contains__, per_node=per_node, round_to=asked.round_to)


def _biases_corrected(before: Graph, after: Graph, recipe: Recipe, calibration: Mapping[str, np.ndarray] | None,
                      progress: Progress | None) -> Graph:
    def ran(count: int, runs: int) -> None:
        if progress is not None:
            progress("averaging", count, runs)

    return after if calibration is None or not recipe.correct_biases else correct_biases(before, after, calibration, ran)


def _activations_quantized(graph: Graph, recipe: Recipe, calibration: Mapping[str, np.ndarray] | None, progress: Progress | None) -> Graph:
    def ran(count: int, runs: int) -> None:
        if progress is not None:
            progress("calibrating", count, runs)

    return graph if recipe.activations is None else quantize_activations(graph, recipe.activations, calibration, ran)


def _counted(what: str, count: int, progress: Progress | None) -> Callable[[str], object] | None:
    """Tells ``progress`` of each weight that is finished."""
    if progress is None or not count:
        return None
    finished: list[str] = []
    report = progress
    report(what, 0, count)

    def done(name: str) -> None:
        finished.append(name)
        report(what, len(finished), count)

    return done
