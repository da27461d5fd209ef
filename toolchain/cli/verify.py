"""``toolchain verify``: how far a file's outputs are from those of the model it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from ... import runtime
from ...formats.graph import ValueInfo
from .. import reference
from ..arithmetic import arithmetic
from ..compare import Comparison, compare
from ..report import as_json_text, shape_text, table
from ._inputs import MADE_UP, inputs_text, lengths_of, made_up, runs_of
from ._options import file_argument, inputs_options, json_option, model_options, quiet_option, shaped_inputs
from ._progress import progress

SAMPLES = 8
"""Random samples where there are no data."""

MOST = 32
"""Samples that run at once, where the model takes any number."""


@click.command()
@file_argument
@click.option("--against", required=True, type=click.Path(path_type=Path), metavar="MODEL", help="The model to compare with.")
@inputs_options
@model_options
@quiet_option
@json_option
def command(file: Path, against: Path, data: Path | None, input_shape: tuple[str, ...], trust_pickle: bool, arch: str | None, quiet: bool,
            as_json: bool) -> None:
    """Compare the outputs of FILE with those of MODEL on another implementation.

    ONNX models run on onnxruntime with its optimizations off (onnx's ReferenceEvaluator where that is not installed), torch models on torch.
    error = max|difference| / max|reference|; cosine is the mean over samples; top-1 the share of samples with the same greatest output.
    """
    with progress(quiet) as show:
        show(f"reading {against.name}", 0, 0)
        session = runtime.load(file)
        inputs = shaped_inputs(session.graph, data, input_shape)
        other = reference.load(against, trust_pickle=trust_pickle, arch=arch)
        runs = runs_of(inputs, data, MOST) if data is not None else _random(session, inputs)
        found, expected = [], []
        for done, run in enumerate(runs):
            show("comparing", done, len(runs))
            found.append(session.run(run))
            expected.append(other.run(run))
    rows = compare(_joined(found), _joined(expected))
    origin, lengths = (str(data), {}) if data is not None else (MADE_UP, lengths_of(session.inputs, runs[0]))
    if as_json:
        click.echo(as_json_text({"file": str(file), "against": str(against), "reference": other.name, "backend": session.backend,
                                 "inputs": origin, "lengths": lengths, "arithmetic": asdict(arithmetic(session.graph)),
                                 "outputs": [asdict(row) for row in rows]}))
    else:
        click.echo(f"{_table(rows)}\n{_nonfinite_text(rows)}against {against} on {other.name}; backend {session.backend}; "
                   f"{inputs_text(origin, lengths)}\n"
                   f"{arithmetic(session.graph).text()}")


def _random(session: runtime.Session, inputs: Sequence[ValueInfo]) -> list[dict[str, np.ndarray]]:
    """Eight samples, or as many runs of a fixed batch size as make eight."""
    fixed = [info.shape[0] for info in inputs if info.shape and isinstance(info.shape[0], int)]
    batch = fixed[0] if len(fixed) == len(inputs) and len(set(fixed)) == 1 else None
    return made_up(session, inputs, SAMPLES, range(-(-SAMPLES // batch) if batch else 1))


def _joined(runs: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return runs[0] if len(runs) == 1 else {name: np.concatenate([np.atleast_1d(run[name]) for run in runs]) for name in runs[0]}


def _table(rows: list[Comparison]) -> str:
    return table(("output", "shape", "error", "cosine", "top-1"),
                 [(row.output, shape_text(row.shape), f"{row.error:.3g}", f"{row.cosine:.6f}",
                   "–" if row.top1 is None else f"{100 * row.top1:.1f} %") for row in rows], right=range(2, 5))


def _nonfinite_text(rows: list[Comparison]) -> str:
    """A line for each output that is not finite everywhere."""
    return "".join(f"{row.output}: {row.nonfinite:,} elements are not finite, and {row.reference_nonfinite:,} of the reference\n"
                   for row in rows if row.nonfinite or row.reference_nonfinite)
