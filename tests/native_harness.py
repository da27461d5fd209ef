"""Runs one node through every native lowering it has, at one ISA level, with walls of NaN around every buffer that is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from thinfer.formats.graph import Node
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import isa, ops
from thinfer.kernels.lowering import Ending, Lowering, Ref, Site, channels_last, lowerings
from thinfer.kernels.ops._op import Type

NATIVE = isa.native()
LEVELS = isa.levels()
WALL = 64

every_level = pytest.mark.parametrize("level", LEVELS)
pytestmark = pytest.mark.skipif(NATIVE is None, reason="no compiled kernels")


def to_memory(array: np.ndarray, layout: str | None) -> np.ndarray:
    """The array's floats, or its codes, in the order of ``layout``."""
    if layout == "NHWC" and array.ndim > 2:
        array = np.moveaxis(array, 1, -1)
    return np.ascontiguousarray(array, array.dtype if array.dtype.itemsize == 1 else np.float32).reshape(-1)


def from_memory(flat: np.ndarray, shape: Sequence[int], layout: str) -> np.ndarray:
    if layout == "NHWC" and len(shape) > 2:
        return np.moveaxis(flat.reshape(channels_last(shape)), -1, 1)
    return flat.reshape(shape)


@dataclass
class Recorder:
    """An Emitter that keeps the steps."""

    arrays: Sequence[np.ndarray | None]
    weights: Mapping[int, EncodedTensor]
    option: Lowering
    low: float = -np.inf
    high: float = np.inf
    consts: list[np.ndarray] = field(default_factory=list)
    steps: list[tuple[str, list[Ref], list[int], int]] = field(default_factory=list)
    scratch: int = 0
    packed_bytes: int = 0
    packed: dict[tuple[int, str], Ref] = field(default_factory=dict)
    given: np.ndarray | None = None

    def input(self, i: int) -> Ref:
        if i == 0 and self.given is not None:
            self.consts.append(self.given)
            return Ref("weight", len(self.consts) - 1)
        array = self.weights[i].decode() if i in self.weights else self.arrays[i]
        assert array is not None
        return self.constant(to_memory(array, self.option.inputs[i]))

    def output(self, i: int = 0) -> Ref:
        return Ref("value", "out")

    @property
    def ending(self) -> Ending:
        return Ending(None, self.output(), None, None)

    def weight(self, i: int, layout: str, pack: Callable[[EncodedTensor], np.ndarray]) -> Ref:
        if (i, layout) not in self.packed:
            packed = np.ascontiguousarray(pack(self.weights[i])).reshape(-1).view(np.uint8)
            self.packed_bytes += packed.nbytes
            self.packed[i, layout] = self.constant(packed)
        return self.packed[i, layout]

    def temporary(self, nbytes: int) -> Ref:
        return self.constant(np.zeros(nbytes, np.uint8))

    def constant(self, array: np.ndarray) -> Ref:
        flat = np.ascontiguousarray(array).reshape(-1)
        raw = np.empty(flat.nbytes + 64, np.uint8)
        start = -raw.ctypes.data % 64
        home = raw[start:start + flat.nbytes]
        home[:] = flat.view(np.uint8)
        self.consts.append(home)
        return Ref("weight", len(self.consts) - 1)

    def lane(self, index: int | None) -> None:
        """Steps run one after the other whatever their lane."""

    def step(self, kernel: str, buffers: Sequence[Ref], params: Sequence[int], items: int, scratch: int = 0) -> None:
        self.steps.append((kernel, list(buffers), [int(p) for p in params], int(items)))
        self.scratch = max(self.scratch, scratch)

    def engine(self, level: str, out_bytes: int, threads: int) -> Any:
        assert NATIVE is not None
        names = list(dict.fromkeys(step[0] for step in self.steps))
        code = [len(self.steps)]
        for kernel, buffers, params, items in self.steps:
            code += [names.index(kernel), items, len(buffers)]
            for ref in buffers:
                code += [1, ref.key, ref.offset] if ref.kind == "weight" else [3, 0, ref.offset]
            code += [len(params), *params]
        return NATIVE.Engine(np.array(code, np.int64), names, level, self.consts, [], [out_bytes], 0, self.scratch,
                             pool(threads))


