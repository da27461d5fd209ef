"""ONNX external data: initializers whose bytes lie in files beside the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from ._errors import UnreadableModel


def load(model: onnx.ModelProto, folder: Path) -> None:
    """Reads every external tensor of ``model`` into it, in place. UnreadableModel if one leaves ``folder`` or is not all there."""
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensor.raw_data = _bytes(tensor, folder)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _bytes(tensor: onnx.TensorProto, folder: Path) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = _inside(folder, entries.get("location", ""), tensor.name)
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError:
        raise UnreadableModel(f"the place of weight {tensor.name!r} in {file} is not a number") from None
    try:
        size = file.stat().st_size
        if offset < 0 or (length or 0) < 0 or offset + (length or 0) > size:
            raise UnreadableModel(f"weight {tensor.name!r} lies at bytes {offset} to {offset + (length or 0)} of {file}, which has {size}")
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(size - offset if length is None else length)
    except OSError as error:
        raise UnreadableModel(f"the data of weight {tensor.name!r} cannot be read from {file}: {error.strerror}") from None


def _inside(folder: Path, location: str, name: str) -> Path:
    """The file that ``location`` names; links are followed first, so that none leads out of ``folder``."""
    root = folder.resolve()
    file = (root / location).resolve()
    if not location or root not in file.parents:
        raise UnreadableModel(f"the data of weight {name!r} lies at {location!r}, outside the model's folder")
    return file
