"""Small graphs and encoded weights for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from random_weights import random_windows
from thinfer.formats.graph import Graph, Node, ValueInfo, verify
from thinfer.formats.tensor import Affine, Binary, Blocks, Codebook, Dense, EncodedTensor, Plain, Sparse, Structure, Ternary, Values, View
from thinfer.kernels.ops._op import Case, Op
from thinfer.runtime.interpreter import evaluate

CHANNEL_AXIS = {"Conv": lambda attrs, rank: 0, "Gemm": lambda attrs, rank: 0 if attrs.get("transB") else 1, "MatMul": lambda attrs, rank: rank - 1}

DENSE_VALUES = ("fp32", "fp16", "codebook1", "codebook2", "codebook3", "codebook4", "codebook5", "codebook6", "codebook7", "codebook8",
                "codebook4-groups", "codebook4-int8", "codebook3-fp16", "binary", "ternary", "affine2-tensor", "affine4-block",
                "affine4-block-symmetric", "affine5-channel", "affine8-channel-symmetric", "affine7-tensor-block")
OTHER_VALUES = ("fp32", "fp16", "codebook4", "codebook2-groups", "binary", "ternary", "affine4-block", "affine8-channel-symmetric")
OTHER_STRUCTURES = ("sparse", "4:16", "1:32", "20:64", "1x4", "4x1", "4x4")
ENCODINGS = (*DENSE_VALUES, *(f"{structure} {values}" for structure in OTHER_STRUCTURES for values in OTHER_VALUES))
"""Values, or a structure and values: ``n:m`` windowed, ``rxc`` blocks."""


def encode(array: np.ndarray, kind: str, axis: int = 0, seed: int = 0) -> EncodedTensor:
    """A random tensor of the array's shape in the encoding ``kind`` (for plain kinds: the array itself)."""
    rng = np.random.default_rng(seed)
    structure_name, _, values_name = kind.rpartition(" ")
    view = View(array.shape, axis)
    structure = structure_of(rng, view, structure_name)
    return EncodedTensor(array.shape, "float32", values_of(rng, view, values_name, array.ravel()[structure.kept(view)]), structure, axis)


def structure_of(rng: np.random.Generator, view: View, name: str) -> Structure:
    if ":" in name:
        n, m = map(int, name.split(":"))
        return random_windows(rng, view, n, m)
    if "x" in name:
        r, c = int(name[0]), int(name[2])
        return Blocks.of(rng.random((-(-view.channels // r), -(-view.inputs // c))) < 0.3, (r, c))
    return Sparse.of(rng.random(view.size) < 0.3) if name == "sparse" else Dense()


def values_of(rng: np.random.Generator, view: View, name: str, array: np.ndarray) -> Values:
    """Of the held elements ``array``, which plain kinds keep."""
    kind, *details = name.split("-")
    scale = rng.uniform(0.5, 1.5, view.channels).astype(np.float32)
    if kind.startswith("fp"):
        return Plain(array.astype(np.float16 if kind == "fp16" else np.float32))
    if kind == "binary":
        return Binary(rng.integers(0, 2, array.size).astype(np.uint8), scale)
    if kind == "ternary":
        return Ternary(rng.integers(0, 3, array.size).astype(np.uint8), scale)
    bits = int(kind[-1])
    symbols = rng.integers(0, 2**bits, array.size).astype(np.uint8)
    if kind.startswith("affine"):
        block = 32 if "block" in details else view.inputs
        shape = (1 if "tensor" in details else view.channels, -(-view.inputs // block))
        zero_point = None if "symmetric" in details else rng.integers(0, 2**bits, shape).astype(np.uint8)
        return Affine(symbols, bits, rng.uniform(0.5, 1.5, shape).astype(np.float32) / 2**bits, zero_point, block)
    entries = rng.uniform(-1, 1, (min(3, view.channels) if "groups" in details else 1, 2**bits)).astype(np.float32)
    if "int8" in details:
        return Codebook(symbols, bits, np.round(entries * 127).astype(np.int8), scale / 127)
    if "bf16" in details:  # 8 significant bits, the second half of the entries with the other sign
        entries = (entries.view(np.uint32) & np.uint32(0xffff0000)).view(np.float32)
        entries[:, 2**bits // 2:] = -entries[:, :2**bits // 2]
    return Codebook(symbols, bits, entries.astype(np.float16) if "fp16" in details else entries)


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
