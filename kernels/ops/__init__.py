"""The operators. Each is found by its name and imported when a model first uses it.

``GlobalAveragePool`` lies in ``global_average_pool.py``, ``GatherND`` in ``gather_nd.py``, ``If`` in ``if_.py``, since ``if`` is a
keyword of Python, and ``com.microsoft::MatMulNBits`` in ``mat_mul_n_bits.py``.
"""

from __future__ import annotations

import importlib
import keyword
from functools import cache

from ._op import DOMAIN, Op


def _file_of(op_name: str) -> str:
    """``GlobalAveragePool`` → ``global_average_pool``; ``MatMul`` → ``mat_mul``; ``LSTM`` → ``lstm``; ``Not`` → ``not_``."""
    name = op_name.rpartition("::")[2]
    words = ["_" + char if char.isupper() and (before.islower() or before.isdigit() or (before.isupper() and after.islower())) else char
             for before, char, after in zip(" " + name, name, name[1:] + " ")]
    found = "".join(words).lower()
    return f"{found}_" if keyword.iskeyword(found) else found


def _is_name(op_name: str) -> bool:
    """Whether it looks like ``GatherND`` or ``com.microsoft::MatMulNBits``. Without ``re``, which takes longer to compile what to look for."""
    domain, colons, name = op_name.rpartition("::")
    return (op_name.isascii() and name.isalnum() and name[0].isupper() and (bool(domain) or not colons)
            and all(char == "." or char.islower() for char in domain))


@cache
def find(op_name: str) -> Op | None:
    """The operator of that (ONNX) name, after ``domain::`` if it is not of the standard domain, or None if there is no file for it."""
    if not _is_name(op_name):
        return None  # names come from files, and only operators' names may become names of modules
    if op_name.startswith(DOMAIN):
        from ._integer import planned

        return planned(op_name, find)
    module = _file_of(op_name)
    try:
        found = importlib.import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{module}":
            raise
        return None
    op: Op = found.OP
    return op if op.name == op_name else None


def get(op_name: str) -> Op:
    """The operator of that name; KeyError lists those that exist."""
    op = find(op_name)
    if op is None:
        raise KeyError(f"no operator {op_name!r}; there are {', '.join(names())}")
    return op


def names() -> list[str]:
    """The names of all operators."""
    import pkgutil

    files = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    return sorted(importlib.import_module(f"{__name__}.{name}").OP.name for name in files)
