"""The Numba backend in a plan: the nodes of its Python segments that kernels/numba compiles. Numba is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..formats.graph import Node
from ..kernels.lowering import Site
from ..kernels.ops._op import Body
from .interpreter import Compiled
from .weights import Pack, PackedWeights

if TYPE_CHECKING:
    from .partition import Partitioner

Runner = Callable[[Sequence["np.ndarray | None"]], np.ndarray]


class NumbaNodes:
    """What Numba runs, with so many threads (at most as many as it was started with). Raises ImportError where Numba is not installed."""

    def __init__(self, threads: int) -> None:
        import numba

        from ..kernels.numba.runners import runner

        self._runner: Callable[..., Runner | None] = runner
        self._set_threads: Callable[[int], None] = numba.set_num_threads
        self._threads = min(threads, numba.config.NUMBA_NUM_THREADS)

    def compiled(self, partitioner: Partitioner, weights: PackedWeights) -> Mapping[int, Compiled]:
        """id of a node → what runs it, for the nodes of a graph that Numba has kernels for."""
        found: dict[int, Compiled] = {}
        for node in partitioner.graph.nodes:
            site = partitioner.site(node)
            if site is None or not _of_floats(site) or any(node.inputs[i] not in weights.source for i in site.weights if i == 1):
                continue
            run = self._runner(site, self._packed(node, weights))
            if run is not None:
                found[id(node)] = self._names(node, site), self._in_threads(run)
        return found

    @staticmethod
    def _packed(node: Node, weights: PackedWeights) -> Callable[[int, str, Pack], np.ndarray]:
        return lambda i, layout, pack: weights.packed(node.inputs[i], layout, pack)

    @staticmethod
    def _names(node: Node, site: Site) -> Sequence[str]:
        return tuple("" if i in site.weights else name for i, name in enumerate(node.inputs))

    def _in_threads(self, run: Runner) -> Callable[[Sequence[np.ndarray | None], Mapping[str, Body] | None], tuple[np.ndarray, ...]]:
        def outputs(args: Sequence[np.ndarray | None], _: Any) -> tuple[np.ndarray, ...]:
            self._set_threads(self._threads)
            return (run(args),)

        return outputs


def _of_floats(site: Site) -> bool:
    """Whether everything that is not a constant is float32."""
    kinds = (*site.outputs, *(kind for i, kind in enumerate(site.inputs) if i not in site.weights))
    return all(kind is None or kind.dtype == "float32" for kind in kinds)
