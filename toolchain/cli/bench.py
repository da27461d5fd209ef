"""``toolchain bench``: latency, RAM and bytes, beside the dense weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ... import runtime
from .. import recipe as recipes
from ..arithmetic import arithmetic
from ..arrays import random_feeds
from ..measure import Contender, Measured, dense_contender, expanded, measure
from ..pipeline import compress
from ..report import as_json_text, table
from ._options import Source, file_argument, json_option, model_options, quiet_option, threads_option
from ._progress import progress


@click.command()
@file_argument
@click.option("--against", multiple=True, type=click.Path(path_type=Path), metavar="MODEL",
              help="Compare with MODEL packed dense (may be given several times). Default: FILE's own graph, weights expanded.")
@threads_option
@model_options
@quiet_option
@json_option
def command(file: Path, against: tuple[Path, ...], threads: int, trust_pickle: bool, arch: str | None, quiet: bool, as_json: bool) -> None:
    """Measure FILE at batch 1 beside dense weights: latency, bytes of the weights in RAM, bytes of the file, speed-up.

    Latencies are the least and the median of interleaved blocks. Outputs are compared before anything is timed.
    """
    with progress(quiet) as show:
        show(f"reading {file.name}", 0, 0)
        session = runtime.load(file, threads=threads)
        contenders = [Contender(str(file), session, file.stat().st_size)]
        for path in against:
            show(f"reading {path.name}", 0, 0)
            graph = Source(path, trust_pickle, arch).load({info.name: info.shape for info in session.inputs})
            contenders.append(dense_contender(f"{path} packed dense", compress(graph, recipes.load("dense")), threads))
        if not against:
            contenders.append(dense_contender("this graph, expanded", expanded(session.graph), threads))
        rows = measure(contenders, random_feeds(session.inputs, 1), lambda done, total: show("measuring", done, total))
    if as_json:
        click.echo(as_json_text({"file": str(file), "backend": session.backend, "isa": session.isa, "threads": threads,
                                 "arithmetic": asdict(arithmetic(session.graph)), "contenders": [asdict(row) for row in rows]}))
    else:
        click.echo(f"{_table(rows)}\nbackend {session.backend}, ISA level {session.isa or '–'}, threads {threads}, batch 1; "
                   "error of the file's outputs, and speed-up and ratios of the file over the line's model\n"
                   f"{arithmetic(session.graph).text()}")


def _table(rows: Sequence[Measured]) -> str:
    head = ("model", "min ms", "median ms", "weights in RAM", "file", "error", "speed-up", "RAM ratio", "file ratio")
    cells = [(row.name, f"{1e3 * row.seconds_min:.3f}", f"{1e3 * row.seconds_median:.3f}", f"{row.nbytes_ram:,}", f"{row.nbytes_file:,}",
              f"{row.error:.2g}", f"{row.speedup:.2f}", f"{row.ram_ratio:.2f}", f"{row.file_ratio:.2f}") for row in rows]
    cells[0] = (*cells[0][:5], "", "", "", "")
    return table(head, cells, right=range(1, 9))
