"""Blocks of pixels as channels: what DepthToSpace and SpaceToDepth have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...formats.graph import Node
from ._check import need, want_choice, want_rank, where
from ._op import OpError, Type

MODES = ("DCR", "CRD")
"""Order of the many channels: place in the block first and channel last (depth, column, row), or the other way round."""


def checked(node: Node, attrs: Mapping[str, Any], args: Any) -> Type:
    """The image [N, C, H, W]. OpError for wrong attributes or rank."""
    x = need(node, args, 0, "data")
    want_rank(node, x, 4, most=4)
    want_choice(node, attrs, "mode", MODES)
    if attrs["blocksize"] < 1:
        raise OpError(f"{where(node)} has the blocksize {attrs['blocksize']}; it takes 1 or more")
    return x


def deep_channels(attrs: Mapping[str, Any], channels: int) -> np.ndarray:
    """int64[channels, block²]: where the pixels of each channel's blocks stand among the many channels, in row-major order."""
    area = attrs["blocksize"] ** 2
    numbers = np.arange(channels * area)
    return numbers.reshape(area, channels).T if attrs["mode"] == "DCR" else numbers.reshape(channels, area)
