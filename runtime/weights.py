"""The weights of a session in RAM: each packed once per layout that some plan's kernel wants, still encoded, shared by all plans."""

from __future__ import annotations

from _thread import allocate_lock  # which threading would take half a millisecond to import
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..formats.tensor import EncodedTensor
    from ..kernels.compact import CompactTensor
    from ..kernels.slabs import Slabs

Pack = Callable[["EncodedTensor"], np.ndarray]


class PackedWeights:
    """Packs weights on first use. The source table may be lazy (a file): a tensor is taken from it, packed, and let go."""

    def __init__(self, source: Callable[[], Mapping[str, EncodedTensor]]) -> None:
        """``source`` is asked for the table as soon as a weight is wanted that is not here."""
        self._source = source
        self._packed: dict[tuple[str, str], np.ndarray] = {}
        self._compact: dict[str, CompactTensor] = {}
        self._slabs: Slabs | None = None
        self._lock = allocate_lock()

    @property
    def source(self) -> Mapping[str, EncodedTensor]:
        return self._source()

    def adopt(self, name: str, layout: str, array: np.ndarray) -> None:
        """Takes a weight that was packed before, unless it is here."""
        with self._lock:
            self._packed.setdefault((name, layout), array)

    def packed(self, name: str, layout: str, pack: Pack) -> np.ndarray:
        """uint8 array, 64-byte aligned: the weight as ``pack`` lays it out."""
        with self._lock:
            found = self._packed.get((name, layout))
            if found is None:
                source = self.source
                found = self._packed[name, layout] = self._made(source, name, pack)
                release = getattr(source, "release", None)  # of a table that lies in a file
                if release is not None:
                    release(name)
            return found

    def _made(self, source: Mapping[str, EncodedTensor], name: str, pack: Pack) -> np.ndarray:
        from ..kernels.slabs import ALIGNMENT, Slabs, aligned, taken_from

        self._slabs = self._slabs or Slabs(getattr(source, "nbytes", 0))
        with taken_from(self._slabs):
            flat = np.ascontiguousarray(pack(source[name])).reshape(-1).view(np.uint8)
            if flat.__array_interface__["data"][0] % ALIGNMENT == 0:
                return flat
            out = aligned(flat.nbytes)
            out[:] = flat
            return out

    def compact(self, name: str) -> CompactTensor:
        """The weight as the NumPy backend keeps it."""
        from ..kernels.compact import CompactTensor

        with self._lock:
            if name not in self._compact:
                self._compact[name] = CompactTensor(self.source[name])
            return self._compact[name]

    def memory(self) -> dict[str, list[tuple[str, int]]]:
        """Weight name → (layout, bytes in RAM) of every form in which it is held."""
        found: dict[str, list[tuple[str, int]]] = {}
        with self._lock:
            for (name, layout), array in self._packed.items():
                found.setdefault(name, []).append((layout, array.nbytes))
            for name, tensor in self._compact.items():
                found.setdefault(name, []).append((tensor.layout, tensor.nbytes))
        return found
