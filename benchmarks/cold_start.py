"""Cold start: seconds and peak RSS of a fresh process from its start to the first output, beside onnxruntime's."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROUNDS = 11
UNSET = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
KEPT = {key: value for key, value in os.environ.items() if key not in UNSET}
ENVIRONMENT = {**KEPT, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""As a device runs it: the installed package, its bytecode cached, one thread."""

THINFER = """
import sys
import numpy as np
from thinfer import runtime
session = runtime.load(sys.argv[1])
x = np.load(sys.argv[2])
np.save(sys.argv[3], next(iter(session.run({session.inputs[0].name: x}).values())))
"""
ONNXRUNTIME = """
import sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
x = np.load(sys.argv[2])
np.save(sys.argv[3], session.run(None, {session.get_inputs()[0].name: x})[0])
"""
NUMPY = "import sys\nimport numpy as np\nnp.save(sys.argv[3], np.load(sys.argv[2]))\n"
PEAK = 'print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))\n'
"""The process prints its own peak RSS in KB: what its parent is told would include the parent's pages before ``exec``."""


def _once(command: Sequence[str]) -> tuple[float, float]:
    """(seconds, peak RSS in MB) of one process."""
    start = time.perf_counter()
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{command[:2]} ended with {done.returncode}: {done.stderr}")
    return seconds, int(done.stdout) / 1024


def measure(models: Mapping[str, tuple[str, Path]], image: Path, scratch: Path) -> list[dict[str, Any]]:
    """One row per contender. ``models``: name → (script, model file); processes take turns, the first round is not counted."""
    commands = {name: [sys.executable, "-c", script + PEAK, str(path), str(image), str(scratch / "out.npy")]
                for name, (script, path) in models.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for round_number in range(ROUNDS + 1):
        for name, command in commands.items():
            found = _once(command)
            if round_number:
                taken[name].append(found)
    rows = []
    for name, (_, path) in models.items():
        seconds, memory = zip(*taken[name])
        rows.append({"process": name, "s min": min(seconds), "s median": statistics.median(seconds), "peak RSS MB": max(memory),
                     "model file MB": path.stat().st_size / 1e6 if path.is_file() else 0.0})
    return rows
