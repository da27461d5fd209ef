"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import click

from ...formats.graph import Dim, Graph, ValueInfo
from ...formats.preamble import MAGIC
from ...runtime.session import MOST_THREADS
from ..arrays import MOST_ELEMENTS
from ..errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")


class Threads(click.ParamType):
    """A number of threads."""

    name = "threads"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (text.isdecimal() and len(text) < 9 and 1 <= int(text) <= MOST_THREADS):
            self.fail(f"{text!r} is not a whole number from 1 to {MOST_THREADS}", param, ctx)
        return int(text)


threads_option = click.option("--threads", type=Threads(), default=1, show_default=True, metavar="N", help="Threads per run.")


def packed(_: click.Context, __: click.Parameter, files: Any) -> Any:
    """A file, or several, unless one is of another kind. What cannot be read, the reader says."""
    for file in files if isinstance(files, tuple) else (files,):
        _check_packed(file)
    return files


def _check_packed(file: Path) -> None:
    with suppress(OSError), file.open("rb") as stream:
        start = stream.read(len(MAGIC))
        if len(start) == len(MAGIC) and start != MAGIC:
            raise UsageError(f"{file} is no packed file: it begins with {start!r}, not with {MAGIC!r}; "
                             "if it is a model, toolchain pack makes a packed file of it, and toolchain explain says what it is")


def file_argument(function: F) -> F:
    """FILE, a ``.thin`` file."""
    return click.argument("file", type=click.Path(path_type=Path), metavar="FILE", callback=packed)(function)


def model_options(function: F) -> F:
    """How to read MODEL."""
    trust = click.option("--trust-pickle", is_flag=True, help="Allow pickles to run the code that they contain.")
    arch = click.option("--arch", metavar="PACKAGE.MODULE:FACTORY", help="What makes the module of a state dict.")
    return trust(arch(function))


def input_shape_option(function: F) -> F:
    return click.option("--input-shape", multiple=True, metavar="NAME:1,3,224,224", help="Shape of an input.")(function)


def inputs_options(function: F) -> F:
    """What FILE runs on."""
    data = click.option("--data", type=click.Path(path_type=Path), metavar="X.npz", help="Inputs, samples first. Default: random ones, seed 0.")
    return data(input_shape_option(function))


def shaped_inputs(graph: Graph, data: Path | None, input_shape: tuple[str, ...]) -> tuple[ValueInfo, ...]:
    """The graph's inputs with the shapes that ``--input-shape`` gives. Raises UsageError or InputShapeError."""
    if data is not None and input_shape:
        raise UsageError("--input-shape is for inputs that are made up; those of --data have shapes of their own")
    return shaped_graph(graph, input_shape).inputs


def shaped_graph(graph: Graph, input_shape: tuple[str, ...]) -> Graph:
    """The graph whose inputs have the shapes that ``--input-shape`` gives. Raises UsageError or InputShapeError."""
    if not input_shape:
        return graph
    from ..importers._interface import with_input_shapes

    return with_input_shapes(graph, read_shapes(input_shape))


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
        if prod(dim for dim in shape if isinstance(dim, int)) > MOST_ELEMENTS:
            raise _too_large(text)
        found[name] = shape
    return found


def _dim(part: str, text: str) -> Dim:
    if part.isidentifier():
        return part
    if not part.isdecimal() or not part.strip("0"):
        raise UsageError(f"the input shape {text!r} has the dimension {part!r}; dimensions are whole numbers of at least 1, or names")
    if len(part) > len(str(MOST_ELEMENTS)):  # before Python is asked to read a number of thousands of digits
        raise _too_large(text)
    return int(part)


def _too_large(text: str) -> UsageError:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return UsageError(f"the input shape {shown!r} is too large; an input has at most {MOST_ELEMENTS:,} elements")
