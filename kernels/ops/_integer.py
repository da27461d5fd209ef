"""What a plan puts in the place of nodes that read quantized activations (``docs/quantization.md``). No file holds such nodes.

``thinfer::Quantize`` makes the codes of a value, int8 or uint8; where they are dynamic also their scale, and for uint8 the zero point
(``quantized.codes`` has the shapes). ``thinfer::Conv``, ``thinfer::MatMul`` and so on read codes in the place of their operator's input 0, a
weight's integers (or a float value that they quantize) as input 1, the bias if there is one as input 2, and the scale and zero point of dynamic
codes as inputs 3 and 4. They make floats of the dtype of input 1. ``thinfer::LSTM`` and ``thinfer::GRU`` read the codes of X, the integers of W
and R, the other inputs of LSTM or GRU, and the scale of the codes behind the last of these. ``thinfer::Quantized`` makes of a value what a reader
that is no matrix product sees. ``thinfer::Observed`` hands its value on and shows it to whoever calibrates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from ...formats.graph import ActivationQuantization, Node
from ...formats.record import dataclass, replace
from .. import quantized
from ..quantized import Integers
from ._check import FLOATS, need, want_dtype, where
from ._op import DOMAIN, HOW, Op, OpError, Type

SCALE: Final = "weight_scale"
"""Attribute beside the operator's own and ``HOW``: the scales of the operands that are weights, float32[1 or channels] each; these operands are then
the weights' integers."""
TELL: Final = "tell"
"""Attribute of Observed: called with the array, which it must not keep; an array that it returns is handed on in that one's place."""


@dataclass(frozen=True)
class Form:
    """What of an operator's operands stays the same within each of its sums.

    ``channels``: the axis of operand 1 along which its scale may vary, from its rank and the attributes; None: none.
    ``granularities``: those that operand 0 may have, from the attributes.
    ``after_batch``: the output's channels are its axis 1, else its last. ``weights``: the operands that are weights of integers; ``inputs``: the
    most that the operator has. ``walks``: it quantizes the state that it carries from step to step as its input, which is dynamic int8.
    """

    channels: Callable[[int, Mapping[str, Any]], int | None]
    granularities: Callable[[Mapping[str, Any]], tuple[str, ...]]
    after_batch: bool
    weights: tuple[int, ...] = (1,)
    inputs: int = 3
    walks: bool = False

    def takes(self, how: ActivationQuantization, attrs: Mapping[str, Any]) -> bool:
        """Whether operand 0 may be quantized so."""
        return how.granularity in self.granularities(attrs) and (not self.walks or (how.kind, how.dtype) == ("dynamic", "int8"))


FORMS: Final[Mapping[str, Form]] = {
    "Conv": Form(lambda rank, attrs: 0, lambda attrs: ("tensor", "sample"), True),
    "ConvTranspose": Form(lambda rank, attrs: 1 if attrs.get("group", 1) == 1 else None, lambda attrs: ("tensor", "sample"), True),
    "Gemm": Form(lambda rank, attrs: 0 if attrs.get("transB", 0) else 1,
                 lambda attrs: ("tensor",) if attrs.get("transA", 0) else ("tensor", "sample", "row"), False),
    "GRU": Form(lambda rank, attrs: 1, lambda attrs: ("row",), False, (1, 2), 6, True),
    "LSTM": Form(lambda rank, attrs: 1, lambda attrs: ("row",), False, (1, 2), 8, True),
    "MatMul": Form(lambda rank, attrs: rank - 1 if rank > 1 else None, lambda attrs: ("tensor", "row"), False),
}
"""The operators that compute in integers where both operands are such."""


def planned(name: str, find: Callable[[str], Op | None]) -> Op | None:
    """The operator of that name, with ``DOMAIN``; ``find`` gives the operators of files."""
    own = name.removeprefix(DOMAIN)
    if own == "Quantize":
        return Op(name, {HOW: None}, (1, 1), _infer_quantize, _run_quantize, cases=())
    if own == "Quantized":
        return Op(name, {HOW: None}, (1, 1), _infer_quantized, _run_quantized, cases=())
    if own == "Observed":
        return Op(name, {TELL: None}, (1, 1), _infer_observed, _run_observed, cases=())
    base = find(own) if own in FORMS else None
    if base is None:
        return None
    form = FORMS[own]
    return Op(name, {**base.attributes, HOW: None, SCALE: None}, (1 + len(form.weights), form.inputs + 2), partial(_infer, base),
              partial(_walk if form.walks else _run, base), cases=(), macs=base.macs)


