"""GlobalAveragePool: the mean of each channel over all spatial positions; the spatial axes stay, with length 1."""

from __future__ import annotations

from ._global_pool import global_pool

OP = global_pool("GlobalAveragePool", lambda x, axes, attrs: x.mean(axis=axes, keepdims=True))
