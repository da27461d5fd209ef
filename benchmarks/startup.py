"""Seconds and peak RSS of a fresh process from its start to the first output. What it takes to end afterwards is not in them."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .cases.definition import Contender
from .contest import Absent, command, environment, last_line

ROUNDS = 9
NOTHING = Contender("nothing", "numpy alone")


def once(contender: Contender, folder: Path, peers: Path | None, scratch: Path) -> tuple[float, int, int]:
    """(seconds, peak RSS in bytes, bytes of the model's files) of one process. Raises Absent."""
    log = scratch / f"once-{contender.program}.log"
    line = command("once", contender, folder, 1, peers)
    kept = {key: value for key, value in environment(contender.program, 1).items() if key != "PYTHONDONTWRITEBYTECODE"}  # as a device runs it
    with log.open("w") as stream:
        start = time.perf_counter()
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=stream, env=kept, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            seconds = time.perf_counter() - start
    if process.returncode:
        raise Absent(last_line(log))
    answer = json.loads(said)
    return seconds, answer["peak"], answer["nbytes"]


def measure(contenders: Sequence[tuple[Contender, Path]], peers: Path | None, scratch: Path,
            progress: Callable[[str], object] = lambda _: None) -> list[dict[str, Any]]:
    """One row per contender and the folder of its case. Processes take turns; the first round, which reads files into memory, does not count."""
    taken: dict[str, list[tuple[float, int, int]]] = {contender.name: [] for contender, _ in contenders}
    missing: dict[str, str] = {}
    for turn in range(ROUNDS + 1):
        for contender, folder in contenders:
            if contender.name in missing:
                continue
            try:
                found = once(contender, folder, peers, scratch)
            except Absent as reason:
                missing[contender.name] = str(reason)
                progress(f"{contender.name}: missing: {reason}")
                continue
            if turn:
                taken[contender.name].append(found)
    rows: list[dict[str, Any]] = []
    for name, times in taken.items():
        if name in missing:
            rows.append({"process": name, "missing": missing[name]})
            continue
        seconds, memory, nbytes = zip(*times)
        rows.append({"process": name, "s min": min(seconds), "s median": statistics.median(seconds), "peak RSS MB": max(memory) / 1e6,
                     "model file MB": nbytes[0] / 1e6})
    return rows
