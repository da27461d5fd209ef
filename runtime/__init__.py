"""Loads a ``.thin`` file and runs it, still compressed. Needs NumPy alone.

    session = runtime.load("model.thin", threads=2)
    outputs = session.run({"image": x})
"""

from .session import BackendError, InputError, Session, load
from .shapes import UnsupportedOps, check

__all__ = ["BackendError", "InputError", "Session", "UnsupportedOps", "check", "load"]
