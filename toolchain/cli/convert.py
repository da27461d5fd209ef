"""``toolchain convert``: a ``.thin`` file as plain ONNX."""

from __future__ import annotations

from pathlib import Path

import click

from ...formats import reader
from ...formats.replacing import replacing
from ..report import as_json_text
from ._options import file_argument, json_option, quiet_option
from ._outputs import beside, checked_output
from ._progress import progress

LARGEST = (1 << 31) - (1 << 20)
"""Bytes of a model in one file, by protobuf's limit; the weights of larger ones lie in a second file beside it."""


@click.command()
@file_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="OUT.onnx", help="Default: FILE with the suffix .onnx.")
@quiet_option
@json_option
def command(file: Path, output: Path | None, quiet: bool, as_json: bool) -> None:
    """Expand FILE to an ONNX model that any runtime can run, to check the results against.

    Compressed weights become the numbers that they stand for, those of products in integers their integers and DequantizeLinear; quantized
    activations become QuantizeLinear and DequantizeLinear. With its optimizations on, onnxruntime rounds such products' biases and results
    in a way of its own: codes at a tie may differ by one. With them off (ORT_DISABLE_ALL), as verify runs it, it rounds as the file says.
    """
    import onnx

    from ..to_onnx import to_onnx

    read = [("the packed file", file)]
    target = checked_output(output or beside(file, ".onnx"), read)
    with progress(quiet) as show:
        show(f"reading {file.name}", 0, 0)
        graph = reader.read(file)
        show(f"writing {target.name}", 0, 0)
        model = to_onnx(graph)
        if model.ByteSize() > LARGEST:
            data = checked_output(target.with_name(f"{target.name}.data"), read)
            onnx.save(model, target, save_as_external_data=True, location=data.name)
        else:
            with replacing(target) as stream:
                stream.write(model.SerializeToString())
    size = target.stat().st_size
    if as_json:
        click.echo(as_json_text({"file": str(target), "opset": model.opset_import[0].version, "nodes": len(model.graph.node), "nbytes": size}))
    elif not quiet:
        click.echo(f"{target}: ONNX opset {model.opset_import[0].version}, {len(model.graph.node)} nodes, {size:,} bytes")
