"""One axis of a Resize: how long it becomes, where the new places lie on the old axis, and what counts there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...formats.record import dataclass
from ._check import positive_axis
from ._interpolation import REACH, kernel_of, taps
from ._op import OpError

COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")
ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5), "round_prefer_ceil": lambda x: np.floor(x + 0.5), "floor": np.floor, "ceil": np.ceil}
POLICIES = ("stretch", "not_larger", "not_smaller")
MODES = ("nearest", "linear", "cubic")


@dataclass(frozen=True)
class Stretch:
    """What happens to one axis: from ``length`` to ``wanted`` elements, of which ``new`` are made (``wanted`` is a fraction where a
    scale says so), of the part ``start`` to ``end`` (fractions of the axis, for tf_crop_and_resize).

    Places are computed from lengths, not from their ratio, which is rounded: whether one lies exactly on an element matters.
    """

    length: int
    new: int
    wanted: float
    start: float = 0.0
    end: float = 1.0

    @property
    def same(self) -> bool:
        """Whether the axis stays as it is."""
        return self.wanted == self.new == self.length and (self.start, self.end) == (0, 1)

    def taps(self, attrs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """(int64[new, taps], float64[new, taps]): the elements that count for each new one, and their weights."""
        if self.same:
            return np.arange(self.new)[:, None], np.ones((self.new, 1))
        places = self.places(attrs["coordinate_transformation_mode"])
        if attrs["mode"] == "nearest":
            return self.nearest(places, attrs["nearest_mode"])[:, None], np.ones((self.new, 1))
        return self.weighted(places, attrs)

    def places(self, coordinates: str) -> np.ndarray:
        """float64[new]: where on the old axis each new element lies."""
        at, last, wanted = np.arange(self.new, dtype=np.float64), self.length - 1, self.wanted
        if self.new == 0:
            return at
        if coordinates == "align_corners":
            return at * last / (wanted - 1) if wanted != 1 else at * 0
        if coordinates == "asymmetric":
            return at * self.length / wanted
        if coordinates == "tf_crop_and_resize":
            if wanted == 1:
                return at * 0 + (self.start + self.end) * last / 2
            return self.start * last + at * (self.end - self.start) * last / (wanted - 1)
        if coordinates == "pytorch_half_pixel" and self.new == 1:
            return at * 0
        offset = self.length / 2 * (1 - self.new / wanted) if coordinates == "half_pixel_symmetric" else 0.0
        return offset + (at + 0.5) * self.length / wanted - 0.5

    def nearest(self, places: np.ndarray, rounding: str) -> np.ndarray:
        """int64[new]: the element that counts for each place."""
        return np.clip(ROUNDINGS[rounding](places), 0, self.length - 1).astype(np.int64)

    def weighted(self, places: np.ndarray, attrs: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """As ``taps``, for the modes that weigh."""
        mode = attrs["mode"]
        stretch = max(1.0, self.length / self.wanted) if attrs["antialias"] else 1.0
        index, weights = taps(places, kernel_of(mode, attrs["cubic_coeff_a"]), REACH[mode], stretch)
        if attrs["exclude_outside"]:
            weights = np.where((index < 0) | (index >= self.length), 0, weights)
            weights = weights / weights.sum(1, keepdims=True)
        return np.clip(index, 0, self.length - 1), weights


def numbers(*inputs: np.ndarray | None) -> tuple[Any, ...]:
    """Region, scales and sizes as lists. Empty ones stand for absent ones, as old models have them."""
    return tuple(None if array is None or not array.size else array.tolist() for array in inputs)


def stretches(place: str, attrs: Mapping[str, Any], shape: Sequence[int], roi: Sequence[float] | None, scales: Sequence[float] | None,
              sizes: Sequence[int] | None) -> dict[int, Stretch]:
    """What happens to each axis that is resized. Raises OpError for what does not go together."""
    named = range(len(shape)) if attrs["axes"] is None else attrs["axes"]
    axes = [positive_axis(place, axis, len(shape)) for axis in named]
    given = sizes if scales is None else scales
    if given is None or (scales is not None and sizes is not None):
        raise OpError(f"{place} has {'neither scales nor' if given is None else 'both scales and'} sizes; it takes one of them")
    if len(given) != len(axes) or len(set(axes)) < len(axes):
        raise OpError(f"{place} has {len(given)} {'scales' if sizes is None else 'sizes'} for the axes {tuple(axes)}; it takes one for each")
    crops = attrs["coordinate_transformation_mode"] == "tf_crop_and_resize"
    if crops and (roi is None or len(roi) != 2 * len(axes)):
        raise OpError(f"{place} has a region of {0 if roi is None else len(roi)} numbers; it takes all starts and all ends of {len(axes)} axes")
    lengths = [shape[axis] for axis in axes]
    found = _by_scales(place, lengths, scales) if scales is not None else _by_sizes(place, attrs, lengths, sizes or ())
    spans = zip(roi[:len(axes)], roi[len(axes):]) if crops and roi is not None else [(0.0, 1.0)] * len(axes)
    return {axis: Stretch(length, new, wanted, start, end) for axis, length, (new, wanted), (start, end) in zip(axes, lengths, found, spans)}


def _by_scales(place: str, lengths: Sequence[int], scales: Sequence[float]) -> list[tuple[int, float]]:
    """(new, wanted) of each axis. In float32, as onnx's own shape inference multiplies, which leaves the region out."""
    if any(not 0 < scale < np.inf for scale in scales):
        raise OpError(f"{place} has the scales {tuple(scales)}; they must be above 0")
    return [(int(np.floor(np.float32(length) * np.float32(scale))), scale * length) for length, scale in zip(lengths, scales)]


def _by_sizes(place: str, attrs: Mapping[str, Any], lengths: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, float]]:
    """(new, wanted) of each axis."""
    if any(size < 0 for size in sizes) or any(length == 0 < size for length, size in zip(lengths, sizes)):
        raise OpError(f"{place} resizes {tuple(lengths)} to {tuple(sizes)}; sizes are 0 or more, and nothing cannot become something")
    if attrs["keep_aspect_ratio_policy"] == "stretch":
        return [(size, float(size)) for size in sizes]
    ratios = [size / length for length, size in zip(lengths, sizes) if length]
    common = (min if attrs["keep_aspect_ratio_policy"] == "not_larger" else max)(ratios, default=1.0)
    return [(int(np.floor(common * length + 0.5)), common * length) for length in lengths]
