"""Seconds and peak RSS of a fresh process from its start to the first output. What it takes to end afterwards is not in them."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cases.definition import Contender
from .contest import Absent, command, environment, last_line

ROUNDS = 9
NOTHING = Contender("nothing", "numpy alone")
UNSET = ("PYTHONDONTWRITEBYTECODE", "THINFER_PLANS")
"""Of the environment: processes are to run as a device runs them, and with a cache of plans only where they say so."""


@dataclass(frozen=True)
class Start:
    """A contender and the folder of its case. ``cached``: with a cache of plans (``THINFER_PLANS``), which the round that does not count fills."""

    contender: Contender
    folder: Path
    cached: bool = False

    @property
    def name(self) -> str:
        return self.contender.name + (", plan cached" if self.cached else "")


def once(start: Start, peers: Path | None, scratch: Path) -> tuple[float, int, int]:
    """(seconds, peak RSS in bytes, bytes of the model's files) of one process. Raises Absent."""
    contender = start.contender
    log = scratch / f"once-{contender.program}.log"
    line = command("once", contender, start.folder, 1, peers)
    kept = {key: value for key, value in environment(contender.program, 1).items() if key not in UNSET}
    if start.cached:
        kept["THINFER_PLANS"] = str(scratch / "plans")
    with log.open("w") as stream:
        began = time.perf_counter()
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=stream, env=kept, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            seconds = time.perf_counter() - began
    if process.returncode:
        raise Absent(last_line(log))
    answer = json.loads(said)
    return seconds, answer["peak"], answer["nbytes"]


def measure(starts: Sequence[Start], peers: Path | None, scratch: Path,
            progress: Callable[[str], object] = lambda _: None) -> list[dict[str, Any]]:
    """One row each. Processes take turns; the first round, which reads files into memory, does not count."""
    taken: dict[str, list[tuple[float, int, int]]] = {start.name: [] for start in starts}
    missing: dict[str, str] = {}
    for turn in range(ROUNDS + 1):
        for start in starts:
            if start.name in missing:
                continue
            try:
                found = once(start, peers, scratch)
            except Absent as reason:
                missing[start.name] = str(reason)
                progress(f"{start.name}: missing: {reason}")
                continue
            if turn:
                taken[start.name].append(found)
    rows: list[dict[str, Any]] = []
    for name, times in taken.items():
        if name in missing:
            rows.append({"process": name, "missing": missing[name]})
            continue
        seconds, memory, nbytes = zip(*times)
        rows.append({"process": name, "s min": min(seconds), "s median": statistics.median(seconds), "peak RSS MB": max(memory) / 1e6,
                     "model file MB": nbytes[0] / 1e6})
    return rows
