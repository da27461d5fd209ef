"""Loads a ``.thin`` file and runs it, still compressed. Needs NumPy alone.

    session = runtime.load("model.thin", threads=2)
    outputs = session.run({"image": x})
    step = session.bind({"image": x})      # the same arrays again and again: step() reads x as it is then
"""

from .feeds import InputError
from .session import BackendError, Session, load
from .shapes import UnsupportedOps, check

__all__ = ["BackendError", "InputError", "Session", "UnsupportedOps", "check", "load"]
