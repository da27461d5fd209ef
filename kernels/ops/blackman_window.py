"""BlackmanWindow: two cosines (Harris 1978, On the use of windows for harmonic analysis)."""

from __future__ import annotations

from ._cosine_window import cosine_window

OP = cosine_window("BlackmanWindow", (0.42, 0.5, 0.08))
