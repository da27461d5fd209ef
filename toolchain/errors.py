"""What is told to a user whose input cannot be worked with."""

from __future__ import annotations

from ..formats.errors import ThinferError

EXTRAS = frozenset({"torch", "onnx", "onnxscript", "onnxruntime", "rich", "safetensors", "yaml"})
"""Modules of the toolchain extra (or better ones of the same use) that only some commands import."""


class UsageError(ThinferError, ValueError):
    """The arguments of a command make no sense together, or a file that it needs is not what it must be."""


def sentence(error: BaseException) -> str | None:
    """One sentence on one line; None if the error is not the user's but a defect of the program."""
    if isinstance(error, ThinferError):
        return " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and error.name is not None and error.name.partition(".")[0] in EXTRAS:
        return f'{error.name.partition(".")[0]} is not installed; this command needs pip install "thinfer[toolchain]"'
    if isinstance(error, OSError) and error.strerror is not None:
        # What is written without a name is what a command prints.
        return f"{error.filename}: {error.strerror}" if error.filename is not None else f"the output cannot be written: {error.strerror}"
    if isinstance(error, (MemoryError, OverflowError)):  # the latter where a size does not even fit a machine word
        return "there is not enough memory for this model"
    return None


def described(error: BaseException) -> str:
    """An error of somebody else's code on one line: its class and the first line of what it says."""
    line = first_line(error)
    return line if line == type(error).__name__ else f"{type(error).__name__}: {line}"


def first_line(error: BaseException) -> str:
    """The first line of what an error says; the name of its class where it says nothing, as SystemExit, whose text is a number."""
    lines = [] if isinstance(error, SystemExit) else str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
