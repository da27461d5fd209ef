"""Strict reading of recipes: every value has a reader, and whatever is not as it must be is one sentence that says where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..formats.errors import ThinferError

Reader = Callable[[Any, str], Any]
"""(value, where it stands) → what it means; raises RecipeError."""


class RecipeError(ThinferError, ValueError):
    """A recipe is wrong, or does not fit the model."""


def mapping(value: Any, where: str, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """The keys that are present, each read by its reader; an unknown key is an error that lists the valid ones."""
    if not isinstance(value, dict):
        raise RecipeError(f"{where or 'a recipe'} is {shown(value)}; it must be a mapping with keys of {', '.join(sorted(readers))}")
    for key in value:
        if key not in readers:
            place = f" in {where}" if where else ""
            raise RecipeError(f"there is no key {key!r}{place}; the valid keys are {', '.join(sorted(readers))}")
    return {key: readers[key](item, f"{where}.{key}" if where else key) for key, item in value.items()}


def whole(least: int, most: int | None = None) -> Reader:
    """A whole number within bounds, both included."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(value: Any, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
            raise RecipeError(f"{where} is {shown(value)}; it must be a whole number {bounds}")
        return value

    return read


def number(least: float, below: float | None = None) -> Reader:
    """A finite number, at least ``least`` and less than ``below``."""
    most = float("inf") if below is None else below
    bounds = f"of at least {least:g}" + ("" if below is None else f" and below {below:g}")

    def read(value: Any, where: str) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value < most:
            raise RecipeError(f"{where} is {shown(value)}; it must be a number {bounds}")
        return float(value)

    return read


def one_of(*valid: str) -> Reader:
    def read(value: Any, where: str) -> str:
        if not isinstance(value, str) or value not in valid:
            raise RecipeError(f"{where} is {shown(value)}; it must be one of {', '.join(valid)}")
        return value

    return read


def flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise RecipeError(f"{where} is {shown(value)}; it must be true or false")
    return value


def text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise RecipeError(f"{where} is {shown(value)}; it must be text")
    return value


def optional(reader: Reader) -> Reader:
    """``null``, or what ``reader`` reads."""
    return lambda value, where: None if value is None else reader(value, where)


def section(readers: Mapping[str, Reader], make: Callable[..., Any]) -> Reader:
    """A mapping whose keys become the arguments of ``make``."""
    return lambda value, where: make(**mapping(value, where, readers))


def shown(value: Any) -> str:
    """A value as it may stand in a sentence."""
    found = "empty" if value is None else repr(value)
    return found if len(found) <= 60 else f"{found[:57]}..."
