"""Element-wise operators, reductions and softmaxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto

from ....formats.graph import Node
from .._context import REPLACED, Context, Upgrade, attribute_to_input, without

BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
              "ReduceSumSquare")
SOFTMAXES = ("Softmax", "LogSoftmax", "Hardmax")


def _broadcast(node: Node, context: Context) -> Iterator[Node]:
    """Until opset 6 shapes were equal, or with ``broadcast`` the second stood at dimension ``axis`` of the first (at its end without)."""
    a, b = node.inputs
    plain = replace(node, attrs=without(node, "broadcast", "axis", "consumed_inputs"))
    if not node.attrs.get("broadcast", 0) or "axis" not in node.attrs:
        yield plain
        return
    yield from aligned(plain, b, context.rank(a), context.rank(b), node.attrs["axis"], context)


def aligned(node: Node, name: str, rank: int | None, own: int | None, axis: int, context: Context) -> Iterator[Node]:
    """``node`` with dimensions of length 1 after those of its input ``name``, so that it stands at ``axis`` of a value of ``rank``."""
    if rank is None or own is None:
        raise context.refuse(node, f"is broadcast along dimension {axis}, but how many dimensions its inputs have is not known")
    missing = rank - (axis + rank if axis < 0 else axis) - own
    if missing <= 0:
        yield node
        return
    wide = context.value(node, "aligned")
    yield Node("Unsqueeze", (name, context.ints(node, "axes", range(own, own + missing))), (wide,))
    yield node.with_inputs(tuple(wide if given == name and place else given for place, given in enumerate(node.inputs)))


def _slope(node: Node, context: Context) -> Iterator[Node]:
    """Until opset 6 the slopes of PRelu were one, or one per channel."""
    x, slope = node.inputs
    if context.shape(slope) in ((1,), ()):
        yield node
    else:
        yield from aligned(node, slope, context.rank(x), context.rank(slope), 1, context)


def _over_the_rest(node: Node, context: Context) -> Iterator[Node]:
    """Until opset 12 softmaxes ran over all dimensions from ``axis`` on, which was 1 unless given::

        x ──► Softmax ──► y        x ──► Flatten ──► Softmax(axis 1) ──► Reshape(·, Shape(x)) ──► y
    """
    x, axis, rank = node.inputs[0], node.attrs.get("axis", 1), context.rank(node.inputs[0])
    if axis == -1 or (rank is not None and axis in (rank - 1, -1)):
        yield replace(node, attrs={"axis": -1})
        return
    flat, soft, shape = (context.value(node, part) for part in ("flat", "soft", "shape"))
    yield Node("Flatten", (x,), (flat,), {"axis": axis})
    yield Node(node.op, (flat,), (soft,), {"axis": -1}, node.name)
    yield Node("Shape", (x,), (shape,))
    yield Node("Reshape", (soft, shape), node.outputs)


def _bounds(node: Node, context: Context) -> Iterator[Node]:
    """``min`` and ``max`` of Clip were attributes until opset 10, and the operator of floats alone."""
    dtype = context.dtype(node.inputs[0]) or "float32"
    names = [context.constant(node, key, node.attrs[key], dtype) if key in node.attrs else "" for key in ("min", "max")]
    while names and not names[-1]:
        names.pop()
    yield replace(node, inputs=(node.inputs[0], *names), attrs=without(node, "min", "max", "consumed_inputs"))


NARROW = {("uint8", 4): TensorProto.UINT4, ("int8", 4): TensorProto.INT4, ("uint8", 2): TensorProto.UINT2, ("int8", 2): TensorProto.INT2}


def _as_cast(node: Node, context: Context) -> Iterator[Node]:
    """CastLike to a data type that is known is a Cast, which can be computed ahead where what is cast is constant.

    torch's exporter, told to optimize nothing, spells the bounds of a Clip ``CastLike(6, x)``.
    """
    dtype = context.dtype(node.inputs[1]) if len(node.inputs) == 2 else None
    if dtype is not None:
        narrow = (dtype, context.bits.get(node.inputs[1], 8))
        code = NARROW.get(narrow) or int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
        node = replace(node, op="Cast", inputs=node.inputs[:1], attrs={**node.attrs, "to": code})
    yield node


UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {
    **{op: ((7, _broadcast),) for op in BROADCASTING},
    **{op: ((18, attribute_to_input("axes", 1)),) for op in REDUCTIONS},
    **{op: ((13, _over_the_rest),) for op in SOFTMAXES},
    "ReduceSum": ((13, attribute_to_input("axes", 1)),),
    "CastLike": ((REPLACED, _as_cast),),
    "Clip": ((11, _bounds),),
    "PRelu": ((7, _slope),),
}
