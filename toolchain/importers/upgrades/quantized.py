"""Quantized operators, and those of onnxruntime's domain ``com.microsoft``."""

from __future__ import annotations

from .._context import Upgrade

UPGRADES: dict[str, tuple[tuple[int, Upgrade], ...]] = {}
