"""What FILE runs on: the arrays of --data, run by run, or inputs that are made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ... import runtime
from ...formats.graph import ValueInfo
from ...runtime.feeds import InputError, checked_feeds
from ..arrays import fitting_lengths, in_runs, load_npz, random_feeds
from ..errors import UsageError

MADE_UP = "random, standard normal, seed 0"


def runs_of(inputs: Sequence[ValueInfo], data: Path, most: int) -> list[dict[str, np.ndarray]]:
    """The arrays in ``data`` as the model takes them in each run (``arrays.in_runs``), as ``pack`` reads them. Raises UsageError."""
    refused = f"the data in {data} cannot be used: "
    arrays = load_npz(data)
    try:
        runs = [checked_feeds(inputs, run) for run in in_runs(inputs, arrays, most)]
    except (InputError, UsageError) as error:
        raise UsageError(f"{refused}{error}") from None
    if not runs or (inputs and not any(array.size for array in runs[0].values())):
        raise UsageError(f"{refused}there are no samples in it")
    return runs


def made_up(session: runtime.Session, inputs: Sequence[ValueInfo], batch: int, seeds: Sequence[int] = (0,)) -> list[dict[str, np.ndarray]]:
    """Inputs for a run for each seed, of lengths that fit the model."""
    lengths = fitting_lengths(inputs, batch, session.run)
    return [random_feeds(inputs, batch, seed, lengths) for seed in seeds]


def lengths_of(inputs: Sequence[ValueInfo], feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Symbolic dimension → its length in the feeds."""
    return {dim: length for info in inputs for dim, length in zip(info.shape, feeds[info.name].shape) if isinstance(dim, str)}


def inputs_text(origin: str, lengths: Mapping[str, int]) -> str:
    """``inputs: x.npz, N = 1, T = 32``."""
    return ", ".join([f"inputs: {origin}", *(f"{name} = {length}" for name, length in lengths.items())])
