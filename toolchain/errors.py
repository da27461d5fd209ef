"""What is told to a user whose input cannot be worked with."""

from __future__ import annotations

from ..formats.errors import ThinferError

EXTRAS = frozenset({"torch", "onnx", "onnxscript", "onnxruntime", "rich", "yaml"})
"""Modules of the toolchain extra (or better ones of the same use) that only some commands import."""


class UsageError(ThinferError, ValueError):
    """The arguments of a command make no sense together, or a file that it needs is not what it must be."""


def sentence(error: Exception) -> str | None:
    """One sentence on one line; None if the error is not the user's but a defect of the program."""
    if isinstance(error, ThinferError):
        return " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and error.name is not None and error.name.partition(".")[0] in EXTRAS:
        return f'{error.name.partition(".")[0]} is not installed; this command needs pip install "thinfer[toolchain]"'
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this model"
    return None
