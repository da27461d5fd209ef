"""Tells whether loading a ``torch.export`` archive could run code from it. ``torch.export.load`` itself does not.

It unpickles sample inputs, odd weights and script objects, evaluates the expressions of symbolic dimensions as Python
(through sympy), and resolves the names of operators by attribute access from the torch module.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ._errors import UnreadableModel, UntrustedModel

PROGRAMS = (r"models/[^/]*\.json", r"serialized_exported_program\.json")
PICKLES = (r"data/sample_inputs/.*", r"data/(weights|constants)/[^/]*\.pt", r"serialized_.*\.pt")
CONFIGS = r"data/(weights|constants)/[^/]*_config\.json"

TARGET = re.compile(r"torch\.ops\.(aten|prims|higher_order)\.[a-zA-Z]\w*(\.[a-zA-Z]\w*)?|_?operator\.(add|sub|mul|floordiv|truediv|mod|"
                    r"neg|pow|eq|ne|lt|le|gt|ge|getitem|and_|or_)|math\.\w+|torch\.(sym_\w+|_sym_sqrt)|")
FUNCTIONS = {"Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CleanDiv",
             "CeilDiv", "ModularIndexing", "Where", "TruncToInt", "CeilToInt", "FloorToInt", "RoundToInt", "IntTrueDiv", "FloatTrueDiv",
             "PowByNatural", "FloatPow", "ToFloat", "Identity", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not"}
ARITHMETIC = (ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator,
              ast.unaryop, ast.cmpop)


def check(file: Path) -> None:
    """UntrustedModel if loading the archive could run code that it contains; UnreadableModel if it is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = next(_suspects(archive), None)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, RecursionError) as error:
        raise UnreadableModel(f"{file} is not a readable torch.export program: {error}") from None
    if found:
        raise UntrustedModel(f"loading {file} can run code from it ({found}); if you trust where it comes from, "
                             "allow that with --trust-pickle")


def _suspects(archive: zipfile.ZipFile) -> Iterator[str]:
    for name in archive.namelist():
        inner = name if name.startswith("serialized_") else name.partition("/")[2]
        if any(re.fullmatch(pattern, inner) for pattern in PICKLES):
            if not _is_harmless(archive.read(name)):
                yield f"{inner} is a pickle with more than tensors in it"
        elif re.fullmatch(CONFIGS, inner):
            yield from (f"{inner} names pickled weights" for entry in json.loads(archive.read(name)).get("config", {}).values()
                        if entry.get("use_pickle") or not str(entry.get("path_name", "")).startswith(("weight_", "tensor_")))
        elif any(re.fullmatch(pattern, inner) for pattern in PROGRAMS):
            yield from _program_suspects(json.loads(archive.read(name)))


def _is_harmless(content: bytes) -> bool:
    """Whether torch's restricted unpickler, which builds tensors and containers only, can read the content."""
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # whatever it refuses, torch.export would give to the unrestricted unpickler
        return not content
    return True


def _program_suspects(item: Any) -> Iterator[str]:
    """Expressions and operator names, anywhere in the program, that are more than torch itself writes."""
    if isinstance(item, list):
        for part in item:
            yield from _program_suspects(part)
    elif isinstance(item, dict):
        for key, value in item.items():
            if key == "expr_str" and not _is_arithmetic(str(value)):
                yield f"the expression {str(value)[:40]!r}"
            elif key == "target" and isinstance(value, str) and not TARGET.fullmatch(value):
                yield f"the operator {value[:40]!r}"
            else:
                yield from _program_suspects(value)


def _is_arithmetic(text: str) -> bool:
    """Whether an expression has only numbers, symbols and torch's own functions of them."""
    try:
        parts = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(isinstance(part, ARITHMETIC) for part in parts) and all(
        isinstance(part.func, ast.Name) and part.func.id in FUNCTIONS for part in parts if isinstance(part, ast.Call)) and all(
        not isinstance(part.value, (str, bytes)) or str(part.value).isidentifier() for part in parts if isinstance(part, ast.Constant))
