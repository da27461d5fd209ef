"""What a call costs beside its arithmetic, and how fast files are decoded."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import runtime
from ..formats import reader
from ..formats.graph import Graph, Node, ValueInfo
from ..formats.record import replace
from ..formats.tensor import EncodedTensor
from ..formats.writer import write
from ..runtime.plan import Plan
from ..runtime.stage import NativeStage
from ..toolchain import pipeline, recipe
from .nets import single

SECONDS, BLOCKS = 0.002, 150
SYMBOLS = 1 << 24
PRUNED = {"prune_weights": {"quality": 0.7}, "values": {"kind": "codebook", "bits": 4}}


def seconds_per_call(ways: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of one call of each, for every block of some milliseconds. They take turns, since clocks and neighbours change by the second."""
    counts: dict[str, int] = {}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for name, call in ways.items():
        call()
        start = time.perf_counter()
        call()
        counts[name] = min(max(int(SECONDS / (time.perf_counter() - start)), 1), 2000)
    for _ in range(BLOCKS):
        for name, call in ways.items():
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            found[name].append((time.perf_counter() - start) / counts[name])
    return found


def lenet300() -> Graph:
    """LeNet-300-100 (LeCun et al. 1998) with seeded weights."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], {}, "x"
    for i, (inputs, outputs) in enumerate(((784, 300), (300, 100), (100, 10))):
        weights[f"w{i}"] = EncodedTensor.dense(rng.normal(0, (2 / inputs) ** 0.5, (outputs, inputs)).astype(np.float32))
        weights[f"b{i}"] = EncodedTensor.dense(rng.normal(0, 0.1, outputs).astype(np.float32))
        nodes.append(Node("Gemm", (value, f"w{i}", f"b{i}"), (f"y{i}",), {"transB": 1}))
        value = f"y{i}"
        if i < 2:
            nodes.append(Node("Relu", (value,), (f"r{i}",)))
            value = f"r{i}"
    return Graph((ValueInfo("x", "float32", (1, 784)),), (ValueInfo(value, "float32", (1, 10)),), tuple(nodes), weights)


def steps_once_and_twice(session: runtime.Session, feeds: dict[str, np.ndarray]) -> list[Callable[[], object]]:
    """Bound calls that do the steps of a net, which is one native segment, once and twice: what lies between them is what the steps take. They read
    and write the same memory both times, and nothing but them is there twice."""
    plan = session._plan(tuple(array.shape for array in feeds.values()))
    program = plan.kept() if isinstance(plan, Plan) else None
    assert program is not None
    outputs = {name: np.empty(shape, dtype) for name, dtype, shape in program.outputs}
    count, steps = program.code[:1], program.code[1:]
    programs = (program, replace(program, code=np.concatenate([2 * count, steps, steps])))
    return [NativeStage(each, session._target).bound(feeds, outputs) for each in programs]


def overhead_rows() -> list[dict[str, Any]]:
    """``session.run`` and a bound call, of LeNet-300-100 packed and of a net that does next to nothing: one Relu of one number.
    "overhead": what a call takes beside the net's steps."""
    rng = np.random.default_rng(1)
    nets = {"LeNet-300-100, packed": (pipeline.compress(lenet300(), recipe.made(PRUNED)), rng.normal(size=(1, 784)).astype(np.float32)),
            "one Relu of one number": (single("Relu", (1, 1), (1, 1), {}), np.ones((1, 1), np.float32))}
    rows = []
    for name, (graph, x) in nets.items():
        session = runtime.load(graph)
        feeds = {"x": x}
        once, twice = steps_once_and_twice(session, feeds)
        times = seconds_per_call({"once": once, "twice": twice, "session.run": partial(session.run, feeds), "session.bind": session.bind(feeds)})
        steps = min(times["twice"]) - min(times["once"])
        for way in ("session.run", "session.bind"):
            least = min(times[way])
            rows.append({"net": name, "call": way, "µs min": least * 1e6, "µs median": statistics.median(times[way]) * 1e6,
                         "µs of its steps": steps * 1e6, "µs overhead": (least - steps) * 1e6})
    return rows


def huffman_rows(folder: Path) -> list[dict[str, Any]]:
    """A clustered weight out of a file in memory: checksum, Huffman decoding and all, on one core."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((4096, SYMBOLS // 4096), np.float32)
    rows = []
    for bits in (4, 5, 8):
        coded = {"values": {"kind": "codebook", "bits": bits}, "coder": "huffman"}
        graph = single("Gemm", (1, data.shape[1]), (1, data.shape[0]), {"w": data}, {"transB": 1})
        path = folder / f"huffman-{bits}.thin"
        write(pipeline.compress(graph, recipe.made(coded)), path)
        raw = path.read_bytes()
        taken = []
        for _ in range(5):
            start = time.perf_counter()
            found = reader.from_bytes(raw).weights["w"]
            taken.append(time.perf_counter() - start)
        rows.append({"bits of an index": bits, "indices": found.size, "bits in the file": 8 * len(raw) / found.size,
                     "decoded GB/s": found.size / min(taken) / 1e9, "median GB/s": found.size / statistics.median(taken) / 1e9})
    return rows
