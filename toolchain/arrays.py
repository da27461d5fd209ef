"""Arrays in and out of ``.npz`` files, and inputs that are made up."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import islice, product
from math import prod
from pathlib import Path

import numpy as np

from ..formats.errors import ThinferError
from ..formats.graph import ValueInfo
from ..formats.replacing import replacing
from ..runtime.feeds import InputError, checked_feeds
from ..runtime.shapes import concrete
from .errors import UsageError

OTHER_LENGTH = 32
"""Length of symbolic dimensions other than the first, where nobody says better."""

TRIED_LENGTHS = (OTHER_LENGTH, 256, 1, 271, 64, 128, 512, 1024)
"""Lengths that inputs are made up with, until the model runs."""

MOST_CHOICES = 16
"""Of dimensions that are as long as the batch, for one length of the others."""

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


def random_feeds(inputs: Sequence[ValueInfo], batch: int, seed: int = 0, lengths: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Input name → array: standard normal for floats, 0 or 1 for everything else (small enough to be an index anywhere).

    Symbolic dimensions have the length that ``lengths`` says; else an input's first one is ``batch`` long, and others 32. Raises
    UsageError for an input too large to be made up.
    """
    rng = np.random.default_rng(seed)
    known = _lengths(inputs, batch) | dict(lengths or {})
    feeds = {}
    for info in inputs:
        shape = concrete(info, known)
        if prod(shape) > MOST_ELEMENTS:
            raise UsageError(f"the input {info.name!r} has {prod(shape):,} elements; inputs of at most {MOST_ELEMENTS:,} are made up")
        is_float = info.dtype.startswith("float")
        feeds[info.name] = (rng.standard_normal(shape) if is_float else rng.integers(0, 2, shape)).astype(info.dtype)
    return feeds


def _lengths(inputs: Sequence[ValueInfo], batch: int) -> dict[str, int]:
    """Symbolic dimension → length: those that some input has first are ``batch`` long, others 32."""
    others = {dim: OTHER_LENGTH for info in inputs for dim in info.shape if isinstance(dim, str)}
    return others | {info.shape[0]: batch for info in inputs if info.shape and isinstance(info.shape[0], str)}


def fitting_lengths(inputs: Sequence[ValueInfo], batch: int, run: Callable[[dict[str, np.ndarray]], object]) -> dict[str, int]:
    """Lengths of symbolic dimensions with which ``run`` takes inputs that are made up: 32 or another common one, or ``batch`` for some,
    which often must be equal where nobody said so. Raises UsageError where none fits."""
    known = _lengths(inputs, batch)
    free = [dim for dim in known if dim not in {info.shape[0] for info in inputs if info.shape}]
    if not free:
        return known
    said = ""
    for length in TRIED_LENGTHS:
        for chosen in islice(product((length, batch), repeat=len(free)), MOST_CHOICES):
            tried = known | dict(zip(free, chosen))
            try:
                run(random_feeds(inputs, batch, 0, tried))
            except ThinferError as error:
                said = said or str(error)
            else:
                return tried
    raise UsageError(f"no common lengths of {', '.join(free)} fit the model ({said}); "
                     "give inputs with --data X.npz, or their shapes with --input-shape NAME:1,256")


def checked_calibration(inputs: Sequence[ValueInfo], arrays: Mapping[str, np.ndarray], origin: Path) -> dict[str, np.ndarray]:
    """The arrays, if ``in_runs`` can make runs of them and they are finite. Raises UsageError, which names the file by ``origin``."""
    refused = f"the data in {origin} cannot be used: "
    for info in inputs:
        array = arrays.get(info.name, np.zeros(1))
        if array.size == 0:
            raise UsageError(f"{refused}the array {info.name!r} is empty")
        if array.dtype.kind not in "biuf":
            raise UsageError(f"{refused}{info.name!r} has dtype {array.dtype}; the model takes {info.dtype}")
        if not np.isfinite(array).all():
            raise UsageError(f"{refused}{info.name!r} has elements that are infinite or no numbers")
    try:
        for feeds in in_runs(inputs, arrays):
            checked_feeds(inputs, feeds)
    except (InputError, UsageError) as error:
        raise UsageError(f"{refused}{error}") from None
    return dict(arrays)


def in_runs(inputs: Sequence[ValueInfo], arrays: Mapping[str, np.ndarray], most: int = 32) -> list[dict[str, np.ndarray]]:
    """The arrays as what the model takes in each run.

    An array with one axis more than its input has a run for each index of that axis, others are the same in all runs. Where all inputs
    have the same first dimension, they may have any number of samples (``in_batches``).
    Raises UsageError if two arrays do not have the same number of runs.
    """
    ranks = {info.name: len(info.shape) for info in inputs}
    counts = {name: len(array) for name, array in arrays.items() if array.ndim == ranks.get(name, array.ndim) + 1}
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{count} of {name!r}" for name, count in counts.items())
        raise UsageError(f"arrays with one axis more than their inputs are samples, but they differ in number: {said}")
    if not counts:
        return in_batches(inputs, arrays, most)
    runs = ({name: array[run] if name in counts else array for name, array in arrays.items()} for run in range(next(iter(counts.values()))))
    return [{name: np.asarray(array) for name, array in feeds.items()} for feeds in runs]


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
