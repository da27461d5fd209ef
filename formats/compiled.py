"""The compiled part of this package, where it was built."""

from __future__ import annotations

import importlib
from typing import Any

native: Any
try:
    native = importlib.import_module("._native", __package__)
except ImportError:  # built without a compiler: Python and NumPy code everything
    native = None
