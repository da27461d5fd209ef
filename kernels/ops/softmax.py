"""Softmax: ``exp(x) / Σ exp(x)`` along one axis."""

from __future__ import annotations

from ._softmax import along_axis, softmax

OP = along_axis("Softmax", softmax, wide=False)
