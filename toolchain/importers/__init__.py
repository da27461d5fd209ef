"""Reads trained models into ``Graph``. Whatever the source, the way leads through ONNX, so there is one importer of graphs."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...formats.graph import Dim, Graph
from ._errors import (
    ArchitectureError,
    InputShapeError,
    MissingModel,
    ModelError,
    UnreadableModel,
    UnsupportedModel,
    UntrustedModel,
)

__all__ = ["ArchitectureError", "InputShapeError", "MissingModel", "ModelError", "UnreadableModel", "UnsupportedModel",
           "UntrustedModel", "load"]

PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How a pickle of protocol 2 to 5 begins: torch files from before the zip format."""


def load(path: str | Path, *, trust_pickle: bool = False, arch: str | None = None,
         input_shapes: Mapping[str, Sequence[Dim]] | None = None) -> Graph:
    """The model at ``path`` as a graph in the form of opset 24, with BatchNormalization and Dropout as the source has them.

    The content of the file decides what it is, not its suffix: an ONNX model, a ``torch.export`` program (``.pt2``), or a
    pickled torch module or state dict (``.pt``, ``.pth``). ``trust_pickle`` allows pickles to run the code they contain.
    ``arch`` is ``"package.module:factory"``, whose call makes the module of a state dict. ``input_shapes``: input name →
    shape, lengths or names of symbolic dimensions; torch modules need it, other models may narrow theirs with it.

    Raises a subclass of ModelError, ``runtime.shapes.UnsupportedOps`` (which lists all unsupported operators and nodes), or
    GraphError.
    """
    file = Path(path)
    start = _first_bytes(file)
    shapes = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    if start.startswith(b"PK\x03\x04") or start.startswith(PICKLE_STARTS):
        from . import torch as from_torch

        return from_torch.load(file, _entries(file, start), trust_pickle=trust_pickle, arch=arch, input_shapes=shapes)
    from . import onnx as from_onnx

    return from_onnx.load(file, shapes)


def _first_bytes(file: Path) -> bytes:
    """The first bytes of the file; ModelError if it cannot be read or is empty."""
    if file.is_dir():
        raise MissingModel(f"{file} is a directory, not a model file")
    try:
        with file.open("rb") as stream:
            start = stream.read(64)
    except FileNotFoundError:
        raise MissingModel(f"there is no file {file}") from None
    except OSError as error:
        raise MissingModel(f"{file} cannot be read: {error.strerror}") from None
    if not start:
        raise UnreadableModel(f"{file} is empty")
    return start


def _entries(file: Path, start: bytes) -> list[str]:
    """The names in a zip archive, without the archive's top folder; none for a bare pickle."""
    if not start.startswith(b"PK"):
        return []
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.partition("/")[2] or name for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnreadableModel(f"{file} begins like a torch file, but is truncated or damaged: {error}") from None
