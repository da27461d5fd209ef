"""The family movement: every kernel at every ISA level, on odd shapes, against NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from native_harness import check, every_level, from_memory, pytestmark, run, site_of, to_memory  # noqa: F401
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


def test_renames_are_aliases() -> None:
    x = floats(2, 3, 4, 5)
    assert all(o.alias for o in check("Reshape", [x, np.array([6, -1])], x.reshape(6, -1), level="baseline", constants=(1,)))
    assert all(o.alias for o in check("Flatten", [x], x.reshape(2, -1), {"axis": 1}, level="baseline"))
    assert all(o.alias for o in check("Identity", [x], x, level="baseline", least=2))


def test_a_copy_of_nothing_has_no_step() -> None:
    x = floats(0, 3, 4)
    check("Transpose", [x], x.transpose(1, 0, 2), {"perm": (1, 0, 2)}, level="baseline")
