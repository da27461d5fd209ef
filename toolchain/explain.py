"""What a model is, before any work is done on it: whether it is supported, what it costs, and what each recipe would make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..formats.graph import Dim, Graph, Node, SourceInfo
from ..formats.tensor import EncodedTensor, Symbols
from ..runtime.shapes import UnsupportedOps
from . import importers
from .estimate import Estimate, estimates
from .importers import UnsupportedModel
from .importers._obstacles import Obstacle, of_operators, scan
from .importers._source import batch_lengths, fitting_macs, needed_lengths
from .report import as_infos, as_json_text, ratio_text, shape_hint, shape_text, table

LISTED = 6
"""Most names of nodes that the text lists."""


@dataclass(frozen=True)
class Cost:
    """``macs``: of one inference, None if the shapes cannot be known. ``nbytes``: of the node's own weights as the source has
    them; a weight that several nodes read is counted where it is read first."""

    label: str
    op: str
    macs: int | None
    parameters: int
    nbytes: int


@dataclass(frozen=True)
class Explanation:
    """Either ``obstacles``, or everything else. ``needed_lengths``: symbolic dimensions that have to be known before anything is counted;
    ``lengths``: what the others, which are batches, were counted at."""

    model: str
    obstacles: tuple[Obstacle, ...]
    source: SourceInfo
    needed_lengths: tuple[str, ...]
    lengths: Mapping[str, int]
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    nodes: tuple[Cost, ...]
    recipes: tuple[Estimate, ...]

    @property
    def supported(self) -> bool:
        return not self.obstacles

    def to_json(self) -> str:
        return as_json_text({"supported": self.supported, **asdict(self)})


def explain(model: Path, *, trust_pickle: bool = False, arch: str | None = None,
            input_shapes: Mapping[str, Sequence[Dim]] | None = None) -> Explanation:
    """Raises ModelError where the model cannot be read at all, or needs more to be said (shapes, an architecture)."""
    try:
        graph = importers.load(model, trust_pickle=trust_pickle, arch=arch, input_shapes=input_shapes)
    except UnsupportedOps as error:
        return _refused(model, _all_obstacles(model) or of_operators(error.missing))
    except UnsupportedModel as error:
        return _refused(model, _all_obstacles(model) or [Obstacle(str(error), (), "")])
    return Explanation(str(model), (), graph.source, needed_lengths(graph), batch_lengths(graph) or {}, as_infos(graph.inputs),
                       as_infos(graph.outputs), tuple(costs(graph)), tuple(estimates(graph)))


def _refused(model: Path, found: Sequence[Obstacle]) -> Explanation:
    return Explanation(str(model), tuple(found), SourceInfo(), (), {}, (), (), (), ())


def _all_obstacles(model: Path) -> list[Obstacle]:
    """Everything that is in the way, where the model is an ONNX file."""
    if importers.is_for_torch(model):
        return []
    from .importers import onnx as from_onnx

    return scan(from_onnx.parse(model))


def costs(graph: Graph) -> list[Cost]:
    """A row per node, those in subgraphs after the node that holds them."""
    macs = fitting_macs(graph)
    seen: set[str] = set()
    return [_cost(graph, scope, node, macs, seen) for scope in graph.scopes() for node in scope.nodes]


def _cost(graph: Graph, scope: Graph, node: Node, macs: Mapping[int, int] | None, seen: set[str]) -> Cost:
    own = [graph.weights[name] for name in dict.fromkeys(node.inputs) if name in graph.weights and name not in seen]
    seen.update(node.inputs)
    parameters = sum(tensor.size for tensor in own if tensor.dtype.startswith("float") and tensor.shape)
    return Cost(scope.label(node), node.op, None if macs is None else macs.get(id(node), 0), parameters, sum(map(_nbytes, own)))


def _nbytes(tensor: EncodedTensor) -> int:
    """As the source has it: in as many bits as its codes, beside their scales."""
    values = tensor.values
    return -(-tensor.held * values.bits // 8) + values.nbytes_tables if isinstance(values, Symbols) else tensor.nbytes_dense


def as_text(found: Explanation) -> str:
    """The explanation as people read it."""
    if not found.supported:
        rows = [(o.what, str(len(o.where)), _listed(o.where), o.advice) for o in found.obstacles]
        return f"{found.model} is not supported:\n{table(('what', 'times', 'where', 'what to do'), rows, right=[1])}"
    costly = [(cost.label, cost.op, "–" if cost.macs is None else f"{cost.macs:,}", f"{cost.parameters:,}", f"{cost.nbytes:,}")
            for cost in found.nodes if cost.macs or cost.nbytes]
    s = found.source
    known = [cost.macs for cost in found.nodes if cost.macs is not None]
    costly.append(("total", "", f"{sum(known):,}" if known else "–", f"{s.parameters:,}", f"{s.nbytes:,}"))
    sizes = [(e.recipe, "–", f"– {e.problem}") if e.nbytes is None or e.ratio is None else (e.recipe, f"{e.nbytes:,}", ratio_text(e.ratio))
             for e in found.recipes]
    interface = "\n".join(f"{what} {info['name']}: {info['dtype']}{shape_text(info['shape'])}"
                          for what, infos in (("input", found.inputs), ("output", found.outputs)) for info in infos)
    bare = len(found.nodes) - len(costly) + 1
    return "\n".join([f"{found.model} is supported", interface, "", table(("node", "op", "MACs", "parameters", "bytes"), costly, right=range(2, 5)),
                      f"{len(found.nodes)} nodes, {bare} of them without products and weights", *_lengths_text(found), "",
                      table(("recipe", "bytes, about", "ratio"), sizes, right=range(1, 3)),
                      "sizes are estimates from samples of the weights; int8 recipes need calibration data for static activations"])


def _lengths_text(found: Explanation) -> list[str]:
    """A line on the lengths that MACs were counted at, or that they need."""
    if found.lengths:
        return [f"MACs at {', '.join(f'{name} = {length}' for name, length in found.lengths.items())}"]
    symbolic = found.needed_lengths or tuple(dict.fromkeys(dim for info in found.inputs for dim in info["shape"] if isinstance(dim, str)))
    return [f"MACs need the length of {', '.join(symbolic)}; give it with {shape_hint(found.inputs)}"] if symbolic else []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
