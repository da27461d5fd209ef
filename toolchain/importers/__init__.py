"""Reads trained models into ``Graph``. Whatever the source, the way leads through ONNX, so there is one importer of graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...formats.graph import Dim, Graph
from ...formats.preamble import MAGIC
from ._errors import ArchitectureError, InputShapeError, MissingModel, ModelError, UnreadableModel, UnsupportedModel, UntrustedModel
from ._files import first_bytes, is_name, is_safetensors, refuse_arch

__all__ = ["ArchitectureError", "InputShapeError", "MissingModel", "ModelError", "UnreadableModel", "UnsupportedModel",
           "UntrustedModel", "data_files", "is_for_torch", "is_name", "load", "refuse_arch"]

PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How a pickle of protocol 2 to 5 begins: torch files from before the zip format."""


def load(path: str | Path, *, trust_pickle: bool = False, arch: str | None = None,
         input_shapes: Mapping[str, Sequence[Dim]] | None = None) -> Graph:
    """The model at ``path`` as a graph in the form of opset 28, with BatchNormalization and Dropout as the source has them.

    The content of the file decides what it is, not its suffix: an ONNX model, a ``torch.export`` program (``.pt2``), a TorchScript
    archive, a pickled torch module or state dict (``.pt``, ``.pth``), or a state dict as safetensors. ``timm:NAME`` and
    ``torchvision:NAME`` are architectures of those packages, where no file is called so. ``trust_pickle`` allows pickles to run the
    code they contain. ``arch`` is ``"package.module:factory"``, whose call makes the module of a state dict. ``input_shapes``: input
    name → shape, lengths or names of symbolic dimensions; torch modules need it, other models may narrow theirs with it.

    Raises a subclass of ModelError, ``runtime.shapes.UnsupportedOps`` (which lists all unsupported operators and nodes), or
    GraphError.
    """
    file = Path(path)
    shapes = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    if is_for_torch(file):
        from . import torch as from_torch

        return from_torch.load(file, trust_pickle=trust_pickle, arch=arch, input_shapes=shapes)
    from . import onnx as from_onnx

    refuse_arch(file, arch, "an ONNX model")
    return from_onnx.load(file, shapes)


def data_files(path: str | Path) -> list[Path]:
    """The files beside the model at ``path`` that it says its weights lie in, whether they are there or not. Raises ModelError."""
    if is_for_torch(path):
        return []  # torch keeps all in one file
    from . import onnx as from_onnx

    return from_onnx.data_files(Path(path))


def is_for_torch(path: str | Path) -> bool:
    """Whether torch reads what is at ``path``, rather than onnx. Raises MissingModel, UnreadableModel."""
    if is_name(path):
        return True
    start = first_bytes(Path(path))
    if start.startswith(MAGIC):
        raise UnreadableModel(f"{path} is a packed file, which inspect, run, verify, bench, tune and convert take; "
                              "give the model that it was made from")
    return start.startswith((b"PK\x03\x04", *PICKLE_STARTS)) or is_safetensors(start)
