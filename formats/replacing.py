"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import FileAccessError


def regular(path: str | os.PathLike[str]) -> Path:
    """The file that writing to ``path`` would replace or make: where symbolic links lead.

    Raises FileAccessError if something that is no regular file is there (a folder, a device, a pipe): replacing it would destroy it.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(mode):
        raise _not_writable(path, "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file")
    return target


@contextmanager
def replacing(path: str | os.PathLike[str], *, mode: int = 0o666, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of the one at ``path`` in the end, unless something raises meanwhile.

    Temporary file (of ``mode``, less what the umask takes away) beside the target, fsync, rename, fsync of the folder; no fsync if it need not be
    ``durable``. Raises FileAccessError for every failure of the system.
    """
    target = regular(path)
    try:
        with _temporary(target, mode, durable) as file:
            yield file
        if durable and os.name == "posix":
            _sync_folder(target.parent)
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error


@contextmanager
def _temporary(target: Path, mode: int, durable: bool) -> Iterator[BinaryIO]:
    temporary = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _not_writable(path: str | os.PathLike[str], reason: str) -> FileAccessError:
    return FileAccessError(f"cannot write {os.fspath(path)!r}: {reason}")
