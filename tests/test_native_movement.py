"""The family movement: every kernel at every ISA level, on odd shapes, against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from native_harness import check, every_level, from_memory, pytestmark, run, site_of, to_memory  # noqa: F401
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels.lowering import Layout, Lowering
from thinfer.kernels.movement.copies import emit_reorder, reorder_cost, reorder_is_free

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


PERMUTATIONS = [*itertools.permutations(range(3)), *itertools.permutations(range(4)), (4, 0, 3, 1, 2), (0,), (1, 0)]
REORDERS = [(1, 3, 5, 7), (2, 3, 33, 9), (1, 16, 16, 16), (1, 17, 15, 1), (2, 32, 8, 8), (1, 65, 9, 7), (3, 130, 5, 13), (1, 4, 1, 2),
            (2, 2, 2), (1, 7, 31), (2, 5, 3, 4, 6), (1, 64, 64, 1), (1, 200, 1, 1),
            (4, 1, 5, 5), (1, 2, 100, 3)]


@every_level
@pytest.mark.parametrize("shape", REORDERS, ids=str)
@pytest.mark.parametrize("way", [("NCHW", "NHWC"), ("NHWC", "NCHW"), ("NHWC", "NHWC")], ids=str)
def test_reorder(level: str, shape: tuple[int, ...], way: tuple[Layout, Layout]) -> None:
    x = floats(*shape)
    given, wanted = way
    option = Lowering("reorder", (given,), wanted, 0.0, lambda em: emit_reorder(em, em.input(0), em.output(), shape, given, wanted))
    for threads in (1, 4):
        found = run(site_of("Identity", [x], x), option, [x], level, threads=threads)
        np.testing.assert_array_equal(found, x)


def test_free_reorders_change_no_byte() -> None:
    for shape in [*REORDERS, (3, 4), (5,), ()]:
        x = floats(*shape)
        same = (to_memory(x, "NCHW") == to_memory(x, "NHWC")).all()
        assert bool(same) == reorder_is_free(shape)
        assert (reorder_cost(shape) == 0) == reorder_is_free(shape)
        np.testing.assert_array_equal(from_memory(to_memory(x, "NHWC"), shape, "NHWC"), x)


@every_level
@pytest.mark.parametrize("perm", PERMUTATIONS, ids=str)
def test_transpose(level: str, perm: tuple[int, ...]) -> None:
    for base in ((19, 3, 33, 5, 2), (2, 1, 17, 16, 3)):
        x = floats(*base[:len(perm)])
        check("Transpose", [x], x.transpose(perm), {"perm": perm}, level=level, rtol=0, atol=0)


def test_transpose_to_channels_last_of_a_channels_last_value_moves_nothing() -> None:
    x = floats(1, 6, 5, 4)
    options = check("Transpose", [x], x.transpose(0, 2, 3, 1), {"perm": (0, 2, 3, 1)}, level="baseline", rtol=0, atol=0)
    assert [(o.inputs[0], o.output) for o in options if o.alias] == [("NHWC", "NCHW")]


@every_level
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_concat(level: str, axis: int) -> None:
    base = [2, 5, 7, 3]
    parts = []
    for length in (1, 4, 0, 17):
        base[axis] = length
        parts.append(floats(*base))
    check("Concat", parts, np.concatenate(parts, axis), {"axis": axis}, level=level, rtol=0, atol=0, least=2, constants=(1,))


@every_level
@pytest.mark.parametrize("pads", [(0, 0, 1, 2, 0, 0, 3, 0), (0, 1, 0, 0, 0, 2, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0), (0,) * 8], ids=str)
def test_pad(level: str, pads: tuple[int, ...]) -> None:
    x = floats(2, 3, 5, 9)
    for value in (None, np.float32(-np.inf)):
        want = np.pad(x, list(zip(pads[:4], pads[4:])), constant_values=0 if value is None else value)
        args = [x, np.array(pads, np.int64), None if value is None else np.array(value)]
        check("Pad", args, want, {"mode": "constant"}, level=level, rtol=0, atol=0, least=2, constants=(1, 2))


def test_pad_of_some_axes() -> None:
    x = floats(2, 3, 5)
    args = [x, np.array([1, 2], np.int64), None, np.array([-1], np.int64)]
    check("Pad", args, np.pad(x, [(0, 0), (0, 0), (1, 2)]), level="baseline", rtol=0, atol=0, least=2, constants=(1, 3))


@every_level
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather(level: str, axis: int) -> None:
    x = floats(5, 6, 19)
    for index in (np.array([0, -1, 2, 2]), np.array(3), np.array([[1, 0], [4, -5]])):
        check("Gather", [x, index], np.take(x, index, axis), {"axis": axis}, level=level, rtol=0, atol=0, constants=(1,))


@every_level
@pytest.mark.parametrize("bounds", [((1, 2), (4, 99), (1, 3), (1, 3)), ((-1,), (-99,), (2,), (-2,)),
                                    ((3, -1, 4), (0, -99, 1), (1, 0, 2), (-1, -1, -1)),
                                    ((2,), (3,), (3,), (1,))], ids=str)
def test_slice(level: str, bounds: tuple[tuple[int, ...], ...]) -> None:
    x = floats(2, 5, 7, 19)
    starts, ends, axes, steps = (np.array(numbers) for numbers in bounds)
    at = [slice(None)] * 4
    for start, end, axis, step in zip(*bounds):
        at[axis] = slice(*(start, end if end > -99 else None, step))
    check("Slice", [x, starts, ends, axes, steps], x[tuple(at)], level=level, rtol=0, atol=0, least=2, constants=(1, 2, 3, 4))


@every_level
def test_a_slice_backwards_from_before_the_start_takes_the_first(level: str) -> None:
    x = floats(3, 5)
    args = [x, *(np.array([number]) for number in (-9, -99, 1, -1))]
    check("Slice", args, x[:, :1], level=level, rtol=0, atol=0, least=2, constants=(1, 2, 3, 4))


@every_level
def test_expand(level: str) -> None:
    for shape, target in (((3, 1, 5), (3, 4, 5)), ((1, 6, 1, 1), (2, 6, 3, 17)), ((19, 1), (2, 19, 33)), ((1,), (3, 4)),
                          ((5, 1, 7), (1, 2, 1, 33, 1))):
        x = floats(*shape)
        want = x * np.ones(target, np.float32)
        check("Expand", [x, np.array(target)], want, level=level, rtol=0, atol=0, constants=(1,))


@every_level
def test_tile(level: str) -> None:
    for shape, repeats in (((2, 3, 5, 7), (1, 2, 1, 1)), ((2, 3, 5, 7), (2, 1, 3, 2)), ((3, 17), (1, 3)), ((4,), (5,)), ((2, 1, 33), (1, 4, 1))):
        x = floats(*shape)
        check("Tile", [x, np.array(repeats)], np.tile(x, repeats), level=level, rtol=0, atol=0, least=2, constants=(1,))


@every_level
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize(("blocks", "channels"), [(2, 3), (3, 17), (1, 5)])
def test_depth_to_space_and_back(level: str, mode: str, blocks: int, channels: int) -> None:
    """By torch's pixel_shuffle, whose channels are in the order CRD."""
    deep = floats(2, channels * blocks**2, 5, 7)
    flat = F.pixel_shuffle(torch.from_numpy(deep), blocks).numpy()
    order = np.arange(channels * blocks**2).reshape(channels, -1).T.ravel() if mode == "DCR" else np.arange(channels * blocks**2)
    given = np.ascontiguousarray(deep[:, order])
    attrs = {"blocksize": blocks, "mode": mode}
    check("DepthToSpace", [given], flat, attrs, level=level, rtol=0, atol=0, least=2)
    check("SpaceToDepth", [flat], given, attrs, level=level, rtol=0, atol=0, least=2)


