"""``toolchain run``: one inference, arrays in and out."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from ... import runtime
from ..arrays import load_npz, save_npz
from ..report import shape_text, table
from ._options import file_argument, threads_option
from ._outputs import checked_output


@click.command()
@file_argument
@click.option("--input", "input_file", required=True, type=click.Path(path_type=Path), metavar="X.npz", help="An array per input, by name.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="Y.npz", help="Where to write the outputs, by name.")
@click.option("--backend", metavar="NAME", help="native, numba or numpy. Default: native where there are compiled kernels, else numpy.")
@threads_option
def command(file: Path, input_file: Path, output: Path | None, backend: str | None, threads: int) -> None:
    """Run FILE on the arrays in X.npz.

    Without -o a line per output says what came out.
    """
    if output is not None:
        checked_output(output, [("the packed file", file), ("the input data", input_file)])
    session = runtime.load(file, backend=backend, threads=threads)
    found = session.run(load_npz(input_file))
    if output is not None:
        save_npz(output, found)
    else:
        click.echo(table(("output", "dtype", "shape", "least", "mean", "greatest"), [_row(name, array) for name, array in found.items()],
                         right=range(3, 6)))


def _row(name: str, array: np.ndarray) -> tuple[str, ...]:
    figures = ("–",) * 3 if array.size == 0 else tuple(f"{float(value):.6g}" for value in (array.min(), array.mean(), array.max()))
    return name, array.dtype.name, shape_text(array.shape), *figures
