"""``toolchain inspect``: what is inside a file, byte for byte."""

from __future__ import annotations

from pathlib import Path

import click

from ...formats.graph import Graph
from ..report import file_report, file_table
from ._options import file_argument, input_shape_option, json_option, shaped_graph


@click.command()
@file_argument
@input_shape_option
@json_option
def command(file: Path, input_shape: tuple[str, ...], as_json: bool) -> None:
    """Show nodes, encodings, and bytes dense, in RAM and in the file.

    Bytes in RAM are those of the layouts that the kernels chosen on this machine read. Which ones are chosen may hang on the shapes of the
    inputs; dimensions that may vary count as 1 where --input-shape does not say more.
    """
    def shaped(graph: Graph) -> Graph:
        return shaped_graph(graph, input_shape)

    report = file_report(file, shaped)
    click.echo(report.to_json() if as_json else file_table(report))
