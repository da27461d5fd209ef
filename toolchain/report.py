"""What the commands print: figures of a file, tables, JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..formats.graph import Graph, Node, SourceInfo
from ..formats.reader import WeightInfo
from ..formats.tensor import Affine, Codebook, EncodedTensor, Plain
from .arithmetic import Arithmetic, arithmetic, input_text

UNPLANNED = "not planned yet"
"""What a session says of weights that wait for a first run."""


@dataclass(frozen=True)
class WeightRow:
    """One weight: what it is, and its bytes dense, in RAM (packed for the kernel that runs it) and in the file.

    ``bits``, ``entries`` and ``groups`` are those of a codebook: bits per index, dtype of the entries, number of codebooks; None without.
    ``bits_per_weight``: of the blob, for each element of the shape. ``entropy_per_weight``: what that would
    be if every stream (structure, indices, bytes of numbers) took its elements' entropy, each coded on its own; contexts and runs
    may do better. ``ratio`` is dense / file. A weight that several nodes read is counted where it is read first.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    structure: str
    values: str
    bits: int | None
    entries: str | None
    groups: int | None
    coder: str
    sparsity: float
    nbytes_dense: int
    nbytes_ram: int | None
    layout: str
    nbytes_file: int
    bits_per_weight: float | None
    entropy_per_weight: float | None
    ratio: float | None


@dataclass(frozen=True)
class NodeRow:
    """One node and its weights. ``inputs``, ``outputs``: names of values and weights, empty where an optional one is absent.

    ``activations``: of a matrix product or convolution, how it reads its first input: "float", "int8 static" and the like.
    """

    label: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    activations: str
    weights: tuple[WeightRow, ...]


@dataclass(frozen=True)
class Totals:
    """Sums over the weights; ``nbytes_file`` is the whole file. ``nbytes_ram`` is None where a first run, or the length of dimensions that
    may vary, has to tell how weights are packed."""

    nbytes_dense: int
    nbytes_ram: int | None
    nbytes_file: int
    nbytes_header: int
    ratio: float | None


@dataclass(frozen=True)
class FileReport:
    """Everything that ``inspect`` says. ``quantized``: name and quantization of each value that is. ``source``: what the model was
    before compression. ``backend``, ``isa``: what the bytes in RAM are packed for; ``isa`` is None where the backend has no levels.
    ``lengths``: the symbolic dimensions, which they are packed for at length 1."""

    file: str
    backend: str
    isa: str | None
    lengths: tuple[str, ...]
    source: SourceInfo
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    nodes: tuple[NodeRow, ...]
    quantized: tuple[dict[str, Any], ...]
    arithmetic: Arithmetic
    total: Totals

    def to_json(self) -> str:
        return as_json_text(asdict(self))


def file_report(path: str | os.PathLike[str], shaped: Callable[[Graph], Graph] = lambda graph: graph) -> FileReport:
    """Opens the file, packs its weights for this machine as a session does, and counts. ``shaped`` may give the graph's inputs other shapes."""
    from ..formats import reader
    from ..runtime import load

    in_file = reader.file_info(path).weights
    with_sizes = load(shaped(reader.read(path)))
    graph, in_ram = with_sizes.graph, with_sizes.weight_memory()
    seen: set[str] = set()
    nodes = tuple(_node_row(graph, scope, node, in_ram, in_file, seen) for scope in graph.scopes() for node in scope.nodes)
    rows = [row for node in nodes for row in node.weights]
    nbytes = os.stat(path).st_size
    dense = sum(row.nbytes_dense for row in rows)
    header = nbytes - sum(info.entry.nbytes for info in in_file.values())
    ram = None if any(row.nbytes_ram is None for row in rows) else sum(entry["nbytes"] for entry in in_ram.values())
    total = Totals(dense, ram, nbytes, header, ratio(dense, nbytes))
    quantized = tuple({"name": name, **asdict(how)} for scope in graph.scopes() for name, how in scope.quantized.items())
    lengths = tuple(dict.fromkeys(dim for info in graph.inputs for dim in info.shape if isinstance(dim, str)))
    return FileReport(os.fspath(path), with_sizes.backend, with_sizes.isa, lengths, graph.source, as_infos(graph.inputs),
                      as_infos(graph.outputs), nodes, quantized, arithmetic(graph), total)


