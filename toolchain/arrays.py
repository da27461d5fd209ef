"""Arrays in and out of ``.npz`` files, and inputs that are made up."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from ..formats.graph import ValueInfo
from ..formats.replacing import replacing
from ..runtime.session import InputError, checked_feeds
from .errors import UsageError

OTHER_LENGTH = 32
"""Length of symbolic dimensions other than the first, where nobody says better."""

MOST_ELEMENTS = 1 << 28
"""Of an array that is made up, and of the input shapes that people give: 1 GiB of float32."""


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in the file by name. Raises UsageError."""
    try:
        found = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or 'it is no file of arrays'}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile):
        raise UsageError(f"{path} is not an .npz file of arrays, or is damaged") from None
    if isinstance(found, np.ndarray):
        raise UsageError(f"{path} holds one array without a name; save it with numpy.savez(path, NAME=array)")
    with found:
        return {name: _entry(path, found, name) for name in found.files}


def _entry(path: Path, archive: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        array = archive[name]
    except MemoryError:
        raise UsageError(f"the array {name!r} in {path} is larger than the memory") from None
    except Exception:  # zipfile, zlib and NumPy have no common class for what is damaged
        raise UsageError(f"{path} is not an .npz file of arrays: its entry {name!r} is damaged, or holds objects instead of numbers") from None
    if not isinstance(array, np.ndarray):  # another kind of zip archive, such as torch's
        raise UsageError(f"{path} is not an .npz file of arrays: its entry {name!r} is no array")
    return array


def save_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays under any names (``numpy.savez`` cannot take one that is called ``file``); the whole file or none.

    Raises FileAccessError.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def example_shape(info: ValueInfo, batch: int) -> tuple[int, ...]:
    """The shape of an input with its symbolic dimensions replaced: the first by ``batch``, others by 32."""
    return tuple(dim if isinstance(dim, int) else batch if place == 0 else OTHER_LENGTH for place, dim in enumerate(info.shape))


def random_feeds(inputs: Sequence[ValueInfo], batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Input name → array: standard normal for floats, 0 or 1 for everything else (small enough to be an index anywhere).

    Raises UsageError for an input too large to be made up.
    """
    rng = np.random.default_rng(seed)
    feeds = {}
    for info in inputs:
        shape = example_shape(info, batch)
        if prod(shape) > MOST_ELEMENTS:
            raise UsageError(f"the input {info.name!r} has {prod(shape):,} elements; inputs of at most {MOST_ELEMENTS:,} are made up")
        is_float = info.dtype.startswith("float")
        feeds[info.name] = (rng.standard_normal(shape) if is_float else rng.integers(0, 2, shape)).astype(info.dtype)
    return feeds


def checked_calibration(inputs: Sequence[ValueInfo], arrays: Mapping[str, np.ndarray], origin: Path) -> dict[str, np.ndarray]:
    """The arrays, if they are what the inputs take, with any number of samples instead of a fixed first dimension, and finite.

    Raises UsageError, which names the file by ``origin``.
    """
    loose = [replace(info, shape=("samples", *info.shape[1:])) if info.shape and isinstance(info.shape[0], int) else info for info in inputs]
    try:
        found = checked_feeds(loose, arrays)
    except InputError as error:
        raise UsageError(f"the data in {origin} cannot be used: {error}") from None
    for name, array in found.items():
        if array.size == 0:
            raise UsageError(f"the data in {origin} cannot be used: the array {name!r} is empty")
        if not np.isfinite(array).all():
            raise UsageError(f"the data in {origin} cannot be used: {name!r} has elements that are infinite or no numbers")
    return found


def in_batches(inputs: Sequence[ValueInfo], feeds: Mapping[str, np.ndarray], most: int = 32) -> list[dict[str, np.ndarray]]:
    """The feeds in runs that the model takes: as many samples as a fixed first dimension says, at most ``most`` of a symbolic one.

    One run with everything where the inputs have no first dimension in common.
    """
    firsts = {info.shape[0] if info.shape else None for info in inputs}
    first = firsts.pop() if len(firsts) == 1 else None
    counts = {array.shape[0] if array.ndim else 0 for array in feeds.values()}
    count = counts.pop() if len(counts) == 1 else 0
    step = first if isinstance(first, int) else most
    if first is None or step == 0 or count <= step or (isinstance(first, int) and count % step):
        return [dict(feeds)]
    return [{name: array[start:start + step] for name, array in feeds.items()} for start in range(0, count, step)]
