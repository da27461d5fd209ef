"""Contenders take turns: each in a process of its own, all but one stopped, outputs checked before anything is timed."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .cases.definition import Contender
from .machine import busy

WORKER = Path(__file__).resolve().parent / "peers/worker.py"
MOST_SECONDS = 180
"""Longest that a contender may take to answer."""
FOREIGN = 0.05
"""Share of a CPU that others may use during a block that counts; a clock tick more is not seen."""
LEAST_CLEAN = 3
COLD_RUNS = 8
ENVIRONMENTS = {"litert": "ai-edge-litert"}
"""Folder of a program's environment where it has another name."""
OWN = ("thinfer", "numpy", "nothing")
"""Programs that run in the environment that this process runs in."""


@dataclass(frozen=True)
class Rules:
    """``threads`` of every contender, pinned to ``cpus``; ``rounds`` of blocks of ``seconds`` each."""

    threads: int
    cpus: frozenset[int]
    rounds: int = 5
    seconds: float = 0.2
    peers: Path | None = None


class Absent(RuntimeError):
    """A contender cannot take part; the message says why."""


def interpreter(program: str, peers: Path | None) -> str:
    """The Python that runs a program. Raises Absent."""
    if program in OWN:
        return sys.executable
    if peers is None:
        raise Absent("no folder of peers was given (--peers)")
    path = peers / ENVIRONMENTS.get(program, program) / "bin/python"
    if not path.exists():
        raise Absent(f"not installed: tools/peers.py makes {path.parent.parent.name}")
    return str(path)


def environment(program: str, threads: int) -> dict[str, str]:
    """Of a process: a peer sees nothing of ours, and every BLAS keeps to the threads."""
    kept = {key: value for key, value in os.environ.items() if program in OWN or key not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))


def command(action: str, contender: Contender, folder: Path, threads: int, peers: Path | None) -> list[str]:
    return [interpreter(contender.program, peers), str(WORKER), action, contender.program, contender.variant, str(folder), str(threads)]


def last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it ended without a word"


