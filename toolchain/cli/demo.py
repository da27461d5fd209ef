"""``toolchain demo``: the whole way with what ``examples/lenet`` carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from ... import runtime
from ...formats import writer
from ...formats.graph import Graph
from .. import recipe as recipes
from ..arrays import load_npz
from ..errors import UsageError
from ..measure import Contender, Measured, measure
from ..pipeline import compress
from ..report import as_json_text, table
from ._options import Source, json_option, quiet_option
from ._progress import progress

FOLDER = Path("examples") / "lenet"
FILES = ("lenet5.pt2", "digits.npz")
RECIPES = ("deep-compression", "dense")


@click.command()
@quiet_option
@json_option
def command(quiet: bool, as_json: bool) -> None:
    """Pack a trained LeNet-5 with the recipe deep-compression and run it on 1,000 handwritten digits, beside the dense model.

    Needs no network. Works in a checkout of Thinfer, whose folder examples/lenet carries the model and the digits.
    """
    folder = find_folder()
    digits = load_npz(folder / "digits.npz")
    images, labels = digits["images"][:, None].astype(np.float32) / 255, digits["labels"]
    with TemporaryDirectory() as scratch, progress(quiet) as show:
        show("reading lenet5.pt2", 0, 0)
        graph = Source(folder / "lenet5.pt2").load({})
        contenders = [_packed(graph, name, Path(scratch)) for name in RECIPES]
        accuracy = [_accuracy(contender.session, images, labels) for contender in contenders]
        rows = measure(contenders, {graph.inputs[0].name: images[:1]}, lambda done, total: show("measuring", done, total))
        session = contenders[0].session
    if as_json:
        click.echo(as_json_text({"digits": len(labels), "backend": session.backend, "isa": session.isa,
                                 "models": [{"accuracy": share, **asdict(row)} for share, row in zip(accuracy, rows)]}))
    else:
        click.echo(f"{_table(accuracy, rows)}\nLeNet-5 on {len(labels):,} test digits; median latency at batch 1, 1 thread, "
                   f"backend {session.backend}, ISA level {session.isa or '–'}")


def find_folder() -> Path:
    """The folder with the model and the digits: below the current one, or in the checkout that this code lies in. UsageError if none."""
    places = [Path.cwd() / FOLDER, Path(__file__).resolve().parents[2] / FOLDER]
    for place in places:
        if all((place / name).is_file() for name in FILES):
            return place
    where = " nor in ".join(str(place) for place in dict.fromkeys(places))
    raise UsageError(f"the demo needs {' and '.join(FILES)}, which are not in {where}; run it from a checkout of Thinfer")


def _packed(graph: Graph, recipe: str, folder: Path) -> Contender:
    path = folder / f"{recipe}.thin"
    writer.write(compress(graph, recipes.load(recipe)), path)
    return Contender(recipe, runtime.load(path), path.stat().st_size)


def _accuracy(session: runtime.Session, images: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(session(images).argmax(1) == labels))


def _table(accuracy: Sequence[float], rows: Sequence[Measured]) -> str:
    thin, dense = rows
    return table(("", RECIPES[1], RECIPES[0], "ratio"), [
        ("accuracy", f"{100 * accuracy[1]:.1f} %", f"{100 * accuracy[0]:.1f} %", f"{accuracy[0] / accuracy[1]:.3f}"),
        ("file bytes", f"{dense.nbytes_file:,}", f"{thin.nbytes_file:,}", f"{dense.file_ratio:.2f}"),
        ("weights in RAM, bytes", f"{dense.nbytes_ram:,}", f"{thin.nbytes_ram:,}", f"{dense.ram_ratio:.2f}"),
        ("latency, ms", f"{1e3 * dense.seconds_median:.3f}", f"{1e3 * thin.seconds_median:.3f}", f"{dense.speedup:.2f}"),
    ], right=range(1, 4))
