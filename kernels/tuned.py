"""Costs measured on a device: factors by which a plan's estimates are multiplied, per kernel. ``toolchain tune`` writes them as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..formats.errors import ThinferError

FORM = "thinfer costs"
VERSION = 0


class CostsError(ThinferError, ValueError):
    """A file of costs cannot be read, or is for another ISA level."""


def read(path: str | os.PathLike[str] | None, isa: str) -> Mapping[str, float]:
    """Kernel → factor, from the file; from that which THINFER_COSTS names if ``path`` is None; none if there is neither. Raises CostsError."""
    if not isinstance(path, (str, os.PathLike, type(None))):
        raise CostsError(f"costs is {path!r}; it must be the path of a file that toolchain tune wrote")
    source = os.fspath(path) if path is not None else os.environ.get("THINFER_COSTS")
    if not source:
        return {}
    import json

    try:
        with open(source, encoding="utf-8") as file:
            found = json.load(file)
        factors = {str(name): float(value) for name, value in found["factors"].items()}
        level, version = found["isa"], found[FORM]
    except OSError as error:
        raise CostsError(f"cannot read the costs {source!r}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CostsError(f"{source!r} is no file of costs as toolchain tune writes it") from None
    if version != VERSION or not all(0 < value < 1e6 for value in factors.values()):
        raise CostsError(f"{source!r} is no file of costs that this version reads")
    if level != isa:
        raise CostsError(f"the costs {source!r} were measured at ISA level {level}, but {isa} is in use; run toolchain tune again")
    return factors


def text(factors: Mapping[str, float], isa: str, device: str) -> str:
    """What ``read`` reads."""
    import json

    return json.dumps({FORM: VERSION, "isa": isa, "device": device, "factors": dict(sorted(factors.items()))}, indent=1) + "\n"
