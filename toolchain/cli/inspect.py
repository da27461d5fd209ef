"""``toolchain inspect``: what is inside a file, byte for byte."""

from __future__ import annotations

from pathlib import Path

import click

from ..report import file_report, file_table
from ._options import file_argument, json_option


@click.command()
@file_argument
@json_option
def command(file: Path, as_json: bool) -> None:
    """Show nodes, encodings, and bytes dense, in RAM and in the file.

    Bytes in RAM are those of the layouts that the kernels chosen on this machine read.
    """
    report = file_report(file)
    click.echo(report.to_json() if as_json else file_table(report))
