"""Arrays in and out of ``.npz`` files, and inputs that are made up."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..formats.graph import ValueInfo
from ..formats.replacing import replacing
from .errors import UsageError

OTHER_LENGTH = 32
"""Length of symbolic dimensions other than the first, where nobody says better."""


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in the file by name. Raises UsageError."""
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise UsageError(f"{path} holds one array without a name; save it with numpy.savez(path, NAME=array)")
        with found:
            return {name: found[name] for name in found.files}
    except UsageError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, KeyError) as error:
        raise UsageError(f"{path} is not an .npz file of arrays: {error}") from None


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
    """Input name → array: standard normal for floats, 0 or 1 for everything else (small enough to be an index anywhere)."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for info in inputs:
        shape = example_shape(info, batch)
        is_float = info.dtype.startswith("float")
        feeds[info.name] = (rng.standard_normal(shape) if is_float else rng.integers(0, 2, shape)).astype(info.dtype)
    return feeds


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