def _infer_quantize(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x, how = need(node, args, 0, "value"), attrs[HOW]
    _want_plan(node, isinstance(how, ActivationQuantization))
    want_dtype(node, x, FLOATS)
    found = [Type(quantized.code_dtype(how), x.shape)]
    if how.kind == "dynamic":
        shape = quantized.scale_shape(x.shape, how)
        found += [Type("float64" if x.dtype == "float64" else "float32", shape), Type("uint8", shape)]
    return found


def _run_quantize(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    return quantized.codes(x, attrs[HOW])


def _infer_quantized(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    x = need(node, args, 0, "value")
    _want_plan(node, isinstance(attrs[HOW], ActivationQuantization))
    want_dtype(node, x, FLOATS)
    return [Type(x.dtype, x.shape)]


def _run_quantized(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (quantized.dequantized(x, attrs[HOW]),)


def _infer_observed(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type | None]:
    _want_plan(node, callable(attrs[TELL]))
    return list(args)


def _run_observed(attrs: Mapping[str, Any], x: np.ndarray) -> tuple[np.ndarray, ...]:
    given = attrs[TELL](x)
    return (x if given is None else given,)


def _infer(base: Op, node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type | None]:
    how = attrs[HOW]
    _want_plan(node, isinstance(how, tuple) and len(how) == 2 and isinstance(how[0], ActivationQuantization))
    codes, second = need(node, args, 0, "codes"), need(node, args, 1, "second operand")
    want_dtype(node, codes, (quantized.code_dtype(how[0]),))
    return list(base.infer(replace(node, op=base.name), _own(attrs), [Type(second.dtype, codes.shape), second, *args[2:FORMS[base.name].inputs]]))


def _want_plan(node: Node, is_planned: bool) -> None:
    if not is_planned:
        raise OpError(f"{where(node)} is of a kind that only plans may hold")


def _own(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attrs.items() if key not in (HOW, SCALE)}


def _run(base: Op, attrs: Mapping[str, Any], a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None,
         scale: np.ndarray | None = None, zero: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """float32(sum) · float32(scale · scale), then the bias: each one rounding."""
    form, own = FORMS[base.name], _own(attrs)
    x = quantized.from_codes(a, attrs[HOW][0], np.dtype(np.float64 if b.dtype == np.float64 else np.float32), scale, zero)
    w, per_channel = _second(form, own, attrs, b)
    beside = x.scale[..., 0] if base.name == "MatMul" and b.ndim == 1 and x.scale.ndim else x.scale
    factor = beside * (_after_batch(per_channel, a.ndim) if form.after_batch else per_channel).astype(x.values.dtype)
    factor = _times(factor, own.get("alpha", 1.0))
    y = np.asarray(_sums(base, own, x, w, attrs[HOW][1] is None)).astype(x.values.dtype, copy=False) * factor
    if bias is not None and own.get("beta", 1.0) != 0:
        wide = bias.astype(y.dtype, copy=False)
        y = y + (_after_batch(wide, a.ndim) if form.after_batch else _times(wide, own["beta"]))
    return (np.asarray(y).astype(b.dtype, copy=False),)


def _second(form: Form, own: Mapping[str, Any], attrs: Mapping[str, Any], b: np.ndarray) -> tuple[Integers, np.ndarray]:
    """Operand 1 in integers, and its scale: one, or one per channel of the output."""
    how = attrs[HOW][1]
    if how is not None:
        found = quantized.quantize(b, how)
        return found, found.scale.reshape(())
    scale = attrs[SCALE][0]
    axis = form.channels(b.ndim, own)
    if scale.size == 1 or axis is None:
        return quantized.integers(b, scale.reshape(())), scale.reshape(())
    return quantized.integers(b, scale.reshape([-1 if place == axis else 1 for place in range(b.ndim)])), scale


def _sums(base: Op, own: Mapping[str, Any], x: Integers, w: Integers, is_weight: bool) -> np.ndarray:
    """The exact sums of products, by the operator itself on integers in float32 or float64."""
    rank = w.values.ndim
    kept = FORMS[base.name].channels(rank, own)
    summed = [axis for axis in range(rank) if axis != kept and (base.name != "MatMul" or axis >= rank - 2)]
    dtype = _exact(base.name, quantized.largest_sum(x, w, summed, is_weight), x.values.dtype)
    found: np.ndarray = base.run({**own, **{key: 1.0 for key in ("alpha", "beta") if key in own}},
                                 x.values.astype(dtype, copy=False), w.values.astype(dtype, copy=False))[0]
    return found


def _exact(name: str, bound: float, wide: np.dtype) -> np.dtype:
    """The float dtype in which sums up to the bound are exact. Raises OpError where int32 is too narrow for them."""
    if bound > quantized.LARGEST_SUM:
        raise OpError(f"{name} sums products of integers up to {bound:.4g}, but int32 accumulators hold {quantized.LARGEST_SUM}; "
                      "leave its input unquantized")
    return quantized.exact_dtype(bound, wide)


def _walk(base: Op, attrs: Mapping[str, Any], codes: np.ndarray, *operands: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """An operator that walks over time: its products with W and R are float32(sum) · (scale · scale), of X and of the state before each step."""
    how, scale, dtype = attrs[HOW][0], operands[-1], operands[0].dtype  # type: ignore[union-attr]
    assert scale is not None
    wide = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    matrices = [[quantized.integers(part.astype(wide), own.astype(wide)) for part in weight]  # type: ignore[union-attr]
                for weight, own in zip(operands, attrs[SCALE])]

    def multiply(weight: int, direction: int, rows: np.ndarray, part: slice) -> np.ndarray:
        x = quantized.quantize(rows, how) if weight else Integers(rows[:, :-1], rows[:, -1:], quantized.largest_code(how))
        whole = matrices[weight][direction]
        w = Integers(whole.values[part], whole.scale[part] if whole.scale.size > 1 else whole.scale, whole.largest)
        exact = _exact(base.name, quantized.largest_sum(x, w, (1,), True), wide)
        return (x.values.astype(exact) @ w.values.T.astype(exact)).astype(wide) * (x.scale * w.scale)

    x = np.concatenate([codes.astype(wide), scale[..., None]], axis=-1)  # each row with its scale, which moves about with it
    return tuple(found.astype(dtype, copy=False) for found in base.run(_own(attrs), x, *operands[:-1], multiply=multiply))


def _after_batch(per_channel: np.ndarray, rank: int) -> np.ndarray:
    return per_channel.reshape(-1, *(1,) * (rank - 2)) if per_channel.ndim else per_channel


def _times(array: np.ndarray, factor: float) -> np.ndarray:
    return array if factor == 1 else array * array.dtype.type(factor)
