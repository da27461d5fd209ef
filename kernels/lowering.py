"""Lowering: how one node becomes steps of the native engine, and what a kernel family must say to take part.

A family (``kernels/<family>/``) registers a function per operator with ``@lowers("Conv", …)``. For a node it yields every way
in which it could run it, as ``Lowering`` objects: layouts read and written, an estimated cost, and ``emit``, which writes the
steps once the planner has chosen. A better kernel is one more line in ``kernels.inc`` and one more ``yield``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np

from ..formats.graph import ActivationQuantization, Node
from ..formats.record import dataclass
from ..formats.tensor import EncodedTensor
from .ops._op import Type

Layout = Literal["NCHW", "NHWC"]
"""Order of a value's axes in memory. NCHW: as in the graph; NHWC: axis 1 last (any rank ≥ 3; the same as NCHW below that)."""

ONLY: dict[str, tuple[str, ...]] = {
    "gemm": ("Conv", "Gemm", "MatMul"),
    "winograd": ("Conv",),
    "depthwise": ("Conv",),
    "sparse": ("Conv", "Gemm", "MatMul"),
    "elementwise": ("Abs", "Add", "BatchNormalization", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
                    "HardSwish", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round",
                    "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "ThresholdedRelu"),
    "pool": ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin",
             "ReduceSum", "ReduceSumSquare"),
    "softmax": ("LogSoftmax", "Softmax"),
    "norm": ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization"),
    "recurrent": ("GRU", "LSTM", "RNN", "thinfer::GRU", "thinfer::LSTM"),
    "fold": ("ConvTranspose",),
    "movement": ("Cast", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "SpaceToDepth",
                 "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    "resample": ("Pad", "Resize"),
    "logic": ("And", "Cast", "Equal", "Greater", "GreaterOrEqual", "IsNaN", "Less", "LessOrEqual", "Not", "Or", "Where", "Xor"),
    "integer": ("thinfer::Conv", "thinfer::ConvTranspose", "thinfer::Gemm", "thinfer::MatMul", "thinfer::Quantize", "thinfer::Quantized"),
    "bits": ("thinfer::Gemm", "thinfer::MatMul", "thinfer::Quantize"),
}
"""The families and all the operators that each of them lowers. A family is imported when a graph has a node that it may run, and not before."""

DTYPES = ("float32", "bool", "int8", "uint8")
"""What values of native segments may be."""


@dataclass(frozen=True)
class Ref:
    """A buffer of a step: a value, weight or constant of the plan, and a byte offset into it. Opaque to families but for ``plus``."""

    kind: Literal["value", "weight"]
    key: Any
    offset: int = 0

    def plus(self, nbytes: int) -> Ref:
        return Ref(self.kind, self.key, self.offset + nbytes)


@dataclass(frozen=True, eq=False)
class Site:
    """A node as a family sees it. ``inputs``: type of each input (None: absent). ``outputs``: those that are there,
    none left out before another; only lowerings that make them all are chosen from. ``weights``: those inputs that are constants,
    by position: an outline, whose kinds, shapes and sizes hold but whose elements may be missing (use ``constant`` for those).
    Everything that is not a constant is float32 when a family is asked, unless it says that it takes more."""

    node: Node
    attrs: Mapping[str, Any]
    inputs: tuple[Type | None, ...]
    outputs: tuple[Type, ...]
    weights: Mapping[int, EncodedTensor]
    threads: int
    isa: str

    def constant(self, i: int) -> np.ndarray | None:
        """Input ``i`` as an array, if it is present and known at plan time (few elements: shapes, axes, bounds)."""
        kind = self.inputs[i] if i < len(self.inputs) else None
        return None if kind is None else kind.value


@dataclass(frozen=True)
class Ending:
    """What a lowering with ``ends`` writes: the node's floats plus ``addend`` (floats in the output's layout), clamped to the emitter's bounds, as
    they are (``value``) or as ``codes`` on the static grid ``how``, or both."""

    addend: Ref | None
    value: Ref | None
    codes: Ref | None
    how: ActivationQuantization | None


class Emitter(Protocol):
    """What ``emit`` writes to."""

    @property
    def ending(self) -> Ending:
        """For lowerings with ``ends``, in the place of ``output``."""
        ...

    low: float
    """The chosen lowering's ``fuses`` is set and an activation was fused: clamp outputs to [low, high]; else -inf, inf."""
    high: float

    def input(self, i: int) -> Ref:
        """Input ``i`` in the layout that the lowering declared. Works for constants too (expanded to float32: for small ones)."""
        ...

    def output(self, i: int = 0) -> Ref: ...

    def weight(self, i: int, layout: str, pack: Callable[[EncodedTensor], np.ndarray]) -> Ref:
        """Constant input ``i`` as ``pack`` lays it out (1-D array, 64-byte aligned in the plan). ``layout`` names that layout:
        packed weights are shared between plans by (weight, layout), and reports show its name and bytes."""
        ...

    def constant(self, array: np.ndarray) -> Ref:
        """A small table that belongs to the plan."""
        ...

    def temporary(self, nbytes: int) -> Ref:
        """Memory for what passes between the steps of this node."""
        ...

    def lane(self, index: int | None) -> None:
        """Steps from here on belong to that lane: one thread runs them one after the other, at the same time as those of lanes of higher numbers
        that follow, and of lower ones before them. None: all threads share the items of each step, and meet after it."""
        ...

    def step(self, kernel: str, buffers: Sequence[Ref], params: Sequence[int], items: int, scratch: int = 0) -> None:
        """Appends a step: ``items`` independent work items, ``scratch`` bytes per thread."""
        ...


@dataclass(frozen=True, eq=False)
class Strips:
    """How a lowering runs on some rows (axis 2) of its output, a value of batch 1; its input is in NHWC.

    ``needs``: rows [first, last) of the output → those of input 0 that they take. ``emit(em, x, x0, y, first, last)`` writes their steps: x
    begins with row ``x0`` of the input, y with row ``first`` of the output. ``whole``: x is the whole input, in the layout that the lowering says.
    """

    needs: Callable[[int, int], tuple[int, int]]
    emit: Callable[[Emitter, Ref, int, Ref, int, int], None]
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Planes:
    """A sparse 1×1 convolution of NCHW, as the step needs it that makes its output channel by channel: ``buffers`` x, weight in the sparse family's
    layout rows with tiles of 16 rows, scale and bias; ``kind`` of the weight's kernels; ``columns`` that it reads; bounds of its activations."""

    buffers: tuple[Ref, Ref, Ref, Ref]
    kind: str
    columns: int
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Band:
    """Where a depthwise convolution's band of rows goes: number ``index`` of ``count``, to ``y``, channels ``pitch`` floats apart."""

    index: int
    count: int
    y: Ref
    pitch: int


@dataclass(frozen=True, eq=False)
class Expands:
    """How a depthwise convolution in NCHW makes the planes that it reads. ``rows``: of its output in each of so many bands, but the last one;
    ``emit`` writes the steps of the whole, or those of a band."""

    rows: Callable[[int], int]
    emit: Callable[[Emitter, Planes, Band | None], None]


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a 1×1 convolution's output: ``x``, which begins with row ``first``, channels ``pitch`` floats apart, a multiple of 16, becomes
    rows [first, last) of ``y``."""

    x: Ref
    pitch: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Lowering:
    """One way to run a node. ``inputs``: layout wanted of each input, None for inputs that ``emit`` reads as weights or not at all.

    ``cost``: estimated nanoseconds on one thread. ``fuses``: a following Relu or Clip can be done in the same steps. ``ends``: so can an addition
    and a quantization (``Ending``).
    ``alias``: no steps; output 0 is input 0's memory under another shape. ``makes``: how many outputs ``emit`` writes, all in one layout.
    ``strips``: it can also run on some rows of its output. ``planes``: its output need not be made, if its only reader's lowering has ``expands``,
    which writes the steps of both. ``adds``: writes its steps with an output and what is added to it, which lies as the output does, whole or of
    some rows (None: the whole; no addend: nothing is added). ``work``: the share of the dense node's multiply-accumulates that its kernel does at the
    least (Winograd: fewer).
    """

    kernel: str
    inputs: tuple[Layout | None, ...]
    output: Layout
    cost: float
    emit: Callable[[Emitter], None]
    fuses: bool = False
    alias: bool = False
    makes: int = 1
    ends: bool = False
    strips: Strips | None = None
    planes: Callable[[Emitter], Planes] | None = None
    expands: Expands | None = None
    adds: Callable[[Emitter, Ref, Ref | None, Part | None], None] | None = None
    work: float = 1.0


Lower = Callable[[Site], Iterator[Lowering]]
_LOWERINGS: dict[str, dict[str, list[tuple[Lower, frozenset[str]]]]] = {}
"""Operator → family → its functions, and the dtypes that they take."""


def lowers(*op_names: str, takes: Sequence[str] = ("float32",)) -> Callable[[Lower], Lower]:
    """Registers a family's function for these operators; it is asked about nodes whose values, but for constants, have these dtypes.
    Elements of four bytes or one are reordered."""

    def register(function: Lower) -> Lower:
        family = function.__module__.split(".")[-2]
        for name in op_names:
            _LOWERINGS.setdefault(name, {}).setdefault(family, []).append((function, frozenset(takes)))
        return function

    return register


def _is_sparse(site: Site) -> bool:
    return any(tensor.structure.name != "dense" for tensor in site.weights.values())


def _is_three_by_three(site: Site) -> bool:
    return 1 in site.weights and site.weights[1].shape[2:] == (3, 3) and site.attrs["group"] == 1 and not any(
        step > 1 for step in site.attrs.get("strides") or ())


MAY: dict[str, Callable[[Site], bool]] = {
    "winograd": _is_three_by_three,
    "depthwise": lambda site: 1 in site.weights and site.weights[1].shape[1] == 1,
    "sparse": _is_sparse,
    "bits": lambda site: site.node.op != "thinfer::Quantize" or site.attrs["quantized"].dtype == "binary",
}
"""What is seen of a site at once: whether the family can run it at all. What cannot is not even imported."""


@cache
def _family(name: str) -> ModuleType:
    return importlib.import_module(f".{name}.lowering", __package__)


def _import_families() -> None:
    """All of them, for who asks what exists."""
    for name in ONLY:
        _family(name)


@cache
def _families(op: str) -> tuple[str, ...]:
    """Those that may lower the operator, in the order in which they are asked: of ways at the same cost the first is taken."""
    return tuple(family for family, names in ONLY.items() if op in names)


def lowerings(site: Site) -> list[Lowering]:
    """Every way to run the node natively; empty if there is none."""
    op = site.node.op
    values = {kind.dtype for i, kind in enumerate(site.inputs) if kind is not None and i not in site.weights}
    values.update(kind.dtype for kind in site.outputs)
    found: list[Lowering] = []
    for family in _families(op):
        if family not in MAY or MAY[family](site):
            _family(family)
            for lower, takes in _LOWERINGS[op][family]:
                if values <= takes:
                    found += lower(site)
    return found


@cache
def f32(value: float) -> int:
    """A float as a step parameter; what float32 cannot hold becomes infinite."""
    return int(np.float64(value).astype(np.float32).view(np.int32))


def channels_last(shape: Sequence[int]) -> tuple[int, ...]:
    """A logical shape in NHWC order: (N, C, H, W) → (N, H, W, C)."""
    return (*shape[:1], *shape[2:], *shape[1:2]) if len(shape) > 2 else tuple(shape)
