"""What a caller hands over: arrays by name, checked against what the model takes and makes. Every mistake is one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..formats.errors import ThinferError
from ..formats.value_info import ValueInfo

if TYPE_CHECKING:
    from ..kernels.ops._op import Type

Feeds = Mapping[str, np.ndarray]


class InputError(ThinferError, ValueError):
    """``run`` or ``bind`` was given something that the model does not take; the message says what it expects."""


def checked_feeds(inputs: Sequence[ValueInfo], feeds: Feeds) -> dict[str, np.ndarray]:
    """The feeds as arrays, if they are what ``inputs`` describe; raises InputError that says what was expected."""
    if not isinstance(feeds, Mapping):
        raise InputError(f"feeds must be a dict of arrays by input name, not {type(feeds).__name__}")
    if len(feeds) > len(inputs) or any(info.name not in feeds for info in inputs):
        raise InputError(_wrong_names(inputs, feeds))
    symbols: dict[str, int] = {}
    arrays = {}
    for info in inputs:
        array = np.asarray(feeds[info.name])
        if array.dtype != info.dtype:
            raise InputError(f"input {info.name!r} has dtype {array.dtype}; the model takes {info.dtype}")
        _check_shape(info, array.shape, symbols)
        arrays[info.name] = array
    return arrays


def checked_bound_inputs(inputs: Sequence[ValueInfo], feeds: Feeds) -> dict[str, np.ndarray]:
    """As ``checked_feeds``, but arrays that can be read where they lie, run after run."""
    if isinstance(feeds, Mapping):
        for name, array in feeds.items():
            _check_memory(f"input {name!r}", array)
    return checked_feeds(inputs, feeds)


def checked_bound_outputs(results: Mapping[str, Type | None], outputs: Feeds | None, feeds: Feeds) -> dict[str, np.ndarray]:
    """An array for each of ``results``: those given, which must be what the model makes for ``feeds``, and new ones for the others."""
    given: Feeds = {} if outputs is None else outputs
    if not isinstance(given, Mapping):
        raise InputError(f"outputs must be a dict of arrays by output name, or None, not {type(given).__name__}")
    for name in given:
        if name not in results:
            raise InputError(f"there is no output {name!r}; the model's outputs are {', '.join(results)}")
    found: dict[str, np.ndarray] = {}
    for name, kind in results.items():
        if kind is None:
            raise InputError(f"the shape of output {name!r} is known only after a run, so it cannot be bound; use run")
        found[name] = _checked_output(name, kind, given[name]) if name in given else np.empty(kind.shape, kind.dtype)
    _check_apart({f"input {name!r}": array for name, array in feeds.items()}, {f"output {name!r}": array for name, array in found.items()})
    return found


def _checked_output(name: str, kind: Type, array: np.ndarray) -> np.ndarray:
    what = f"output {name!r}"
    _check_memory(what, array)
    if array.dtype != kind.dtype:
        raise InputError(f"{what} has dtype {array.dtype}; the model makes {kind.dtype}")
    if array.shape != kind.shape:
        raise InputError(f"{what} has shape {array.shape}; for these inputs the model makes {_shape_text(kind.shape)}")
    if not array.flags.writeable:
        raise InputError(f"{what} is read-only; the model writes into it")
    return array


def _check_memory(what: str, array: object) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{what} must be a NumPy array to be bound, not {type(array).__name__}")
    if not array.flags.c_contiguous:
        raise InputError(f"{what} is not C-contiguous; bind needs arrays that lie in one piece, as numpy.ascontiguousarray makes them")
    if not array.flags.aligned:
        raise InputError(f"{what} begins at an address that {array.dtype} may not begin at; bind needs aligned arrays, as array.copy() makes them")


def _check_apart(inputs: Feeds, outputs: Feeds) -> None:
    """No output may lie where something else does: steps write outputs while inputs are still to be read."""
    before = dict(inputs)
    for name, array in outputs.items():
        for other, held in before.items():
            if np.may_share_memory(array, held):
                raise InputError(f"{name} shares memory with {other}; bind needs a memory of its own for each output")
        before[name] = array


def _wrong_names(inputs: Sequence[ValueInfo], feeds: Iterable[str]) -> str:
    expected = ", ".join(f"{info.name}: {info.dtype}{_shape_text(info.shape)}" for info in inputs)
    names = [info.name for info in inputs]
    unknown = next((name for name in feeds if name not in names), None)
    if unknown is not None:
        return f"there is no input {unknown!r}; the model takes {expected}"
    return f"the input {next(name for name in names if name not in set(feeds))!r} is missing; the model takes {expected}"


def _check_shape(info: ValueInfo, shape: tuple[int, ...], symbols: dict[str, int]) -> None:
    if shape == info.shape:
        return
    fits = len(shape) == len(info.shape) and all(dim == length for dim, length in zip(info.shape, shape) if isinstance(dim, int))
    if not fits:
        raise InputError(f"input {info.name!r} has shape {shape}; the model takes {_shape_text(info.shape)}")
    for dim, length in zip(info.shape, shape):
        if isinstance(dim, str) and symbols.setdefault(dim, length) != length:
            raise InputError(f"input {info.name!r} has shape {shape}, but {dim} is {symbols[dim]} in another input")


def _shape_text(shape: Sequence[object]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