def as_infos(infos: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    return tuple({"name": info.name, "dtype": info.dtype, "shape": list(info.shape)} for info in infos)


def _node_row(graph: Graph, scope: Graph, node: Node, in_ram: Mapping[str, Mapping[str, Any]], in_file: Mapping[str, WeightInfo],
              seen: set[str]) -> NodeRow:
    own = [name for name in dict.fromkeys(node.inputs) if name in graph.weights and name not in seen]
    seen.update(own)
    attributes = {key: _plain(value) for key, value in sorted(node.attrs.items())}
    rows = tuple(_weight_row(name, graph.weights[name], in_ram, in_file) for name in own)
    return NodeRow(scope.label(node), node.op, node.inputs, node.outputs, attributes, input_text(graph, scope, node), rows)


def _plain(value: Any) -> Any:
    """An attribute as JSON can say it: arrays as lists, subgraphs as their operators, whose nodes have rows of their own."""
    if isinstance(value, Graph):
        return [node.op for node in value.nodes]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _weight_row(name: str, tensor: EncodedTensor, in_ram: Mapping[str, Mapping[str, Any]], in_file: Mapping[str, WeightInfo]) -> WeightRow:
    ram, nbytes = in_ram.get(name, {"nbytes": 0, "layout": "in the plan"}), in_file[name].entry.nbytes
    structure, held = tensor.structure.label, None if ram["layout"] == UNPLANNED else ram["nbytes"]
    values = tensor.values
    book = values if isinstance(values, Codebook) else None
    return WeightRow(name, tuple(tensor.shape), tensor.dtype, structure, values_text(tensor),
                     book.bits if book else None, book.entries.dtype.name if book else None, len(book.entries) if book else None, tensor.coder,
                     tensor.sparsity, tensor.nbytes_dense, held, ram["layout"], nbytes, ratio(8 * nbytes, tensor.size),
                     ratio(in_file[name].entropy, tensor.size), ratio(tensor.nbytes_dense, nbytes))


def values_text(tensor: EncodedTensor) -> str:
    """``fp32``, ``fp16``, ``codebook-4``, ``codebook-4 int8 ×20 scaled`` (entries, groups, scale), ``affine-8 per channel``, ``binary``."""
    values = tensor.values
    if isinstance(values, Plain):
        return values.data.dtype.name.replace("float", "fp")
    if isinstance(values, Affine):
        rows, runs = values.scale.shape
        return f"affine-{values.bits} per {f'block of {values.block}' if runs > 1 else 'channel' if rows > 1 else 'tensor'}"
    if not isinstance(values, Codebook):
        return values.name
    entries = "" if values.entries.dtype.name == "float32" else " " + values.entries.dtype.name.replace("float", "fp")
    groups = f" ×{len(values.entries)}" if len(values.entries) > 1 else ""
    return f"codebook-{values.bits}{entries}{groups}{' scaled' if values.scale is not None else ''}"


def file_table(report: FileReport) -> str:
    """The report as people read it: a line per weight, then totals."""
    head = ("node", "op", "shape", "encoding", "sparsity", "dense", "RAM", "file", "bits", "entropy", "ratio", "layout in RAM", "activations")
    rows = [(node.label, node.op, shape_text(w.shape), f"{w.structure} {w.values} {w.coder}", f"{100 * w.sparsity:.1f} %",
             f"{w.nbytes_dense:,}", bytes_text(w.nbytes_ram), f"{w.nbytes_file:,}",
             ratio_text(w.bits_per_weight), ratio_text(w.entropy_per_weight), ratio_text(w.ratio), w.layout, node.activations if place == 0 else "")
            for node in report.nodes for place, w in enumerate(node.weights)]
    t = report.total
    rows.append(("header", "", "", "", "", "", "", f"{t.nbytes_header:,}", "", "", "", "", ""))
    rows.append(("total", "", "", "", "", f"{t.nbytes_dense:,}", bytes_text(t.nbytes_ram), f"{t.nbytes_file:,}", "", "", ratio_text(t.ratio), "", ""))
    bare = sum(not node.weights for node in report.nodes)
    s = report.source
    macs = f"{s.macs:,} multiply-accumulates" if s.macs else "multiply-accumulates that depend on its shapes"
    return "\n".join([
        table(head, rows, right=range(4, 11)),
        "bits: in the file for each element of the weight, and what the entropy of its symbols is",
        f"bytes, in RAM for the backend {report.backend}, ISA level {report.isa or '–'}; {len(report.nodes)} nodes, "
        f"{bare} of them without weights of their own", *_lengths_text(report),
        report.arithmetic.text(),
        f"before compression: {s.parameters:,} parameters, {macs}, {s.nbytes:,} bytes of weights; "
        f"ratio to the file {ratio_text(ratio(s.nbytes, t.nbytes_file))}"])


def _lengths_text(report: FileReport) -> list[str]:
    """A line on the lengths that weights are packed for, or that they need."""
    names = ", ".join(report.lengths)
    if report.total.nbytes_ram is None and not names:
        return ["bytes in RAM are known after a first run, which tells the shapes"]
    if report.total.nbytes_ram is None:
        return [f"bytes in RAM need the length of {names}; give it with {shape_hint(report.inputs)}"]
    is_one = "is 1" if len(report.lengths) == 1 else "are 1"
    return [f"bytes in RAM where {names} {is_one}; for others give {shape_hint(report.inputs)}"] if names else []


def shape_hint(infos: Sequence[Mapping[str, Any]]) -> str:
    """The option that gives the inputs with symbolic dimensions their lengths, as it is to be written."""
    return " ".join(f"--input-shape {info['name']}:{','.join(map(str, info['shape']))}" for info in infos
                    if any(isinstance(dim, str) for dim in info["shape"])) + " with numbers for names"


def bytes_text(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def shape_text(shape: Sequence[object]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def ratio(dense: float, compressed: float) -> float | None:
    """``dense / compressed``; None if there is nothing to divide by."""
    return dense / compressed if compressed else None


def ratio_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] | range = ()) -> str:
    """Text in columns; those in ``right`` are aligned to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(cell.rjust(width) if i in right else cell.ljust(width)
                               for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines)


def as_json_text(value: Any) -> str:
    """JSON; what it cannot say (infinity, NaN) is null."""
    return json.dumps(_finite(value), ensure_ascii=False, indent=2)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
