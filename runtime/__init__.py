"""Loads a ``.thin`` file and runs it, still compressed. Needs NumPy alone.

    session = runtime.load("model.thin", threads=2)
    outputs = session.run({"image": x})
    step = session.bind({"image": x})      # the same arrays again and again: step() reads x as it is then
"""

from typing import TYPE_CHECKING, Any

from .feeds import InputError
from .session import BackendError, Session, load

if TYPE_CHECKING:
    from .shapes import UnsupportedOps, check

__all__ = ["BackendError", "InputError", "Session", "UnsupportedOps", "check", "load"]


def __getattr__(name: str) -> Any:
    """What few need is imported when somebody asks for it."""
    if name in ("UnsupportedOps", "check"):
        from . import shapes

        return getattr(shapes, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
