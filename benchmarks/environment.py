"""What a figure was measured on: it stands beside every number that is written down."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..kernels import isa

PACKAGES = ("thinfer", "numpy", "torch", "onnx", "onnxruntime")
ROOT = Path(__file__).resolve().parent.parent
BUILT = Path(__file__).with_name("revision.txt")
"""Of an install: the revision that it was built from."""

CPUINFO, BOARD = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")


def cpu_name() -> str:
    """Model name, family and model number of the CPU, as the kernel gives them; on ARM the board, and the CPU's implementer and part."""
    if not CPUINFO.exists():
        return platform.processor() or platform.machine()
    pairs = [line.split(":", 1) for line in CPUINFO.read_text().split("\n\n")[0].splitlines() if ":" in line]
    found = {key.strip(): value.strip() for key, value in pairs}
    if "CPU part" in found:
        board = BOARD.read_text().strip("\0\n ") if BOARD.exists() else found.get("model name", platform.machine())
        return f"{board} (implementer {found.get('CPU implementer', '?')}, part {found['CPU part']})"
    return f"{found.get('model name', platform.machine())} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"


def revision() -> str:
    """The git revision of the checkout; of an install what setup.py wrote there. Both it and unpacked sources may lie in a checkout of something
    else."""
    if not (ROOT / ".git").exists():
        return BUILT.read_text().strip() if BUILT.exists() else "unknown"
    if shutil.which("git") is None:
        return "unknown"
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe() -> dict[str, Any]:
    """CPU, cores, ISA level, versions, git revision and the command line."""
    return {
        "command": shlex.join(["python", "-m", "thinfer.benchmarks", *_without_folders(sys.argv[1:])]),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "isa": isa.selected() if isa.levels() else "none",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {package: _version(package) for package in PACKAGES},
        "revision": revision(),
    }


def _without_folders(arguments: Sequence[str]) -> list[str]:
    """The arguments, with names in the place of this machine's folders."""
    folders = {"--peers": "PEERS", "--work": "WORK", "--results": "RESULTS", "--mnist": "MNIST", "-o": "FOLDER", "--output": "FOLDER"}
    return [folders.get(before, argument) for before, argument in zip(["", *arguments], arguments)]
