"""What a command writes: checked before any work is done, for all commands alike."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ...formats.replacing import regular
from ..errors import UsageError


def checked_output(target: Path, read: Iterable[tuple[str, Path]]) -> Path:
    """``target``, if a file can be written there and it is none of those that the command reads (what people call it, where it lies).

    ``read`` is gone through only where something lies at ``target`` already. Links to a file are that file. Raises UsageError,
    FileAccessError.
    """
    if os.path.exists(target):
        for what, path in read:
            if _is_same(target, path):
                raise UsageError(f"the output {target} is {what} itself; give another file with -o")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent} to write {target.name} to")
    regular(target)
    return target


def beside(path: Path, suffix: str) -> Path:
    """Where a command writes by default: ``path`` with another suffix. Raises UsageError for what no file can be called (``""``, ``/``)."""
    if path.name in ("", ".."):
        raise UsageError(f"{path} is a directory, not a file")
    return path.with_suffix(suffix)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # it is not there, or no file can be called so: whoever reads it says that
        return False
