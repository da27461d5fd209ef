"""Plans in a folder: what a session made of a file for some shapes, steps and packed weights, for processes to come. Off unless a folder is named.

A cache file is one model's, for one way of running it, and holds a plan for each of a few shapes:

    magic · CRC-32 of everything behind it · bytes of the description · bytes of the file · description · arrays, at multiples of 64 bytes

The description is plain data as ``marshal`` writes it: to import ``json`` would take longer than to sum 14 MB. Steps name memory by (space, index,
offset), never by address, and the engine checks each of these (runtime/native/engine.cpp). A file counts only if its CRC-32 is right, if it was made
of this very model (the header, which holds the size and CRC-32 of every weight, byte for byte), in this way, by the same files of Thinfer's (size and
time of each that was loaded, as Python holds it with ``__pycache__``), and if nobody else may write to it. What else lies there is ignored and, if
the folder allows, replaced. So weights are not read again from the model's file, which may be damaged where no plan notices.
"""

from __future__ import annotations

import marshal
import mmap
import os
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..formats.checksum import crc32
from ..formats.record import replace
from ..formats.value_info import ValueInfo
from .model_file import ModelFile
from .stage import EngineProgram, Slot

Shapes = tuple[tuple[int, ...], ...]

MAGIC = b"THINPLN0"
PREAMBLE = struct.Struct("<8sIIQ")
SUMMED = struct.calcsize("<8sI")
"""Where the bytes begin that the CRC-32 covers."""
MARSHAL = 2
"""Version of what marshal writes: numbers, texts and lists are the same in every Python since 2.5."""
ALIGNMENT = 64
MOST_PLANS = 8
"""Plans in a file: those of the first shapes that were run."""
PACKAGES = tuple(f"{__package__.rpartition('.')[0]}.{name}" for name in ("formats", "kernels", "runtime"))
"""Whose files decide what a plan is."""
STARTED = time.time_ns()
UNUSABLE = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What reading something else than a cache file of this version ends with."""


class PlanCache:
    """The cache file of a model, read at once. ``settings`` tells how it is run. ``plans`` by shapes of the inputs; with any, ``inputs`` and
    ``outputs`` are the model's."""

    def __init__(self, folder: str | os.PathLike[str], model: ModelFile, settings: str) -> None:
        self._model, self._settings = model, f"{settings}; numpy {np.__version__}; {os.path.dirname(__file__)}"
        self.path = os.path.join(folder, f"{crc32(model.header):08x}{crc32(self._settings.encode()):08x}.plans")
        self._files: dict[str, Sequence[int]] = {}
        self.inputs: tuple[ValueInfo, ...] = ()
        self.outputs: tuple[ValueInfo, ...] = ()
        self.plans: dict[Shapes, EngineProgram] = {}
        try:
            view = _mapped(self.path)
            if view is not None:
                self._read(view)
        except UNUSABLE:
            self.plans = {}

    def _read(self, view: memoryview) -> None:
        """Takes over what the file holds if it is whole and for us."""
        magic, crc, length, nbytes = PREAMBLE.unpack_from(view)
        start = PREAMBLE.size + length
        if magic != MAGIC or nbytes != len(view) or start > len(view) or crc32(view[SUMMED:]) != crc:
            return
        found = marshal.loads(view[PREAMBLE.size:start])
        if found["settings"] != self._settings or found["nbytes"] != self._model.nbytes or _identities(found["files"]) != found["files"]:
            return
        start = _aligned(start)
        arrays = [np.frombuffer(view, np.uint8, count, start + offset) for offset, count in found["arrays"]]
        if arrays[0].tobytes() != self._model.header:
            return
        self._files = found["files"]
        self.inputs, self.outputs = (tuple(ValueInfo(*_slot(slot)) for slot in found[key]) for key in ("inputs", "outputs"))
        self.plans = {tuple(tuple(shape) for shape in plan.pop("shapes")): _program(plan, arrays) for plan in found["plans"]}

    def forget(self, shapes: Shapes) -> None:
        """The plan turned out not to run."""
        del self.plans[shapes]

    def keep(self, shapes: Shapes, program: EngineProgram, inputs: Sequence[ValueInfo], outputs: Sequence[ValueInfo]) -> None:
        """Adds a plan, and writes the file as a whole, for its owner alone; a folder that does not let us is left alone."""
        if len(self.plans) >= MOST_PLANS:
            return
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.plans[shapes] = program
        used = [getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name.startswith(PACKAGES)]
        with suppress(OSError):
            self._files = _identities([*self._files, *filter(None, used)])
            if all(modified < STARTED for _, modified in self._files.values()):  # what changed since is not what made the plan
                self._write()

    def _write(self) -> None:
        from ..formats.replacing import replacing

        arrays = _Arrays()
        arrays.index(np.frombuffer(self._model.header, np.uint8))
        plans = [{**_plain(program, arrays), "shapes": [list(map(int, shape)) for shape in shapes]} for shapes, program in self.plans.items()]
        inputs, outputs = ([_plain_slot(info.name, info.dtype, info.shape) for info in infos] for infos in (self.inputs, self.outputs))
        description = marshal.dumps({"settings": self._settings, "nbytes": self._model.nbytes, "files": self._files, "plans": plans,
                                     "inputs": inputs, "outputs": outputs, "arrays": arrays.places}, MARSHAL)
        parts = [description, bytes(-(PREAMBLE.size + len(description)) % ALIGNMENT), *arrays.parts()]
        start = PREAMBLE.pack(MAGIC, 0, len(description), PREAMBLE.size + sum(map(len, parts)))
        crc = 0
        for part in (start[SUMMED:], *parts):
            crc = crc32(part, crc)
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        with replacing(self.path, mode=0o600, durable=False) as file:
            file.write(MAGIC + struct.pack("<I", crc) + start[SUMMED:])
            file.writelines(parts)


