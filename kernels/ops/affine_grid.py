"""AffineGrid: where each pixel (voxel) of an image of the given size lies after an affine map of the cube from -1 to 1.

``theta`` [N, r, r + 1] and ``size`` (N, C, …) → [N, …, r], the innermost axis first. r is 2 or 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import FLOATS, need, text, want_dtype, want_rank, where
from ._dtype import widened
from ._known import ints
from ._op import Arg, Case, Op, OpError, Type


def _lengths(place: str, theta: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
    rank = theta[1]
    if rank not in (2, 3) or theta[2] != rank + 1:
        raise OpError(f"{place} has matrices of the shape {text(theta)}; it takes Nx2x3 or Nx3x4")
    if len(size) != rank + 2 or size[0] != theta[0] or any(length < 0 for length in size):
        raise OpError(f"{place} has the size {tuple(size)} for matrices of the shape {text(theta)}; it takes {theta[0]}, channels and {rank} lengths")
    return tuple(size[2:])


def _infer(node: Node, attrs: Mapping[str, Any], args: Sequence[Type | None]) -> list[Type]:
    theta, size = need(node, args, 0, "matrices"), need(node, args, 1, "size")
    want_dtype(node, theta, FLOATS, "matrices")
    want_rank(node, theta, 3, "matrices'", 3)
    want_dtype(node, size, ("int64",), "size")
    wanted = ints(size)
    if wanted is None:
        return []
    lengths = _lengths(where(node), theta.shape, wanted)
    return [Type(theta.dtype, (theta.shape[0], *lengths, len(lengths)))]


def _run(attrs: Mapping[str, Any], theta: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
    lengths = _lengths("AffineGrid", theta.shape, size.tolist())
    (wide,) = widened(theta)
    axes = [_steps(length, bool(attrs["align_corners"])).astype(wide.dtype) for length in lengths]
    grids = np.meshgrid(*axes, indexing="ij")
    points = np.stack([*grids[::-1], np.ones_like(grids[0])], -1).reshape(-1, len(lengths) + 1)
    y = points @ wide.transpose(0, 2, 1)
    return (y.reshape(len(theta), *lengths, len(lengths)).astype(theta.dtype),)


def _steps(length: int, corners: bool) -> np.ndarray:
    """Centers of pixels between -1 and 1, which are the first and last center (``corners``) or the outer edges."""
    if corners:
        return np.linspace(-1, 1, length) if length > 1 else np.zeros(length)
    return (2 * np.arange(length) + 1) / max(length, 1) - 1


def _case(name: str, *size: int, **attrs: int) -> Case:
    rank = len(size) - 2
    return Case(name, (Arg((size[0], rank, rank + 1)), Arg((len(size),), "int64", value=list(size), constant=True)), attrs)


OP = Op("AffineGrid", {"align_corners": 0}, (2, 2), _infer, _run, cases=(
    _case("image", 2, 3, 4, 5),
    _case("image_corners", 2, 3, 4, 5, align_corners=1),
    _case("volume", 1, 2, 3, 2, 4),
    _case("volume_corners", 1, 2, 3, 2, 4, align_corners=1),
))