@cache
def pool(threads: int) -> Any:
    """One for all tests: qemu keeps a megabyte of each thread that it ever ran."""
    return NATIVE.ThreadPool(threads)


def site_of(op: str, arrays: Sequence[np.ndarray | None], expected: np.ndarray, attrs: Mapping[str, Any] | None = None,
            weights: Mapping[int, EncodedTensor] | None = None, level: str = "", constants: Sequence[int] = ()) -> Site:
    """``arrays``: the inputs; ``weights``: those that are encoded; ``constants``: positions of further ones that are known arrays."""
    table = dict(weights or {})
    table.update({i: EncodedTensor.dense(array) for i in constants if (array := arrays[i]) is not None})
    kinds = tuple(None if a is None else Type(a.dtype.name, a.shape, a if i in constants else None) for i, a in enumerate(arrays))
    node = Node(op, tuple("" if a is None else f"in{i}" for i, a in enumerate(arrays)), ("out",), attrs or {})
    return Site(node, ops.get(op).attrs_of(node), kinds, (Type("float32", expected.shape),), table, 1, level or LEVELS[-1])


def run(site: Site, option: Lowering, arrays: Sequence[np.ndarray | None], level: str, low: float = -np.inf, high: float = np.inf,
        threads: int = 1, given: np.ndarray | None = None) -> np.ndarray:
    """The output of one lowering. Fails if a float beside the output was written. ``given``: input 0 in the layout that the lowering wants,
    read where it lies."""
    shape = site.outputs[0].shape
    if option.alias:
        source = arrays[0]
        assert source is not None
        return from_memory(to_memory(source, option.inputs[0]), shape, option.output)
    return output_of(recorded_of(site, option, arrays, low, high, given), site, option, level, threads)


def recorded_of(site: Site, option: Lowering, arrays: Sequence[np.ndarray | None], low: float, high: float,
                given: np.ndarray | None = None) -> Recorder:
    em = Recorder(arrays, site.weights, option, low, high, given=given)
    option.emit(em)
    return em


def output_of(em: Recorder, site: Site, option: Lowering, level: str, threads: int) -> np.ndarray:
    shape = site.outputs[0].shape
    size = int(np.prod(shape))
    walled = np.full(size + 2 * WALL, np.float32(-123.25), np.float32)
    out = walled[WALL:WALL + size]
    out[:] = np.nan
    em.engine(level, out.nbytes, threads).run((), (out,))
    assert (walled[:WALL] == -123.25).all(), "wrote before the output"
    assert (walled[WALL + size:] == -123.25).all(), "wrote past the output"
    return from_memory(out.copy(), shape, option.output)


def check(op: str, arrays: Sequence[np.ndarray | None], expected: np.ndarray, attrs: Mapping[str, Any] | None = None, *, level: str,
          rtol: float = 1e-5, atol: float = 1e-6, low: float = -np.inf, high: float = np.inf, least: int = 1,
          weights: Mapping[int, EncodedTensor] | None = None, constants: Sequence[int] = ()) -> list[Lowering]:
    """Every lowering of the node gives ``expected``, and the same bits with one and with three threads."""
    site = site_of(op, arrays, expected, attrs, weights, level, constants)
    options = lowerings(site)
    assert len(options) >= least, f"{op} has {len(options)} lowerings"
    clamped = np.isfinite(low) or np.isfinite(high)
    for option in options:
        assert option.cost >= 0
        if clamped and not option.fuses:
            continue
        em = None if option.alias else recorded_of(site, option, arrays, low, high)  # weights are packed once
        found = run(site, option, arrays, level) if em is None else output_of(em, site, option, level, 1)
        what = f"{op} {option.kernel} {option.inputs} -> {option.output} at {level}"
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=what)
        if em is not None:
            again = output_of(em, site, option, level, 3)
            np.testing.assert_array_equal(again, found, err_msg=f"{what}: three threads differ")
    return options
