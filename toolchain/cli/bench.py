"""``toolchain bench``: latency, RAM and bytes, beside the dense weights; or time and work node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from ... import runtime
from .. import recipe as recipes
from ..arithmetic import arithmetic
from ..errors import UsageError
from ..measure import Contender, Measured, dense_contender, expanded, measure
from ..pipeline import compress
from ..profile import profile, profile_table
from ..report import as_json_text, table
from ._inputs import MADE_UP, inputs_text, lengths_of, made_up, runs_of
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

    Of --data the first sample is used, or the first run where arrays have one axis more than their inputs.

    Latencies are the least and the median of interleaved blocks. Outputs are compared before anything is timed.

    With --profile: FILE alone, each node beside the roofs of this machine, which are measured, too: multiply-adds per second in fp32 and
    int8, and bytes read per second from L1, L2, L3 and memory.
    """
    if by_node and against:
        raise UsageError("--profile looks at FILE alone; leave --against out")
    if not against and (arch is not None or trust_pickle):
        raise UsageError(f"{'--trust-pickle' if arch is None else '--arch'} says how to read MODEL; give one with --against, or leave it out")
    if by_node:
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
        feeds, lengths = _feeds(session, data, input_shape)
        rows = measure(contenders, feeds, lambda done, total: show("measuring", done, total))
    if as_json:
        click.echo(as_json_text({"file": str(file), "backend": session.backend, "isa": session.isa, "threads": threads,
                                 "inputs": _origin(data), "lengths": lengths, "arithmetic": asdict(arithmetic(session.graph)),
                                 "contenders": [asdict(row) for row in rows]}))
    else:
        click.echo(f"{_table(rows)}\n{_nonfinite_text(rows)}backend {session.backend}, ISA level {session.isa or '–'}, threads {threads}; "
                   f"{inputs_text(_origin(data), lengths)}\n"
                   "error of the file's outputs, and speed-up and ratios of the file over the line's model\n"
                   f"{arithmetic(session.graph).text()}")


def _profile(file: Path, data: Path | None, input_shape: tuple[str, ...], threads: int, quiet: bool, as_json: bool) -> None:
    with progress(quiet) as show:
        show(f"reading {file.name}", 0, 0)
        session = runtime.load(file, threads=threads)
        feeds, lengths = _feeds(session, data, input_shape)
        show("measuring", 0, 0)
        found = profile(session, feeds, threads)
    if as_json:
        click.echo(as_json_text({"file": str(file), "backend": session.backend, "isa": session.isa, "threads": threads, "inputs": _origin(data),
                                 "lengths": lengths, **asdict(found)}))
    else:
        click.echo(f"{profile_table(found)}\n{inputs_text(_origin(data), lengths)}")


def _feeds(session: runtime.Session, data: Path | None, input_shape: tuple[str, ...]) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """What is run, and the lengths of symbolic dimensions in it."""
    inputs = shaped_inputs(session.graph, data, input_shape)
    feeds = runs_of(inputs, data, 1)[0] if data is not None else made_up(session, inputs, 1)[0]
    return feeds, lengths_of(session.inputs, feeds)


def _origin(data: Path | None) -> str:
    return MADE_UP if data is None else f"the first of {data}"


def _nonfinite_text(rows: Sequence[Measured]) -> str:
    """A line for each model whose outputs are not finite everywhere."""
    return "".join(f"{row.name}: {row.nonfinite:,} elements of its outputs are infinite or no numbers\n" for row in rows if row.nonfinite)


def _table(rows: Sequence[Measured]) -> str:
    head = ("model", "min ms", "median ms", "weights in RAM", "file", "error", "speed-up", "RAM ratio", "file ratio")
    cells = [(row.name, f"{1e3 * row.seconds_min:.3f}", f"{1e3 * row.seconds_median:.3f}", f"{row.nbytes_ram:,}", f"{row.nbytes_file:,}",
              f"{row.error:.2g}", f"{row.speedup:.2f}", f"{row.ram_ratio:.2f}", f"{row.file_ratio:.2f}") for row in rows]
    cells[0] = (*cells[0][:5], "", "", "", "")
    return table(head, cells, right=range(1, 9))
