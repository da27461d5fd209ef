"""HammingWindow: the cosine on a pedestal, 25/46 and 21/46 (Harris 1978, On the use of windows for harmonic analysis)."""

from __future__ import annotations

from ._cosine_window import cosine_window

OP = cosine_window("HammingWindow", (25 / 46, 21 / 46))
