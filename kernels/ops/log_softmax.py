"""LogSoftmax: ``x - log Σ exp(x)`` along one axis."""

from __future__ import annotations

from ._softmax import along_axis, log_softmax

OP = along_axis("LogSoftmax", log_softmax)