@dataclass
class Worker:
    """A contender's process."""

    contender: Contender
    process: subprocess.Popen[str]
    log: Path
    facts: dict[str, Any] = field(default_factory=dict)
    count: int = 1
    blocks: list[tuple[float, float, list[float]]] = field(default_factory=list)
    """(share of a CPU that others used, CPU seconds per second, seconds of each run)"""

    @staticmethod
    def start(contender: Contender, folder: Path, scratch: Path, rules: Rules) -> Worker:
        """Loads the contender and gets its outputs. Raises Absent."""
        log = scratch / f"{contender.program}-{contender.variant}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command("serve", contender, folder, rules.threads, rules.peers), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream,
                text=True, env=environment(contender.program, rules.threads), preexec_fn=_pin(rules.cpus))
        worker = Worker(contender, process, log)
        worker.facts = worker.ask(str(worker.outputs))
        return worker

    @property
    def outputs(self) -> Path:
        return self.log.with_suffix(".npy")

    def ask(self, line: str) -> dict[str, Any]:
        """One line to the process, one answer. Raises Absent if there is none in time."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        limit = threading.Timer(MOST_SECONDS, self.process.kill)
        limit.start()
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            limit.cancel()
        if not answer:
            self.end()
            raise Absent(last_line(self.log))
        return dict(json.loads(answer))

    def ready(self, folder: Path, rules: Rules) -> dict[str, Any]:
        """Checks the outputs, warms up and stops; returns what is known of the contender. Raises Absent, then the process has ended."""
        try:
            facts = self.facts | checked(self.contender, np.load(self.outputs), folder)
            self.warm_up(rules)
            self.stop()
        except BaseException:
            self.end()
            raise
        return facts

    def warm_up(self, rules: Rules) -> None:
        """Finds how many runs a block holds; half a block of them goes first."""
        fastest = min(self.ask("3")["seconds"])
        self.count = max(3, min(3000, int(rules.seconds / fastest)))
        self.ask(str(max(2, self.count // 2)))

    def block(self, rules: Rules, cold: bool) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.ask("2")
        before = busy(rules.cpus)
        answer = self.ask(f"{min(self.count, COLD_RUNS)} cold" if cold else str(self.count))
        foreign = (busy(rules.cpus) - before - answer["cpu"] - 1 / os.sysconf("SC_CLK_TCK")) / answer["wall"]
        self.blocks.append((foreign, answer["cpu"] / answer["wall"], answer["seconds"]))
        self.stop()

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def end(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.kill()
        self.process.wait()

    @property
    def clean(self) -> int:
        return sum(foreign < FOREIGN for foreign, _, _ in self.blocks)

    def times(self) -> dict[str, Any]:
        """What was measured, from the blocks that others left alone, or from all where these are too few."""
        counted = [block for block in self.blocks if block[0] < FOREIGN] if self.clean >= LEAST_CLEAN else self.blocks
        seconds = [value for _, _, values in counted for value in values]
        return {"minimum": min(seconds), "median": statistics.median(seconds), "runs": len(seconds), "blocks": len(self.blocks),
                "clean": self.clean, "cpu per second": statistics.median(share for _, share, _ in self.blocks)}


def _pin(cpus: Collection[int]) -> Callable[[], None] | None:
    return (lambda: os.sched_setaffinity(0, cpus)) if cpus else None


def agreement(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """(mean cosine of the samples, max|Δ| / max|expected|), in float64."""
    if found.shape != expected.shape:
        raise Absent(f"its output has shape {found.shape[1:]} instead of {expected.shape[1:]}")
    a, b = found.reshape(len(found), -1), expected.reshape(len(expected), -1)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean((a * b).sum(1) / np.maximum(lengths, 1e-300))), float(np.abs(a - b).max() / np.abs(b).max())


def hold(contenders: Sequence[Contender], folder: Path, rules: Rules, *, cold: bool = False,
         progress: Callable[[str], object] = lambda _: None) -> dict[str, dict[str, Any]]:
    """Contender's name → its figures, or {"missing": why}. ``folder``: the prepared case."""
    found: dict[str, dict[str, Any]] = {}
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for contender in contenders:
                try:
                    worker = Worker.start(contender, folder, Path(scratch), rules)
                    found[contender.name] = worker.ready(folder, rules)
                    workers.append(worker)
                except Absent as reason:
                    found[contender.name] = {"missing": str(reason)}
                    progress(f"{contender.name}: missing: {reason}")
            for mode in ("warm", "cold") if cold else ("warm",):
                for name, why in _rounds(workers, rules, mode == "cold").items():
                    found[name] = {"missing": why}
                    progress(f"{name}: missing: {why}")
                for worker in workers:
                    prefix = "" if mode == "warm" else "cold "
                    found[worker.contender.name] |= {prefix + key: value for key, value in worker.times().items()}
                    worker.blocks.clear()
        finally:
            for worker in workers:
                worker.end()
    return found


def _rounds(workers: list[Worker], rules: Rules, cold: bool) -> dict[str, str]:
    """A B C A B C …; half as many rounds again for those whose blocks others disturbed. Who ends meanwhile leaves the list: name → why."""
    lost: dict[str, str] = {}
    for turn in range(rules.rounds + rules.rounds // 2):
        for worker in tuple(workers):
            if turn < rules.rounds or worker.clean < LEAST_CLEAN:
                try:
                    worker.block(rules, cold)
                except Absent as reason:
                    workers.remove(worker)
                    lost[worker.contender.name] = f"it ended while it was timed: {reason}"
    return lost


def checked(contender: Contender, outputs: np.ndarray, folder: Path) -> dict[str, Any]:
    """Cosine and error against the float64 reference. Raises Absent if the contender computes something else: it gets no time then.

    What has weights of its own is held against float64 of these too (``own-PROGRAM-VARIANT.npy``): there, quantized activations are all that
    can make a difference.
    """
    own = folder / f"own-{contender.program}-{contender.variant}.npy"
    facts: dict[str, Any] = {}
    if own.exists():
        cosine, error = agreement(outputs, np.load(own))
        facts = {"own cosine": cosine, "own error": error}
        _refuse(contender, cosine)
    cosine, error = agreement(outputs, np.load(folder / "reference.npy"))
    if not facts:
        _refuse(contender, cosine)
    return facts | {"cosine": cosine, "error": error}


def _refuse(contender: Contender, cosine: float) -> None:
    if not cosine >= contender.least_cosine:
        raise Absent(f"its output is wrong: cosine {cosine:.4f} with float64, below {contender.least_cosine}")


Figures = Mapping[str, dict[str, Any]]
