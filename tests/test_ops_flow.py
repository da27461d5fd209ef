"""Channel flow: removing tied indices from every tensor of a node equals zeroing them, and the axes that ought to be free are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from ops_cases import Arrays, all_cases, named, node_of
from thinfer.formats.graph import Node
from thinfer.kernels import ops
from thinfer.kernels.ops._op import Arg, Case, Op, Shapes

Axis = tuple[str, int]
Point = tuple[str, int, int]
WIDE = {"MaxPool": 2, "Dropout": 2}
"""Operators that are also tried with their optional output."""


class Classes:
    """A small union-find over (tensor, axis, index)."""

    def __init__(self, lengths: Mapping[str, tuple[int, ...]]) -> None:
        self.lengths = lengths
        self.parent: dict[Point, Point] = {
            (name, axis, i): (name, axis, i) for name, shape in lengths.items() for axis, n in enumerate(shape) for i in range(n)}
        self.mentioned: set[Axis] = set()

    def root(self, point: Point) -> Point:
        while self.parent[point] != point:
            point = self.parent[point]
        return point

    def __call__(self, a: Axis, b: Axis, index_a: np.ndarray | None = None, index_b: np.ndarray | None = None) -> None:
        if index_a is None or index_b is None:
            assert index_a is None
            assert index_b is None
            assert self.lengths[a[0]][a[1]] == self.lengths[b[0]][b[1]]
            index_a = index_b = np.arange(self.lengths[a[0]][a[1]])
        assert len(index_a) == len(index_b)
        self.mentioned |= {a, b}
        for i, j in zip(index_a.tolist(), index_b.tolist()):
            self.parent[self.root((*a, i))] = self.root((*b, j))

    def free(self) -> dict[Point, list[Point]]:
        """The classes without an unmentioned axis, by root."""
        found: dict[Point, list[Point]] = {}
        for point in self.parent:
            found.setdefault(self.root(point), []).append(point)
        return {root: points for root, points in found.items() if all(point[:2] in self.mentioned for point in points)}


def classes_of(op: Op, node: Node, arrays: Arrays, results: tuple[np.ndarray, ...], known: bool = True) -> Classes:
    tensors = {name: array for name, array in (*zip(node.inputs, arrays), *zip(node.outputs, results)) if name and array is not None}
    lengths = {name: array.shape for name, array in tensors.items()}
    tie = Classes(lengths)
    if op.flow is not None:
        constants = {name: array for name, array in tensors.items() if name in node.inputs and array.size <= 1024}
        op.flow(node, op.attrs_of(node), Shapes(lengths, constants) if known else lengths, tie)
    return tie


def chosen(tie: Classes, rng: np.random.Generator) -> dict[Axis, list[int]]:
    """Random classes, as indices per axis; no axis is emptied."""
    going: dict[Axis, list[int]] = {}
    free = list(tie.free().values())
    for k in rng.permutation(len(free)):
        more: dict[Axis, list[int]] = {}
        for name, axis, index in free[k]:
            more.setdefault((name, axis), []).append(index)
        if rng.random() < 0.6 and all(len(going.get(a, [])) + len(i) < tie.lengths[a[0]][a[1]] for a, i in more.items()):
            for at, indices in more.items():
                going.setdefault(at, []).extend(indices)
    return going


def without(name: str, array: np.ndarray, going: Mapping[Axis, list[int]]) -> np.ndarray:
    for axis in range(array.ndim):
        array = np.delete(array, going.get((name, axis), []), axis)
    return array


def zeroed(name: str, array: np.ndarray, going: Mapping[Axis, list[int]]) -> np.ndarray:
    array = array.copy()
    for axis in range(array.ndim):
        array[(slice(None),) * axis + (going.get((name, axis), []),)] = 0
    return array


def check(op: Op, case: Case, outputs: int, known: bool, seed: int) -> int:
    """Runs the case with random classes zeroed and with them removed; returns how many indices went."""
    arrays = [a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in case.arrays(seed)]
    node = node_of(op, arrays, case.attrs, outputs)
    attrs = op.attrs_of(node)
    with np.errstate(all="ignore"):
        tie = classes_of(op, node, arrays, op.run(attrs, *arrays)[:outputs], known)
    going = chosen(tie, np.random.default_rng(seed))
    zero = [None if a is None else zeroed(name, a, going) for name, a in zip(node.inputs, arrays)]
    less = [None if a is None else without(name, a, going) for name, a in zip(node.inputs, arrays)]
    with np.errstate(all="ignore"):
        expected = [without(name, array, going) for name, array in zip(node.outputs, op.run(attrs, *zero))]
        if op.resize is not None:
            attrs = op.attrs_of(node_of(op, less, op.resize(attrs, {k: a.shape for k, a in enumerate(less) if a is not None})))
        if op.resize_constants is not None:
            constants = {k: a for k, a in enumerate(arrays) if a is not None and case.args[k].constant}
            gone = {(k, axis): (a.shape[axis], index) for k, (name, a) in enumerate(zip(node.inputs, arrays)) if a is not None
                    for axis in range(a.ndim) if (index := going.get((name, axis)))}
            for place, array in op.resize_constants(attrs, constants, [e.shape for e in expected], gone).items():
                less[place] = array
        found = op.run(attrs, *less)
    for got, wanted in zip(found, expected):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    return sum(map(len, going.values()))


@pytest.mark.parametrize("pair", all_cases(bench=False), ids=named)
def test_removing_equals_zeroing(pair: tuple[Op, Case]) -> None:
    op, case = pair
    for known in (True, False):
        for outputs in {1, WIDE.get(op.name, 1)}:
            for seed in range(4):
                check(op, case, outputs, known, seed)


FREE = {
    # operator, case: axes whose every index may go
    ("Conv", "valid"): {("i0", 0), ("i0", 1), ("i1", 0), ("i1", 1), ("i2", 0), ("y0", 0), ("y0", 1)},
    ("Conv", "groups"): {("i0", 0), ("i0", 1), ("i1", 0), ("i1", 1), ("i2", 0), ("y0", 0), ("y0", 1)},
    ("Conv", "depthwise"): {("i0", 0), ("i0", 1), ("i1", 0), ("i2", 0), ("y0", 0), ("y0", 1)},
    ("Conv", "depth_multiplier"): {("i0", 0), ("i0", 1), ("i1", 0), ("i2", 0), ("y0", 0), ("y0", 1)},
    ("BatchNormalization", "image"): {*((("i0", k)) for k in range(4)), *((("y0", k)) for k in range(4)),
                                      ("i1", 0), ("i2", 0), ("i3", 0), ("i4", 0)},
    ("Gemm", "linear"): {("i0", 0), ("i0", 1), ("i1", 0), ("i1", 1), ("i2", 0), ("y0", 0), ("y0", 1)},
    ("Gemm", "plain"): {("i0", 0), ("i0", 1), ("i1", 0), ("i1", 1), ("y0", 0), ("y0", 1)},
    ("Gemm", "transposed_both"): {("i0", 0), ("i0", 1), ("i1", 0), ("i1", 1), ("i2", 0), ("y0", 0), ("y0", 1)},
    ("Gemm", "column_bias"): {("i0", 0), ("i0", 1), ("i1", 0), ("i1", 1), ("i2", 0), ("y0", 0), ("y0", 1)},
    ("MatMul", "plain"): {("i0", 0), ("i0", 1), ("i1", 0), ("i1", 1), ("y0", 0), ("y0", 1)},
    ("MatMul", "tokens"): {("i0", 0), ("i0", 1), ("i0", 2), ("i1", 0), ("i1", 1), ("y0", 0), ("y0", 1), ("y0", 2)},
    ("Add", "channel_constant"): {*((("i0", k)) for k in range(4)), *((("y0", k)) for k in range(4)), ("i1", 0)},
    ("Mul", "gate"): {*((("i0", k)) for k in range(4)), *((("y0", k)) for k in range(4)), ("i1", 0), ("i1", 1)},
    ("Sub", "both_stretched"): {("i0", 0), ("i0", 2), ("i1", 0), ("y0", 0), ("y0", 1), ("y0", 2)},
    ("Concat", "three"): {(name, k) for name in ("i0", "i1", "i2", "y0") for k in range(4)},
    ("Flatten", "image"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Flatten", "pooled"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Flatten", "negative"): {("i0", 0), ("i0", 2), ("y0", 0), ("y0", 1)},
    ("Reshape", "flatten"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Reshape", "explicit"): {("i0", 1), ("y0", 1)},
    ("Reshape", "split"): {("i0", 0), ("i0", 1), ("i0", 2), ("y0", 0), ("y0", 1), ("y0", 3)},
    ("Reshape", "mixed"): set(),
    ("Transpose", "nhwc"): {(name, k) for name in ("i0", "y0") for k in range(4)},
    ("MaxPool", "halved"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("AveragePool", "padded"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("GlobalAveragePool", "image"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("ReduceMean", "spatial"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("ReduceMean", "spatial_flat"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Squeeze", "pooled"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Squeeze", "all"): set(),
    ("Unsqueeze", "image"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Unsqueeze", "between"): {("i0", 0), ("i0", 1), ("i0", 2), ("y0", 0), ("y0", 2), ("y0", 4)},
    ("Pad", "image"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Pad", "cropped_and_padded"): set(),
    ("Softmax", "channels"): {(name, k) for name in ("i0", "y0") for k in (0, 2, 3)},
    ("Relu", "image"): {(name, k) for name in ("i0", "y0") for k in range(4)},
    ("Gelu", "image"): {(name, k) for name in ("i0", "y0") for k in range(4)},
    ("PRelu", "channels"): {*((name, k) for name in ("i0", "y0") for k in range(4)), ("i1", 0)},
    ("PRelu", "shared"): {(name, k) for name in ("i0", "y0") for k in range(3)},
    ("Sum", "constant"): {*((name, k) for name in ("i0", "y0") for k in range(4)), ("i1", 0)},
    ("Max", "stretched"): {("i0", 0), ("i0", 2), ("i1", 0), *(("y0", k) for k in range(3))},
    ("Pow", "both_stretched"): {("i0", 0), ("i0", 2), ("i1", 0), *(("y0", k) for k in range(3))},
    ("ReduceMax", "spatial"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("ArgMax", "channels"): {(name, k) for name in ("i0", "y0") for k in (0, 2, 3)},
    ("ArgMax", "classes"): {("i0", 0), ("y0", 0)},
    ("CumSum", "middle"): {(name, k) for name in ("i0", "y0") for k in (0, 2)},
    ("LogSoftmax", "channels"): {(name, k) for name in ("i0", "y0") for k in (0, 2, 3)},
    ("Det", "batch"): {(name, k) for name in ("i0", "y0") for k in (0, 1)},
    ("NegativeLogLikelihoodLoss", "image_none"): set(),
    ("Clip", "relu6"): {(name, k) for name in ("i0", "y0") for k in range(4)},
    ("Identity", "image"): {(name, k) for name in ("i0", "y0") for k in range(3)},
    ("Dropout", "plain"): {(name, k) for name in ("i0", "y0") for k in range(2)},
    ("Cast", "to_float64"): {(name, k) for name in ("i0", "y0") for k in range(2)},
    ("Gather", "columns"): {("i0", 0), ("i0", 2), ("y0", 0), ("y0", 2)},
    ("Slice", "channels"): {(name, k) for name in ("i0", "y0") for k in range(4)},
    ("Slice", "steps"): {(name, 2) for name in ("i0", "y0")},
    ("Slice", "whole"): {(name, k) for name in ("i0", "y0") for k in range(2)},
    ("Expand", "image"): {("i0", 1), ("y0", 1)},
    ("Tile", "channels"): {(name, k) for name in ("i0", "y0") for k in range(4)},
    ("Where", "masked"): {*(("i0", k) for k in (0, 2, 3)), *(("i1", k) for k in range(4)), *(("y0", k) for k in range(4))},
    ("Compress", "columns"): {("i0", 0), ("y0", 0)},
    ("TopK", "axis"): {("i0", 0), ("i0", 2), ("y0", 0), ("y0", 2)},
    ("ReverseSequence", "time_first"): {("i0", 2), ("y0", 2)},
    ("Trilu", "upper_above"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("CenterCropPad", "axes"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("DepthToSpace", "dcr"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("DepthToSpace", "crd"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("SpaceToDepth", "dcr"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("SpaceToDepth", "crd"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Col2Im", "overlapping"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Resize", "nearest"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Resize", "linear_sizes"): {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)},
    ("Resize", "crop"): set(),
    ("GridSample", "linear_zeros"): {("i0", 1), ("y0", 1)},
    ("RoiAlign", "mean"): {("i0", 1), ("y0", 1)},
    ("DeformConv", "padded"): {("i0", 1), ("i1", 0), ("i1", 1), ("i3", 0), ("y0", 1)},
    ("Shape", "batch"): {("i0", 1), ("i0", 2)},
    ("Shape", "all"): set(),
}


@pytest.mark.parametrize(("name", "label"), FREE, ids=lambda key: key)
def test_these_axes_are_free_and_no_others(name: str, label: str) -> None:
    op = ops.get(name)
    (case,) = (case for case in op.cases if case.name == label)
    arrays = case.arrays()
    node = node_of(op, arrays, case.attrs)
    tie = classes_of(op, node, arrays, op.run(op.attrs_of(node), *arrays))
    free = {point for points in tie.free().values() for point in points}
    whole = {(tensor, axis) for tensor, shape in tie.lengths.items() for axis, n in enumerate(shape)
             if n and all((tensor, axis, i) in free for i in range(n))}
    assert whole == FREE[name, label]
    assert free <= {(*axis, i) for axis in whole for i in range(tie.lengths[axis[0]][axis[1]])}


@pytest.mark.parametrize(("attrs", "sizes"), [({"axis": 1, "num_outputs": 2}, None), ({"axis": 1}, (2, 3, 1))], ids=["halves", "lengths"])
def test_all_parts_of_a_split_follow_its_channels(attrs: dict[str, int], sizes: tuple[int, ...] | None) -> None:
    op = ops.get("Split")
    case = Case("parts", (Arg((2, 6, 3, 3)), *(() if sizes is None else (Arg((3,), "int64", value=sizes, constant=True),))), attrs)
    arrays = case.arrays()
    parts = len(sizes or (3, 3))
    assert max(check(op, case, parts, True, seed) for seed in range(8)) > 0
    node = node_of(op, arrays, attrs, parts)
    tie = classes_of(op, node, arrays, op.run(op.attrs_of(node), *arrays))
    free = {point for points in tie.free().values() for point in points}
    followed = {name: shape for name, shape in tie.lengths.items() if name != "i1"}
    assert free == {(name, axis, i) for name, shape in followed.items() for axis, n in enumerate(shape) for i in range(n)}


@pytest.mark.parametrize(("name", "label"), [key for key, axes in FREE.items() if len(axes) > 3], ids=lambda key: key)
def test_the_proof_removes_something(name: str, label: str) -> None:
    op = ops.get(name)
    (case,) = (case for case in op.cases if case.name == label)
    assert max(check(op, case, 1, True, seed) for seed in range(8)) > 0


def sizes(op: str, arrays: list[np.ndarray], attrs: dict[str, Any] | None = None) -> list[int]:
    """How many indices each free class of the output's axis 1 has in all tensors' axes."""
    kind = ops.get(op)
    node = node_of(kind, arrays, attrs or {})
    tie = classes_of(kind, node, arrays, kind.run(kind.attrs_of(node), *arrays))
    free = tie.free()
    return [len(free[root]) for root in sorted({tie.root(("y0", 1, i)) for i in range(tie.lengths["y0"][1])}) if root in free]


def test_classes_are_as_small_as_they_can_be() -> None:
    """One output channel of a Conv: its row, its bias, its place in y. One of a Flatten: the channel and its H·W columns."""
    assert sizes("Conv", [np.ones((1, 4, 5, 5)), np.ones((6, 4, 3, 3)), np.ones(6)]) == [3] * 6
    assert sizes("Conv", [np.ones((1, 4, 5, 5)), np.ones((8, 1, 3, 3))], {"group": 4}) == [1 + 2 + 2] * 4
    assert sizes("Conv", [np.ones((1, 4, 5, 5)), np.ones((6, 2, 3, 3))], {"group": 2}) == [2 + 2] * 3
    assert sizes("Flatten", [np.ones((2, 3, 5, 7))]) == [1 + 35] * 3


def test_a_reduction_with_unknown_axes_follows_what_the_shapes_settle() -> None:
    op = ops.get("ReduceMean")
    for x, axes, keepdims, expected in (
        ((1, 8, 7, 7), (2, 3), 0, {("i0", 0), ("i0", 1), ("y0", 0), ("y0", 1)}),
        ((1, 8, 7, 7), (2, 3), 1, {("i0", 1), ("y0", 1)}),
        ((1, 8, 8, 8), (2, 3), 0, {("i0", 0), ("y0", 0)}),
    ):
        arrays = [np.ones(x), np.array(axes)]
        node = node_of(op, arrays, {"keepdims": keepdims})
        tie = classes_of(op, node, arrays, op.run(op.attrs_of(node), *arrays), known=False)
        assert tie.mentioned == expected


def test_indices_of_a_pooling_pin_everything() -> None:
    op = ops.get("MaxPool")
    arrays = [np.ones((1, 3, 4, 4))]
    node = node_of(op, arrays, {"kernel_shape": (2, 2)}, 2)
    assert not classes_of(op, node, arrays, op.run(op.attrs_of(node), *arrays)).mentioned


def test_depthwise_groups_follow_the_channels() -> None:
    op = ops.get("Conv")
    assert op.resize is not None
    assert op.resize({"group": 8, "pads": (1, 1, 1, 1)}, {0: (1, 5, 9, 9), 1: (10, 1, 3, 3)}) == {"group": 5, "pads": (1, 1, 1, 1)}
    assert op.resize({"group": 2}, {0: (1, 6, 9, 9), 1: (4, 3, 3, 3)}) == {"group": 2}
    assert op.resize({"group": 1}, {0: (1, 6, 9, 9), 1: (4, 6, 3, 3)}) == {"group": 1}
