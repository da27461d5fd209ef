"""``toolchain bench``: latency, RAM and bytes, beside the dense weights; or time and work node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from ... import runtime
from ...runtime.feeds import checked_feeds
from .. import recipe as recipes
from ..arithmetic import arithmetic
from ..arrays import fitting_lengths, in_batches, load_npz, random_feeds
from ..errors import UsageError
from ..measure import Contender, Measured, dense_contender, expanded, measure
from ..pipeline import compress
from ..profile import profile, profile_table
from ..report import as_json_text, table
from ._options import Source, file_argument, inputs_options, json_option, model_options, quiet_option, shaped_inputs, threads_option
from ._progress import progress


@click.command()
@file_argument
@click.option("--against", multiple=True, type=click.Path(path_type=Path), metavar="MODEL",
              help="Compare with MODEL packed dense (may be given several times). Default: FILE's own graph, weights expanded.")
@click.option("--profile", "by_node", is_flag=True, help="Node by node: time, multiply-adds, bytes, share of what this machine can do at most.")
@inputs_options
@threads_option
@model_options
@quiet_option
@json_option
def command(file: Path, against: tuple[Path, ...], by_node: bool, data: Path | None, input_shape: tuple[str, ...], threads: int,
            trust_pickle: bool, arch: str | None, quiet: bool, as_json: bool) -> None:
    """Measure FILE at batch 1 beside dense weights: latency, bytes of the weights in RAM, bytes of the file, speed-up.

    Of --data the first sample is used.

    Latencies are the least and the median of interleaved blocks. Outputs are compared before anything is timed.

    With --profile: FILE alone, each node beside the roofs of this machine, which are measured, too: multiply-adds per second in fp32 and
    int8, and bytes read per second from L1, L2, L3 and memory.
    """
    if by_node:
        if against:
            raise UsageError("--profile looks at FILE alone; leave --against out")
        _profile(file, data, input_shape, threads, quiet, as_json)
        return
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
        rows = measure(contenders, _feeds(session, data, input_shape), lambda done, total: show("measuring", done, total))
    if as_json:
        click.echo(as_json_text({"file": str(file), "backend": session.backend, "isa": session.isa, "threads": threads,
                                 "arithmetic": asdict(arithmetic(session.graph)), "contenders": [asdict(row) for row in rows]}))
    else:
        click.echo(f"{_table(rows)}\nbackend {session.backend}, ISA level {session.isa or '–'}, threads {threads}, batch 1; "
                   "error of the file's outputs, and speed-up and ratios of the file over the line's model\n"
                   f"{arithmetic(session.graph).text()}")


def _profile(file: Path, data: Path | None, input_shape: tuple[str, ...], threads: int, quiet: bool, as_json: bool) -> None:
    with progress(quiet) as show:
        show(f"reading {file.name}", 0, 0)
        session = runtime.load(file, threads=threads)
        feeds = _feeds(session, data, input_shape)
        show("measuring", 0, 0)
        found = profile(session, feeds, threads)
    if as_json:
        click.echo(as_json_text({"file": str(file), "backend": session.backend, "isa": session.isa, "threads": threads, **asdict(found)}))
    else:
        click.echo(profile_table(found))


def _feeds(session: runtime.Session, data: Path | None, input_shape: tuple[str, ...]) -> dict[str, np.ndarray]:
    inputs = shaped_inputs(session.graph, data, input_shape)
    if data is not None:
        return checked_feeds(inputs, in_batches(inputs, load_npz(data), most=1)[0])
    return random_feeds(inputs, 1, 0, fitting_lengths(inputs, 1, session.run))


def _table(rows: Sequence[Measured]) -> str:
    head = ("model", "min ms", "median ms", "weights in RAM", "file", "error", "speed-up", "RAM ratio", "file ratio")
    cells = [(row.name, f"{1e3 * row.seconds_min:.3f}", f"{1e3 * row.seconds_median:.3f}", f"{row.nbytes_ram:,}", f"{row.nbytes_file:,}",
              f"{row.error:.2g}", f"{row.speedup:.2f}", f"{row.ram_ratio:.2f}", f"{row.file_ratio:.2f}") for row in rows]
    cells[0] = (*cells[0][:5], "", "", "", "")
    return table(head, cells, right=range(1, 9))
