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
NUMPY = "import sys; import numpy as np; np.save(sys.argv[3], np.load(sys.argv[2]))"


def _once(command: Sequence[str]) -> tuple[float, float]:
    """(seconds, peak RSS in MB) of one process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[:3]} ended with {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def measure(models: Mapping[str, tuple[str, Path]], image: Path, scratch: Path) -> list[dict[str, Any]]:
    """One row per contender. ``models``: name → (script, model file); processes take turns, the first round is not counted."""
    commands = {name: [sys.executable, "-c", script, str(path), str(image), str(scratch / "out.npy")] for name, (script, path) in models.items()}
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
