"""What a file of this folder says about its operator: one op, one file, everything that the rest of Thinfer needs to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Final, Protocol

import numpy as np

from ...formats.errors import ThinferError
from ...formats.graph import Node, ValueInfo
from ...formats.record import cached_property, dataclass, field

DOMAIN: Final = "thinfer::"
QUANTIZE: Final = f"{DOMAIN}Quantize"
"""What a plan puts in the place of nodes that read quantized activations (``_integer.py``) has names that begin so."""
HOW: Final = "quantized"
"""Attribute of these: how operands 0 and 1 are quantized (an ActivationQuantization each; None where operand 1 is a weight)."""

REQUIRED: Final = object()
"""Marks an attribute without a default."""

VARIADIC: Final = 2**31 - 1
"""The most inputs of an operator that takes any number of them (ONNX's own mark)."""


class OpError(ThinferError, ValueError):
    """A node uses its operator wrongly; the message names the node, what was found and what the operator expects."""


@dataclass(frozen=True, eq=False)
class Type:
    """What is known of a value at plan time: its dtype, its concrete shape, and its elements if they are known already."""

    dtype: str
    shape: tuple[int, ...]
    value: np.ndarray | None = None

    @property
    def size(self) -> int:
        return prod(self.shape)

    @staticmethod
    def of(array: np.ndarray) -> Type:
        """The type of an array whose elements are known."""
        return Type(array.dtype.name, array.shape, array)


class Tie(Protocol):
    """Records that index ``index_a[k]`` of one axis and ``index_b[k]`` of another stand or fall together.

    An axis is (value or weight name, axis number ≥ 0). Without index arrays the two axes have equal length and are tied
    one to one. **An axis of a node's inputs or outputs that its flow does not mention cannot be pruned.**
    """

    def __call__(self, a: tuple[str, int], b: tuple[str, int], index_a: np.ndarray | None = None,
                 index_b: np.ndarray | None = None) -> None: ...


class Shapes(dict[str, "tuple[int, ...]"]):
    """Shapes by name for a flow that may also look at elements: ``known`` are the small constants (axes, pads, shapes) by name.

    A flow that is given a plain mapping follows what the shapes alone tell and leaves the rest pinned.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], known: Mapping[str, np.ndarray]) -> None:
        super().__init__(shapes)
        self.known = known


@dataclass(frozen=True)
class Arg:
    """One input of a case: random (seeded) in [low, high], or ``value``. ``weight`` marks inputs that may be encoded constants,
    and ``constant`` those that must be constants (shapes, axes). ``absent`` is an optional input left out."""

    shape: tuple[int, ...] = ()
    dtype: str = "float32"
    low: float = -1.0
    high: float = 1.0
    value: Any = None
    weight: bool = False
    constant: bool = False
    absent: bool = False

    def array(self, rng: np.random.Generator) -> np.ndarray:
        if self.value is not None:
            return np.asarray(self.value, self.dtype)
        if np.dtype(self.dtype).kind == "f":
            return rng.uniform(self.low, self.high, self.shape).astype(self.dtype)
        if self.dtype == "bool":
            return rng.integers(0, 2, self.shape).astype(bool)
        return rng.integers(int(self.low), int(self.high) + 1, self.shape).astype(self.dtype)


@dataclass(frozen=True)
class Case:
    """A small use of an operator. Tests run it on every backend and ISA level, benchmarks time those marked ``bench``.

    ``outputs``: how many outputs the node has; None for as many as ``run`` gives."""

    name: str
    args: tuple[Arg, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    bench: bool = False
    outputs: int | None = None

    def arrays(self, seed: int = 0) -> list[np.ndarray | None]:
        """The inputs; None where an optional one is absent."""
        rng = np.random.default_rng(seed)
        return [None if arg.absent else arg.array(rng) for arg in self.args]


class BodyTypes(Protocol):
    """A subgraph whose types ``infer`` may ask for."""

    @property
    def outputs(self) -> tuple[ValueInfo, ...]: ...

    def __call__(self, *inputs: Type | None) -> list[Type | None]:
        """The types of the outputs from those of the inputs; None stands for unknown."""
        ...


class Body(Protocol):
    """A subgraph that ``run`` may run, as often as it likes. What it reads of the graphs around it is bound already."""

    @property
    def outputs(self) -> tuple[ValueInfo, ...]: ...

    def __call__(self, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """The outputs for the inputs, both in the subgraph's order."""
        ...

    def types(self, *inputs: Type | None) -> list[Type | None]:
        """The types of the outputs from those of the inputs, for what is never run."""
        ...


Infer = Callable[..., "Sequence[Type | None]"]
"""(node, all attributes, input types; None where absent) → output types. Sets ``value`` where it can be known cheaply.
None stands for an output whose shape only running tells, and the empty list says so of all (a Reshape whose target is computed
from data). ``infer`` is not called where the type of an input is unknown: then so are those of the outputs.
An operator that holds subgraphs is given ``bodies=``, a BodyTypes by attribute, too."""

Run = Callable[..., "tuple[np.ndarray, ...]"]
"""(attrs, *inputs; None where absent) → outputs, in the dtype of the inputs (so float64 in, float64 out). There may be more
outputs than the node names. With ``Op.asks`` it is given ``asked=``, a bool per output that the node names, and may leave any
array in place of what is not asked for; with ``Op.bodies`` also ``bodies=``, a Body by attribute."""

Flow = Callable[[Node, Mapping[str, Any], Mapping[str, "tuple[int, ...]"], Tie], None]
"""(node, all attributes, shape by value or weight name, tie): how channels flow through the node."""

Gone = Mapping[tuple[int, int], tuple[int, Sequence[int]]]
"""(Place of an input, axis) → (the length it had, the indices that were removed); only what lost something."""


@dataclass(frozen=True)
class Op:
    """An operator. ``attributes``: every attribute with its default (or REQUIRED). ``inputs``: (least, most) number of inputs,
    VARIADIC for any number. ``name``: ONNX's, after ``domain::`` where the operator is not of the standard domain.

    ``asks``: ``run`` wants to know which outputs are asked for. ``bodies``: attributes are subgraphs, which ``run`` and ``infer`` need.
    ``macs``: multiply-accumulates of a node from its input and output types (0 where it has none worth counting).
    ``resize``: the attributes of a node after channels were removed, from its old attributes and its inputs' new shapes.
    ``resize_constants``: likewise the new elements of constant inputs, by place, from the attributes, the old ones, the new shapes of
    the outputs that are there, and what is gone of the inputs.
    """

    name: str
    attributes: Mapping[str, Any]
    inputs: tuple[int, int]
    infer: Infer
    run: Run
    cases: tuple[Case, ...]
    flow: Flow | None = None
    macs: Callable[[Mapping[str, Any], Sequence[Type | None], Sequence[Type]], int] | None = None
    resize: Callable[[Mapping[str, Any], Mapping[int, tuple[int, ...]]], dict[str, Any]] | None = None
    resize_constants: Callable[[Mapping[str, Any], Mapping[int, np.ndarray], Sequence[tuple[int, ...]], Gone],
                               dict[int, np.ndarray]] | None = None
    asks: bool = False
    bodies: bool = False

    def prepared(self, node: Node) -> Callable[[Sequence[np.ndarray | None], Mapping[str, Body] | None], tuple[np.ndarray, ...]]:
        """What gives the outputs that ``node`` names from its inputs and, if it holds subgraphs, those; often called. Raises OpError."""
        attrs, count = self.attrs_of(node), len(node.outputs)
        known: dict[str, Any] = {"asked": tuple(map(bool, node.outputs))} if self.asks else {}

        def outputs(args: Sequence[np.ndarray | None], bodies: Mapping[str, Body] | None = None) -> tuple[np.ndarray, ...]:
            found = self.run(attrs, *args, **known, **({"bodies": bodies} if self.bodies else {}))
            if len(found) < count:
                raise OpError(f"{self.name} node {node.name or node.outputs[0]!r} has {count} outputs; here it has {len(found)}")
            return found[:count]

        return outputs

    def types_of(self, node: Node, args: Sequence[Type | None], bodies: Mapping[str, BodyTypes] | None = None) -> list[Type | None]:
        """The types of the outputs that ``node`` names. Raises OpError."""
        known = {"bodies": bodies} if self.bodies else {}
        found = list(self.infer(node, self.attrs_of(node), args, **known))[:len(node.outputs)]
        return [*found, *[None] * (len(node.outputs) - len(found))]

    def checked_inputs(self, label: str, count: int) -> None:
        """OpError unless the operator takes ``count`` inputs; ``label`` names the node."""
        least, most = self.inputs
        if not least <= count <= most:
            wants = str(least) if least == most else f"{least} or more" if most == VARIADIC else f"{least} to {most}"
            raise OpError(f"{self.name} node {label!r} has {count} inputs; {self.name} takes {wants}")

    def attrs_of(self, node: Node) -> dict[str, Any]:
        """The node's attributes with the defaults filled in; OpError if one is unknown or a required one is missing."""
        if not node.attrs.keys() <= self.attributes.keys():
            unknown = sorted(set(node.attrs) - set(self.attributes))
            valid = ", ".join(sorted(self.attributes)) or "none"
            raise OpError(f"{self.name} node {node.name or node.outputs[0]!r} has the attribute {unknown[0]!r}; {self.name} knows {valid}")
        for key in self._required:
            if key not in node.attrs:
                raise OpError(f"{self.name} node {node.name or node.outputs[0]!r} lacks the attribute {key!r}")
        return {**self.attributes, **node.attrs}

    @cached_property
    def _required(self) -> list[str]:
        return sorted(key for key, default in self.attributes.items() if default is REQUIRED)
