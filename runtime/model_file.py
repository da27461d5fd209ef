"""A ``.thin`` file that is parsed when somebody needs its graph, and known by its header before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..formats.errors import FormatError
from ..formats.preamble import header_place, mapped

if TYPE_CHECKING:
    from ..formats.graph import Graph


class ModelFile:
    """``header``: the file's bytes to the end of the header, which holds size and CRC-32 of every weight; ``nbytes`` of the whole file.
    Raises what ``formats.reader.read`` does of a file that does not begin as it should."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        try:
            self._view = mapped(path)
            self.header = bytes(self._view[:header_place(self._view)[1]])
        except FormatError as error:
            raise type(error)(f"{self._path}: {error}") from None
        self.nbytes = len(self._view)

    def graph(self) -> Graph:
        """As ``formats.reader.read``."""
        from ..formats.reader import from_bytes

        return from_bytes(self._view, origin=self._path)
