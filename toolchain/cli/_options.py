"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ...formats.graph import Dim, Graph
from ..errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
threads_option = click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N", help="Threads per run.")


def file_argument(function: F) -> F:
    """FILE, a ``.thin`` file."""
    return click.argument("file", type=click.Path(path_type=Path), metavar="FILE")(function)


def model_options(function: F) -> F:
    """How to read MODEL."""
    trust = click.option("--trust-pickle", is_flag=True, help="Allow pickles to run the code that they contain.")
    arch = click.option("--arch", metavar="PACKAGE.MODULE:FACTORY", help="What makes the module of a state dict.")
    return trust(arch(function))


@dataclass(frozen=True)
class Source:
    """A model and how to read it."""

    path: Path
    trust_pickle: bool = False
    arch: str | None = None

    def load(self, input_shapes: Mapping[str, tuple[Dim, ...]]) -> Graph:
        """The model as a graph; see ``importers.load``."""
        from ..importers import load

        return load(self.path, trust_pickle=self.trust_pickle, arch=self.arch, input_shapes=input_shapes)


def read_shapes(given: tuple[str, ...]) -> dict[str, tuple[Dim, ...]]:
    """``("image:1,3,224,224", …)`` → input name → shape."""
    found: dict[str, tuple[Dim, ...]] = {}
    for text in given:
        name, _, dims = text.rpartition(":")
        shape = tuple(_dim(part.strip(), text) for part in dims.split(","))
        if not name:
            raise UsageError(f"the input shape {text!r} has no name; write NAME:1,3,224,224")
        if name in found:
            raise UsageError(f"the input {name!r} is given two shapes")
        found[name] = shape
    return found


def _dim(part: str, text: str) -> Dim:
    if part.isidentifier():
        return part
    if not part.isdecimal() or int(part) == 0:
        raise UsageError(f"the input shape {text!r} has the dimension {part!r}; dimensions are whole numbers of at least 1, or names")
    return int(part)