def test_what_takes_everything_moves_nothing() -> None:
    x = floats(2, 3, 4)
    assert all(o.alias for o in check("Slice", [x, np.array([0]), np.array([99]), np.array([1])], x, level="baseline", constants=(1, 2, 3)))
    assert all(o.alias for o in check("Expand", [x, np.array([2, 1, 4])], x, level="baseline", constants=(1,)))


@pytest.mark.parametrize("axis", [0, 1, 3])
def test_a_split_runs_in_one_segment(axis: int) -> None:
    """Between other native nodes, in whichever layout they want it."""
    lengths = {0: (1, 1), 1: (2, 5), 3: (4, 5)}[axis]
    part = tuple(lengths[0] if k == axis else length for k, length in enumerate((2, 7, 6, 9)))
    weights = {"w": EncodedTensor.dense(floats(7, 3, 3, 3)), "lengths": EncodedTensor.dense(np.array(lengths))}
    nodes = (Node("Conv", ("x", "w"), ("a",), {"pads": (1, 1, 1, 1)}), Node("Split", ("a", "lengths"), ("b", "c"), {"axis": axis}),
             Node("Relu", ("b",), ("d",)), Node("Concat", ("c", "d"), ("y",), {"axis": axis}))
    graph = Graph((ValueInfo("x", "float32", (2, 3, 6, 9)),), (ValueInfo("y", "float32", (2, 7, 6, 9)), ValueInfo("b", "float32", part)),
                  nodes, weights)
    feeds = {"x": floats(2, 3, 6, 9)}
    session = runtime.load(graph, backend="native")
    expected = runtime.load(graph, backend="numpy").run(feeds)
    for name, found in session.run(feeds).items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-6)
    assert len(session._plan(((2, 3, 6, 9),)).stages) == 1


def test_renames_are_aliases() -> None:
    x = floats(2, 3, 4, 5)
    assert all(o.alias for o in check("Reshape", [x, np.array([6, -1])], x.reshape(6, -1), level="baseline", constants=(1,)))
    assert all(o.alias for o in check("Flatten", [x], x.reshape(2, -1), {"axis": 1}, level="baseline"))
    assert all(o.alias for o in check("Identity", [x], x, level="baseline", least=2))


def test_a_copy_of_nothing_has_no_step() -> None:
    x = floats(0, 3, 4)
    check("Transpose", [x], x.transpose(1, 0, 2), {"perm": (1, 0, 2)}, level="baseline")
