"""``toolchain tune``: measures on this device what the planner otherwise takes from a table."""

from __future__ import annotations

from pathlib import Path

import click

from ... import runtime
from ...kernels.tuned import text
from ...runtime.tuning import Timed
from ..arrays import fitting_lengths, random_feeds
from ..errors import UsageError
from ..report import as_json_text, table
from ..tune import Factor, cpu, factors
from ._options import input_shape_option, json_option, packed, quiet_option, shaped_inputs
from ._outputs import checked_output
from ._progress import progress


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...", callback=packed)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("costs.json"), show_default=True, metavar="OUT.json",
              help="Where the costs are written.")
@input_shape_option
@quiet_option
@json_option
def command(files: tuple[Path, ...], output: Path, input_shape: tuple[str, ...], quiet: bool, as_json: bool) -> None:
    """Time every way in which the nodes of FILEs could run on this device, and write how far the planner's estimates are off, per kernel.

    runtime.load(..., costs="costs.json"), or THINFER_COSTS=costs.json in the environment, then plans with it. Nothing is ever timed at load.

    FILEs: models that this device is to run, or others like them; at batch 1, symbolic lengths as --input-shape has them, else short ones
    that fit. Takes some seconds each, on one thread; let nothing else run meanwhile.
    """
    target = checked_output(output, [("the model", path) for path in files])
    with progress(quiet) as show:
        found: list[Timed] = []
        isa = ""
        for done, path in enumerate(files):
            show(f"timing {path.name}", done, len(files))
            session = runtime.load(path, costs="")
            if session.isa is None:
                raise UsageError("this install has no compiled kernels, so there is nothing to tune")
            isa = session.isa
            inputs = shaped_inputs(session.graph, None, input_shape)
            found += session.timed_ways(random_feeds(inputs, 1, 0, fitting_lengths(inputs, 1, session.run)))
    rows = factors(found)
    target.write_text(text({row.kernel: row.factor for row in rows}, isa, cpu()), encoding="utf-8")
    if as_json:
        click.echo(as_json_text({"costs": str(target), "isa": isa, "kernels": [vars(row) for row in rows]}))
    elif not quiet:
        click.echo(_table(rows) + f"\n{target}: {len(rows)} kernels at ISA level {isa}; factor 1: as far off as the kernels are on the whole")


def _table(rows: list[Factor]) -> str:
    cells = [(row.kernel, f"{row.cases}", f"{row.factor:.2f}", f"{row.least:.2f}", f"{row.most:.2f}") for row in rows]
    return table(("kernel", "cases", "factor", "least", "most"), cells, right=range(1, 5))