class _Arrays:
    """What goes behind the description; equal objects, and equal packed weights of several plans, once."""

    def __init__(self) -> None:
        self._held: list[np.ndarray] = []
        self._index: dict[int, int] = {}
        self.places: list[tuple[int, int]] = []
        self._end = 0

    def index(self, array: np.ndarray) -> int:
        """Its number in ``places``: (offset, bytes) of each."""
        if id(array) not in self._index:
            self._index[id(array)] = len(self._held)
            self._held.append(array)
            self.places.append((self._end, array.nbytes))
            self._end = _aligned(self._end + array.nbytes)
        return self._index[id(array)]

    def parts(self) -> Iterator[memoryview | bytes]:
        for array in self._held:
            yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            yield bytes(-array.nbytes % ALIGNMENT)


def _plain(program: EngineProgram, arrays: _Arrays) -> dict[str, Any]:
    """The program as Python's own numbers, texts and lists, without its arrays."""
    return {**vars(program), "code": arrays.index(program.code), "weights": [arrays.index(array) for array in program.weights],
            "inputs": [_plain_slot(*slot) for slot in program.inputs], "outputs": [_plain_slot(*slot) for slot in program.outputs],
            "arena_bytes": int(program.arena_bytes), "scratch_bytes": int(program.scratch_bytes), "cost": float(program.cost)}


def _plain_slot(name: str, dtype: str, shape: Sequence[int | str]) -> tuple[str, str, list[int | str]]:
    return name, dtype, [dim if isinstance(dim, str) else int(dim) for dim in shape]


def _program(plan: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> EngineProgram:
    """As ``_plain`` wrote it."""
    program = EngineProgram(**plan)
    return replace(program, code=arrays[plan["code"]].view(np.int64), weights=[arrays[index] for index in plan["weights"]],
                   names=[None if name is None else (name[0], name[1]) for name in plan["names"]],
                   inputs=[_slot(slot) for slot in plan["inputs"]], outputs=[_slot(slot) for slot in plan["outputs"]])


def _slot(found: Sequence[Any]) -> Slot:
    name, dtype, shape = found
    return name, dtype, tuple(shape)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _mapped(path: str) -> memoryview | None:
    """The file's bytes if it can hold anything and nobody but its owner, who is this user or root, may write to it. Raises OSError."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:  # not to wait at a pipe
        found = os.fstat(file.fileno())
        foreign = hasattr(os, "getuid") and (found.st_uid not in (os.getuid(), 0) or found.st_mode & 0o022)
        if foreign or not stat.S_ISREG(found.st_mode) or found.st_size < PREAMBLE.size:
            return None
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _identities(paths: Sequence[str] | Mapping[str, Any]) -> dict[str, Sequence[int]]:
    """Size and time of change of each file. Raises OSError where there is none."""
    found: dict[str, Sequence[int]] = {}
    for path in paths:
        status = os.stat(path)
        found[path] = [status.st_size, status.st_mtime_ns]
    return found
