"""What a recipe says of one weight: ``values`` and ``prune_weights``, read strictly."""

from __future__ import annotations

from typing import Any, Literal

from ..formats.tensor import BLOCKS, WINDOWS
from .passes.cluster import Clustering
from .passes.prune_weights import Pruning
from .passes.quantize_weights import Grid
from .strict import Reader, RecipeError, flag, mapping, number, one_of, shown, text, whole

ValueKind = Literal["fp32", "fp16", "binary", "ternary"] | Clustering | Grid

_CLUSTERING = {"bits": whole(1, 8), "groups": whole(1), "scale": one_of("none", "channel"),
               "entries": one_of("float32", "float16", "bfloat16", "int8")}
_GRID = {"bits": whole(2, 8), "scale": one_of("tensor", "channel", "block"), "block": whole(1), "symmetric": flag}
_OPTIONS: dict[str, dict[str, Reader]] = {"fp32": {}, "fp16": {}, "codebook": _CLUSTERING, "affine": _GRID, "binary": {}, "ternary": {}}
KINDS = tuple(_OPTIONS)


def read_values(value: Any, where: str) -> ValueKind:
    """A kind, or a mapping with ``kind`` and what belongs to it."""
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, dict) or "kind" not in value:
        raise RecipeError(f"{where} is {shown(value)}; it must have a kind, one of {', '.join(KINDS)}")
    kind: Any = one_of(*KINDS)(value["kind"], f"{where}.kind")
    options = mapping(value, where, {"kind": text, **_OPTIONS[kind]})
    del options["kind"]
    if kind not in ("codebook", "affine"):
        return kind
    if "bits" not in options:
        raise RecipeError(f"{where} lacks bits, a whole number from {1 if kind == 'codebook' else 2} to 8")
    if kind == "codebook":
        return Clustering(**options)
    if "block" in options and options.get("scale") != "block":
        raise RecipeError(f"{where} has a block, but its scale is {options.get('scale', 'channel')!r}")
    return Grid(**options)


_STRUCTURES: dict[str, dict[str, Reader]] = {
    "any": {"sparsity": number(0, 1), "quality": number(0), "scope": one_of("tensor", "global")},
    "windowed": {"n": whole(1, max(WINDOWS)), "m": whole(1)},
    "blocks": {"shape": one_of(*(f"{r}x{c}" for r, c in BLOCKS)), "sparsity": number(0, 1), "scope": one_of("tensor", "global")}}


def read_pruning(value: Any, where: str) -> Pruning:
    """``structure`` says which other keys there are: those of single weights, of windows, of blocks."""
    structure: Any = value.get("structure", "any") if isinstance(value, dict) else "any"
    readers = _STRUCTURES[one_of(*_STRUCTURES)(structure, f"{where}.structure")]
    found = mapping(value, where, {"structure": text, **readers})
    found.pop("structure", None)
    if structure == "windowed":
        return Pruning(windows=_windows(found, where))
    if structure == "blocks":
        for key in ("shape", "sparsity"):
            if key not in found:
                raise RecipeError(f"{where} lacks {key}, which blocks need")
        r, c = found.pop("shape").split("x")
        return Pruning(**found, blocks=(int(r), int(c)))
    pruning = Pruning(**found)
    if (pruning.sparsity is None) == (pruning.quality is None):
        raise RecipeError(f"{where} must have one of sparsity and quality")
    if pruning.quality is not None and pruning.scope == "global":
        raise RecipeError(f"{where}.scope is 'global'; with quality every tensor has its own threshold")
    return pruning


def _windows(found: dict[str, Any], where: str) -> tuple[int, int]:
    for key in ("n", "m"):
        if key not in found:
            raise RecipeError(f"{where} lacks {key}: of every window of m inputs, n stay")
    if found["m"] not in WINDOWS:
        raise RecipeError(f"{where}.m is {found['m']}; it must be one of {', '.join(map(str, WINDOWS))}")
    if found["n"] > found["m"]:
        raise RecipeError(f"{where}.n is {found['n']}; it must be a whole number from 1 to {found['m']}")
    return found["n"], found["m"]
