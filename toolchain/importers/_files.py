"""Looks at a file before anything reads it as a model."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from ._errors import ArchitectureError, MissingModel, UnreadableModel

SAFETENSORS_HEADER = 8
"""Bytes before the header of a safetensors file, which give its length; it begins with a brace."""


NAMES = re.compile(r"(timm|torchvision):[A-Za-z0-9_.]+")
"""How an architecture of a package is written."""

BARE = re.compile(r"[A-Za-z0-9_]+")
"""What might be meant for one."""


def is_name(path: str | Path) -> bool:
    """Whether it is the name of an architecture, and no file is called so."""
    return NAMES.fullmatch(str(path)) is not None and not Path(path).exists()


def refuse_arch(file: Path, arch: str | None, what: str) -> None:
    """ArchitectureError if ``arch`` is given for a model that is no state dict but ``what``."""
    if arch is not None:
        raise ArchitectureError(f"--arch is for state dicts, but {file} is {what}, which says itself what it computes; leave --arch out")


def is_safetensors(start: bytes) -> bool:
    """Whether a file that begins so is one of safetensors."""
    return start[SAFETENSORS_HEADER:SAFETENSORS_HEADER + 1] == b"{" and start[5:SAFETENSORS_HEADER] == bytes(3)


def first_bytes(file: Path) -> bytes:
    """The first bytes of the file; ModelError if it cannot be read or is empty."""
    if file.is_dir():
        raise MissingModel(f"{file} is a directory, not a model file")
    try:
        with file.open("rb") as stream:
            start = stream.read(64)
    except FileNotFoundError:
        named = f"; architectures of packages are written timm:{file} or torchvision:{file}" if BARE.fullmatch(str(file)) else ""
        raise MissingModel(f"there is no file {file}{named}") from None
    except OSError as error:
        raise MissingModel(f"{file} cannot be read: {error.strerror}") from None
    if not start:
        raise UnreadableModel(f"{file} is empty")
    return start


def entries(file: Path) -> list[str]:
    """The names in a zip archive, without the archive's top folder. UnreadableModel if it is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.partition("/")[2] or name for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnreadableModel(f"{file} begins like a torch file, but is truncated or damaged: {error}") from None
