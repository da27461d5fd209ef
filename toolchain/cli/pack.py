"""``toolchain pack``: a trained model in, a ``.thin`` file out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from ...formats import writer
from .. import recipe as recipes
from ..arithmetic import Arithmetic, arithmetic
from ..arrays import checked_calibration, load_npz
from ..importers import data_files, is_name
from ..passes.quantize_activations import Activations
from ..pipeline import compress
from ..report import as_json_text, ratio, ratio_text
from ._options import Source, json_option, model_options, quiet_option, read_shapes
from ._outputs import beside, checked_output
from ._progress import progress


@click.command()
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT.thin", help="Default: MODEL with the suffix .thin.")
@click.option("--recipe", default="dense", show_default=True, metavar="NAME|FILE.yaml", help="What to compress and how.")
@click.option("--data", type=click.Path(path_type=Path), metavar="CALIB.npz", help="Calibration data, an array per input, samples first.")
@click.option("--input-shape", multiple=True, metavar="NAME:1,3,224,224", help="Shape of an input; names are dimensions that may vary.")
@model_options
@quiet_option
@json_option
def command(model: Path, output: Path | None, recipe: str, data: Path | None, input_shape: tuple[str, ...], trust_pickle: bool,
            arch: str | None, quiet: bool, as_json: bool) -> None:
    """Compress MODEL as a recipe says and write it as a .thin file.

    MODEL is an ONNX model, a torch.export program, a TorchScript archive, a pickled torch module, a state dict (pickled or as
    safetensors), or the name of an architecture in an installed package (timm:NAME, torchvision:NAME).
    """
    plan = recipes.load(recipe)
    shapes = read_shapes(input_shape)
    target = checked_output(output or default_target(model), _files_read(model, recipe, data))
    calibration = load_npz(data) if data is not None else None
    with progress(quiet) as show:
        show(f"reading {model.name}", 0, 0)
        graph = Source(model, trust_pickle, arch).load(shapes)
        if calibration is not None and data is not None:
            calibration = checked_calibration(graph.inputs, calibration, data)
        try:
            compressed = compress(graph, plan, calibration=calibration, progress=show)
        except recipes.RecipeError as error:  # what the model, not the recipe alone, shows to be wrong
            raise recipes.RecipeError(f"recipe {recipe}: {error}") from None
        show(f"writing {target.name}", 0, 0)
        writer.write(compressed, target)
    before, after = graph.source.nbytes, target.stat().st_size
    if as_json:
        click.echo(as_json_text({"file": str(target), "recipe": recipe, "nbytes_before": before, "nbytes": after,
                                 "ratio": ratio(before, after), "arithmetic": asdict(arithmetic(compressed))}))
    elif not quiet:
        click.echo(f"{target}: {before:,} bytes of weights packed into a file of {after:,} bytes, ratio {ratio_text(ratio(before, after))} "
                   f"(recipe {recipe})")
        if data is not None and not plan.uses_data:
            click.echo(f"{data} changed nothing: nothing in this recipe depends on calibration data")
        if plan.activations is not None:
            found = arithmetic(compressed)
            click.echo(f"{found.text()}{_why(plan.activations, data is not None, found, arithmetic(graph))}")


def default_target(model: Path) -> Path:
    """Beside the model; for an architecture's name, a file of that name here."""
    return Path(f"{str(model).rpartition(':')[2]}.thin") if is_name(model) else beside(model, ".thin")


def _why(asked: Activations, has_data: bool, found: Arithmetic, before: Arithmetic) -> str:
    """What the data had to do with what the recipe quantized; ``before``: what the model came with."""
    added = Counter(found.activations) - Counter(before.activations)
    if not added:
        return " (as the model has them)" if found.activations else " (no product has a weight of integers with one scale per tensor or channel)"
    dynamic = sum(count for kind, count in added.items() if " dynamic" in kind)
    if asked.is_static(has_data):
        return f" (calibration {asked.calibration}{'; what no sample reaches finds its scale at run time' if dynamic else ''})"
    return "" if asked.kind == "dynamic" else " (without --data, scales are found at run time; with it they would be static)"


def _files_read(model: Path, recipe: str, data: Path | None) -> Iterator[tuple[str, Path]]:
    """Every file that the command reads, and what it is. Raises ModelError where the model cannot be read for it."""
    beside = data_files(model)
    if recipe not in recipes.presets():
        yield "the recipe", Path(recipe)
    if data is not None:
        yield "the calibration data", data
    yield "the model", model
    for path in beside:
        yield "the model's external data", path
