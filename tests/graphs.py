"""Small graphs and encoded weights for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from thinfer.formats.graph import Graph, Node, ValueInfo, verify
from thinfer.formats.tensor import Binary, Codebook, EncodedTensor, Plain, Sparse
from thinfer.kernels.ops._op import Case, Op
from thinfer.runtime.interpreter import evaluate

CHANNEL_AXIS = {"Conv": lambda attrs, rank: 0, "Gemm": lambda attrs, rank: 0 if attrs.get("transB") else 1, "MatMul": lambda attrs, rank: rank - 1}

ENCODINGS = ("fp32", "fp16", "codebook1", "codebook2", "codebook3", "codebook4", "codebook5", "codebook6", "codebook7", "codebook8",
             "codebook4-groups", "codebook4-int8", "codebook3-fp16", "binary", "sparse", "sparse-fp16", "sparse-codebook4",
             "sparse-codebook8", "sparse-codebook2-groups", "sparse-binary")


def encode(array: np.ndarray, kind: str, axis: int = 0, seed: int = 0) -> EncodedTensor:
    """A random tensor of the array's shape in the encoding ``kind`` (for plain kinds: the array itself)."""
    rng = np.random.default_rng(seed)
    structure_name, _, rest = kind.partition("-") if kind.startswith("sparse") else ("dense", "", kind)
    values_name, _, detail = (rest or "fp32").partition("-")
    kept = np.ones(array.size, bool) if structure_name == "dense" else rng.random(array.size) < 0.3
    held = int(kept.sum())
    channels = array.shape[axis]
    extra = {} if structure_name == "dense" else {"structure": Sparse.of(kept)}
    scale = rng.uniform(0.5, 1.5, channels).astype(np.float32)
    if values_name.startswith("fp"):
        data = array.ravel()[kept].astype(np.float16 if values_name == "fp16" else np.float32)
        return EncodedTensor(array.shape, "float32", Plain(data), axis=axis, **extra)
    if values_name == "binary":
        return EncodedTensor(array.shape, "float32", Binary(rng.integers(0, 2, held).astype(np.uint8), scale), axis=axis, **extra)
    bits = int(values_name.removeprefix("codebook"))
    groups = min(3, channels) if detail == "groups" else 1
    entries = rng.uniform(-1, 1, (groups, 2**bits)).astype(np.float32)
    per_channel: np.ndarray | None = None
    if detail == "int8":
        entries, per_channel = np.round(entries * 127).astype(np.int8), scale / 127
    if detail == "fp16":
        entries = entries.astype(np.float16)
    indices = rng.integers(0, 2**bits, held).astype(np.uint8)
    return EncodedTensor(array.shape, "float32", Codebook(indices, bits, entries, per_channel), axis=axis, **extra)


def graph_of(op: Op, case: Case, encoding: str | None = None, seed: int = 0) -> tuple[Graph, dict[str, np.ndarray]]:
    """A graph of one node, and what to feed it; inputs marked ``weight`` are encoded, those marked ``constant`` are constants."""
    inputs, weights, feeds, names = [], {}, {}, []
    for i, (arg, array) in enumerate(zip(case.args, case.arrays(seed))):
        names.append(f"in{i}" if array is not None else "")
        if array is None:
            continue
        if arg.weight or arg.constant:
            axis = CHANNEL_AXIS[op.name](case.attrs, array.ndim) if op.name in CHANNEL_AXIS and i == 1 else 0
            is_encoded = encoding is not None and i == next(k for k, other in enumerate(case.args) if other.weight)
            weights[f"in{i}"] = encode(array, encoding, axis, seed) if is_encoded else EncodedTensor.dense(array)
        else:
            inputs.append(ValueInfo(f"in{i}", array.dtype.name, array.shape))
            feeds[f"in{i}"] = array
    outs = outputs_of(op, case)
    node = Node(op.name, tuple(names), tuple(f"out{i}" for i in range(len(outs))), case.attrs)
    infos = tuple(ValueInfo(f"out{i}", dtype, shape) for i, (dtype, shape) in enumerate(outs))
    return verify(Graph(tuple(inputs), infos, (node,), weights)), feeds


def outputs_of(op: Op, case: Case) -> list[tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of the outputs, by running the case."""
    return [(out.dtype.name, out.shape) for out in op.run({**op.attributes, **case.attrs}, *case.arrays())[:case.outputs]]


def wide(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The feeds with float32 raised to float64."""
    return {name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in feeds.items()}


def reference(graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs in float64, by the operators' NumPy implementations (which have references of their own)."""
    return evaluate(graph, wide(feeds))


def magnitude(graph: Graph, feeds: Mapping[str, np.ndarray]) -> float:
    """Largest sum of |products| behind any output of a linear node: what rounding errors are in proportion to, also where sums cancel."""
    weights = {name: EncodedTensor.dense(np.abs(tensor.decode())) for name, tensor in graph.weights.items()}
    sums = reference(replace(graph, weights=weights), {name: np.abs(array) for name, array in feeds.items()})
    return max(float(out.max(initial=0)) for out in sums.values())


def error(got: np.ndarray, expected: np.ndarray, magnitude: float = 0.0) -> float:
    """max|Δ| / max(max|reference|, magnitude); infinite where the shapes or the places of NaN differ."""
    if got.shape != expected.shape or not np.array_equal(np.isnan(got), np.isnan(expected)):
        return float("inf")
    if got.size == 0:
        return 0.0
    same = (got == expected) | np.isnan(expected)
    difference = np.where(same, 0, np.abs(np.where(same, 0, got.astype(np.float64)) - np.where(same, 0, expected)))
    scale = np.max(np.abs(expected), initial=magnitude, where=np.isfinite(expected))
    return float(difference.max() / scale) if scale else float(difference.max())


def weight_cases(op: Op) -> Iterator[Case]:
    """The op's cases with an encodable weight."""
    return (case for case in op.cases if any(arg.weight for arg in case.args))
