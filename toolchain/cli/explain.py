"""``toolchain explain``: what a model is and what packing would make of it, before any work is done."""

from __future__ import annotations

from pathlib import Path

import click

from ..explain import as_text, explain
from ._options import json_option, model_options, quiet_option, read_shapes
from ._progress import progress

UNSUPPORTED = 1
"""Exit code where the model cannot be packed."""


@click.command()
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.option("--input-shape", multiple=True, metavar="NAME:1,3,224,224", help="Shape of an input; names are dimensions that may vary.")
@model_options
@quiet_option
@json_option
def command(model: Path, input_shape: tuple[str, ...], trust_pickle: bool, arch: str | None, quiet: bool, as_json: bool) -> None:
    """Say whether MODEL is supported, what its nodes cost, and about how large each recipe would make it.

    What is in the way is listed at once, with what to do about it; the exit code then is 1. Costs are multiply-accumulates at batch 1 and
    bytes of weights. Sizes are estimated from samples of the weights, within a few percent.
    """
    with progress(quiet) as show:
        show(f"reading {model.name}", 0, 0)
        found = explain(model, trust_pickle=trust_pickle, arch=arch, input_shapes=read_shapes(input_shape))
    click.echo(found.to_json() if as_json else as_text(found))
    if not found.supported:
        raise click.exceptions.Exit(UNSUPPORTED)
