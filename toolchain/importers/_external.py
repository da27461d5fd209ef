"""ONNX external data: tensors whose bytes lie in files beside the model. They are mapped, so that nothing is read before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

from ._errors import UnreadableModel


class Files:
    """The files beside a model, each mapped once. ``folder`` is None where a model came from no file."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._maps: dict[Path, np.ndarray] = {}

    def mapped(self, tensor: onnx.TensorProto, what: str, nbytes: int) -> np.ndarray:
        """uint8[nbytes]: the tensor's bytes. UnreadableModel, which calls the tensor ``what``, if they leave the folder or are not all there."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if self._folder is None:
            raise UnreadableModel(f"the data of {what} lies in another file, and the model came from none")
        file = _inside(self._folder, entries.get("location", ""), what)
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries.get("length", nbytes))
        except ValueError:
            raise UnreadableModel(f"the place of {what} in {file} is not a number") from None
        if length != nbytes:
            raise UnreadableModel(f"{what} has {length} bytes in {file}, but its shape and data type need {nbytes}")
        whole = self._whole(file, what)
        if offset < 0 or offset + nbytes > whole.size:
            raise UnreadableModel(f"{what} lies at bytes {offset} to {offset + nbytes} of {file}, which has {whole.size}")
        return whole[offset:offset + nbytes]

    def _whole(self, file: Path, what: str) -> np.ndarray:
        if file not in self._maps:
            try:
                size = file.stat().st_size
                self._maps[file] = np.memmap(file, np.uint8, "r") if size else np.zeros(0, np.uint8)
            except OSError as error:
                raise UnreadableModel(f"the data of {what} cannot be read from {file}: {error.strerror}") from None
        return self._maps[file]


def _inside(folder: Path, location: str, what: str) -> Path:
    """The file that ``location`` names; links are followed first, so that none leads out of ``folder``."""
    if not location:
        raise UnreadableModel(f"the data of {what} lies in another file, but its location is empty")
    root = folder.resolve()
    try:
        file = (root / location).resolve()
    except (OSError, ValueError, RuntimeError):  # a NUL in the name, a ring of links
        raise UnreadableModel(f"the data of {what} lies at {location!r}, which is no file's name") from None
    if file != root and root not in file.parents:
        raise UnreadableModel(f"the data of {what} lies at {location!r}, outside the model's folder")
    if file.is_dir():
        raise UnreadableModel(f"the data of {what} lies at {location!r}, which is a folder and no file")
    return file


def locations(message: Message) -> list[str]:
    """Where the tensors in an ONNX message say that their data lie, once each, wherever in it they stand."""
    found: dict[str, None] = {}
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if isinstance(value, Sequence) else [value]:
                found.update(dict.fromkeys(_location(part) if isinstance(part, onnx.TensorProto) else locations(part)))
    return list(found)


def _location(tensor: onnx.TensorProto) -> list[str]:
    is_external = tensor.data_location == onnx.TensorProto.EXTERNAL
    return [entry.value for entry in tensor.external_data if entry.key == "location"] if is_external else []
