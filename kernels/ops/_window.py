"""Sliding windows of Conv and the poolings: parameters checked, output lengths, padding, the taps of a window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from ...formats.record import dataclass
from ._check import text
from ._op import OpError

ATTRIBUTES: dict[str, Any] = {"auto_pad": "NOTSET", "dilations": None, "kernel_shape": None, "pads": None, "strides": None}
"""What all operators with windows have in common; None stands for ones, or zeros for ``pads``."""

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True)
class Window:
    """A window along each spatial axis. ``begin`` and ``end`` are the padding, ``out`` the number of positions.

    ``overhang``: how far the last window reaches past the padded input (only with ceil_mode).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    out: tuple[int, ...]
    overhang: tuple[int, ...]

    @property
    def padded(self) -> bool:
        return any(self.begin) or any(self.end) or any(self.overhang)

    def pad(self, x: np.ndarray, value: Any) -> np.ndarray:
        """``x`` with its spatial (last) axes padded, overhang included."""
        if not self.padded:
            return x
        widths = [(0, 0)] * (x.ndim - len(self.kernel))
        widths += [(b, e + o) for b, e, o in zip(self.begin, self.end, self.overhang)]
        return np.pad(x, widths, constant_values=value)

    def taps(self, padded: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
        """For each position in the window: that position, and a view of what it reads for every output position."""
        for tap in product(*map(range, self.kernel)):
            where: tuple[Any, ...] = tuple(slice(t * d, t * d + (n - 1) * s + 1, s)
                                           for t, d, s, n in zip(tap, self.dilations, self.strides, self.out))
            yield tap, padded[(..., *where)]


def window(place: str, attrs: Mapping[str, Any], spatial: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of a node over an input with the lengths ``spatial``.

    Raises OpError (naming the node by ``place``) where attributes contradict each other or no window fits.
    """
    given = [attrs[name] if attrs[name] is None else tuple(attrs[name]) for name in ("strides", "dilations", "pads")]
    try:
        return _window(attrs["auto_pad"], bool(attrs.get("ceil_mode", 0)), *given, tuple(spatial), tuple(kernel))
    except OpError as error:
        raise OpError(f"{place}{error}") from None


@lru_cache(1 << 10)
def _window(auto_pad: str, ceil: bool, strides: tuple[int, ...] | None, dilations: tuple[int, ...] | None, pads: tuple[int, ...] | None,
            spatial: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Many nodes have the same one, and each of them is asked for by the node's shape rule and by every family of kernels."""
    attrs = {"auto_pad": auto_pad, "strides": strides, "dilations": dilations, "pads": pads}
    place, rank = "", len(spatial)
    strides = per_axis(place, attrs, "strides", rank, 1)
    dilations = per_axis(place, attrs, "dilations", rank, 1)
    if len(kernel) != rank or any(k < 1 for k in kernel):
        raise OpError(f"{place} has the kernel shape {text(kernel)}; its input has {rank} spatial axes, each needs a length of 1 or more")
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations))
    begin, end = _pads(place, attrs, spatial, reach, strides)
    # The formula that the specification gives for VALID does not change with ceil_mode; onnxruntime and onnx's own shape
    # inference round up all the same, and models are made to run there. SAME paddings leave nothing to round.
    out = tuple(_positions(n + b + e, r, s, n + b, ceil) for n, b, e, r, s in zip(spatial, begin, end, reach, strides))
    if any(n < 1 for n in out):
        raise OpError(f"{place} has windows that reach over {text(reach)} of an input that with padding has only "
                      f"{text([n + b + e for n, b, e in zip(spatial, begin, end)])}")
    overhang = tuple(max((n - 1) * s + r - length - b - e, 0)
                     for n, s, r, length, b, e in zip(out, strides, reach, spatial, begin, end))
    return Window(tuple(kernel), strides, dilations, begin, end, out, overhang)


def _positions(length: int, reach: int, stride: int, content: int, ceil: bool) -> int:
    """How many windows fit into ``length``; with ``ceil`` also one that hangs over, unless it starts in the padding at the end."""
    if not ceil:
        return (length - reach) // stride + 1
    count = -((reach - length) // stride) + 1
    return count - 1 if (count - 1) * stride >= content else count


def per_axis(place: str, attrs: Mapping[str, Any], name: str, rank: int, default: int) -> tuple[int, ...]:
    """An attribute of one number per spatial axis. Raises OpError unless they are that many, and 1 or more."""
    given = attrs[name]
    if given is None:
        return (default,) * rank
    if len(given) != rank or any(item < 1 for item in given):
        raise OpError(f"{place} has {name} {tuple(given)}; it takes {rank} numbers of 1 or more")
    return tuple(given)


def _pads(place: str, attrs: Mapping[str, Any], spatial: Sequence[int], reach: Sequence[int],
          strides: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padding before and after, per axis."""
    mode, rank = attrs["auto_pad"], len(spatial)
    if mode not in AUTO_PADS:
        raise OpError(f"{place} has auto_pad {mode!r}; it takes {', '.join(AUTO_PADS)}")
    if mode == "NOTSET":
        pads = attrs["pads"] if attrs["pads"] is not None else (0,) * (2 * rank)
        if len(pads) != 2 * rank or any(item < 0 for item in pads):
            raise OpError(f"{place} has pads {tuple(pads)}; it takes {2 * rank} numbers of 0 or more, all begins before all ends")
        return tuple(pads[:rank]), tuple(pads[rank:])
    if attrs["pads"] is not None and any(attrs["pads"]):
        raise OpError(f"{place} has both pads {tuple(attrs['pads'])} and auto_pad {mode}; only one of them may be given")
    if mode == "VALID":
        return (0,) * rank, (0,) * rank
    total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(spatial, strides, reach)]
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (small, large) if mode == "SAME_UPPER" else (large, small)
