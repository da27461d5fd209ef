"""A compressed model beside dense ones: outputs compared, then latency in turns, bytes in RAM and on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..formats import writer
from ..formats.graph import Graph
from ..formats.tensor import EncodedTensor
from ..runtime import Session, load
from .compare import compare
from .errors import UsageError
from .timing import interleaved


@dataclass(frozen=True)
class Contender:
    """A model that takes part. ``nbytes_file``: of its ``.thin`` file."""

    name: str
    session: Session
    nbytes_file: int


@dataclass(frozen=True)
class Measured:
    """``error``: max|Δ| / max|own| of the first contender's outputs against this one's; NaN if an output has no numbers at all.
    ``nonfinite``: elements of this one's outputs that are infinite or no number. ``speedup``, ``ram_ratio``, ``file_ratio``:
    this one's median latency and bytes over the first contender's, so that bigger says better of the first."""

    name: str
    seconds_min: float
    seconds_median: float
    nbytes_ram: int
    nbytes_file: int
    error: float
    nonfinite: int
    speedup: float
    ram_ratio: float
    file_ratio: float


def dense_contender(name: str, graph: Graph, threads: int) -> Contender:
    """``graph`` as it would be if it were packed now."""
    return Contender(name, load(graph, threads=threads), len(writer.to_bytes(graph)))


def expanded(graph: Graph) -> Graph:
    """The same graph with every weight dense, in plain values of its own dtype, and activations that are not quantized."""
    return replace(graph, quantized={}, weights={name: EncodedTensor.dense(tensor.decode(), axis=tensor.axis)
                                   for name, tensor in graph.weights.items()})


def ram_of(session: Session) -> int:
    """Bytes of the weights in RAM, as the kernels in use read them."""
    return sum(int(entry["nbytes"]) for entry in session.weight_memory().values())


def measure(contenders: Sequence[Contender], feeds: Mapping[str, np.ndarray],
            progress: Callable[[int, int], None] | None = None) -> list[Measured]:
    """A row per contender, in order; all run on ``feeds`` of the first one. Raises UsageError if their inputs or outputs differ."""
    own = [_feeds_for(contender, feeds) for contender in contenders]
    outputs = [contender.session.run(given) for contender, given in zip(contenders, own)]
    compared = [compare(outputs[0], found) for found in outputs]
    errors = [float(np.max([row.error for row in rows], initial=0.0)) for rows in compared]
    nonfinite = [sum(row.reference_nonfinite for row in rows) for rows in compared]
    calls = {str(place): _call(contender.session, given) for place, (contender, given) in enumerate(zip(contenders, own))}
    latency = list(interleaved(calls, progress).values())
    ram = [ram_of(contender.session) for contender in contenders]
    first = contenders[0]
    return [Measured(c.name, latency[i].minimum, latency[i].median, ram[i], c.nbytes_file, errors[i], nonfinite[i],
                     latency[i].median / latency[0].median, ram[i] / max(ram[0], 1), c.nbytes_file / first.nbytes_file)
            for i, c in enumerate(contenders)]


def _call(session: Session, feeds: Mapping[str, np.ndarray]) -> Callable[[], object]:
    return lambda: session.run(feeds)


def _feeds_for(contender: Contender, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The feeds under the contender's own names of its inputs."""
    infos = contender.session.inputs
    if len(infos) != len(feeds):
        raise UsageError(f"{contender.name} has {len(infos)} inputs, but the file has {len(feeds)}")
    names = {info.name for info in infos}
    return dict(feeds) if names == set(feeds) else {info.name: array for info, array in zip(infos, feeds.values())}
