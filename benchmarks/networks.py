"""Real networks against their dense selves: compressed and pruned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import runtime
from ..formats.graph import Graph
from ..formats.writer import write
from ..toolchain import importers, passes, pipeline, recipe
from ..toolchain.importers._source import macs
from ..toolchain.timing import interleaved
from . import images, models

NETWORKS = ("mobilenetv2", "efficientnet-lite0")
BATCH = 21
"""Images per call; 126 images are six calls."""

RSS = """
import sys
import numpy as np
from thinfer import runtime
def rss(field):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(field))
x = np.load(sys.argv[2])
np.zeros((64, 64), np.float32) @ np.zeros((64, 64), np.float32)
before = rss("VmRSS")
session = runtime.load(sys.argv[1])
loaded = rss("VmRSS")
session.run({session.inputs[0].name: x})
print(loaded - before, rss("VmRSS") - before)
"""


def all_images(name: str) -> np.ndarray:
    return np.concatenate([images.labelled(name)[0], images.crops(name)])


def outputs(session: runtime.Session, x: np.ndarray) -> np.ndarray:
    return np.concatenate([session(x[i:i + BATCH]) for i in range(0, len(x), BATCH)])


def error(got: np.ndarray, expected: np.ndarray) -> float:
    """max|Δ| / max|reference|."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def packed(name: str, preset: str, folder: Path) -> Path:
    """The network packed with a preset."""
    target = folder / f"{name}-{preset}.thin"
    graph = importers.load(models.export(name, folder)[0])
    write(pipeline.compress(graph, recipe.load(preset)), target)
    return target


def rss_growth(path: Path, folder: Path) -> tuple[int, int]:
    """Bytes that a fresh process grows by: loading the file, and after its first run."""
    np.save(folder / "one.npy", np.zeros((1, 3, 224, 224), np.float32))
    done = subprocess.run([sys.executable, "-c", RSS, str(path), str(folder / "one.npy")], capture_output=True, text=True, check=True)
    loaded, ran = map(int, done.stdout.split())
    return loaded, ran


def compressed_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Codebooks beside dense: agreement, bytes in the file and in RAM, RSS, latency."""
    for name in NETWORKS:
        x = all_images(name)
        dense = runtime.load(packed(name, "dense", folder))
        expected = outputs(dense, x)
        for preset in ("dense", "fp16", "codebook-8", "codebook-4"):
            path = packed(name, preset, folder)
            session = runtime.load(path)
            got, one = outputs(session, x), np.ascontiguousarray(x[:1])
            taken = interleaved({"this": partial(session, one), "dense": partial(dense, one)})
            loaded, ran = rss_growth(path, folder)
            yield {"network": name, "recipe": preset, "top-1 agreement with dense": float((got.argmax(1) == expected.argmax(1)).mean()),
                   "cosine": float((got * expected).sum() / np.linalg.norm(got) / np.linalg.norm(expected)),
                   "file bytes": path.stat().st_size, "fp32 bytes": session.graph.source.nbytes,
                   "RAM bytes of weights": sum(entry["nbytes"] for entry in session.weight_memory().values()),
                   "by layout": by_layout(session), "RSS growth at load": loaded, "after the first run": ran,
                   "ms min": taken["this"].minimum * 1e3, "dense / this": taken["dense"].minimum / taken["this"].minimum}


def by_layout(session: runtime.Session) -> str:
    """Bytes of the weights in RAM per layout, largest first."""
    total: dict[str, int] = {}
    for entry in session.weight_memory().values():
        kind = entry["layout"].split(" of ")[0]
        total[kind] = total.get(kind, 0) + entry["nbytes"]
    return "; ".join(f"{layout} {nbytes:,}" for layout, nbytes in sorted(total.items(), key=lambda item: -item[1]))


def pruned_rows(folder: Path, fraction: float = 0.2) -> Iterator[dict[str, Any]]:
    """MobileNetV2 with a fifth of its channels gone, not retrained, beside the net with those channels zeroed and beside dense."""
    graph = importers.load(models.export("mobilenetv2", folder)[0])
    x = images.labelled("mobilenetv2")[0]

    def finished(changed: Graph) -> Graph:
        return pipeline.compress(replace(changed, source=graph.source), recipe.load("dense"))

    nets = {"dense": finished(graph), "pruned": finished(passes.prune_channels(graph, fraction=fraction)),
            "zeroed": finished(passes.zero_channels(graph, fraction=fraction))}
    sessions = {name: runtime.load(net) for name, net in nets.items()}
    results = {name: outputs(session, x) for name, session in sessions.items()}
    one = np.ascontiguousarray(x[:1])
    taken = interleaved({name: partial(session, one) for name, session in sessions.items()})
    for name, net in nets.items():
        write(net, folder / f"{name}.thin")
        yield {"net": name, "error against zeroed": error(results[name], results["zeroed"]), "parameters": sum(t.size for t in net.weights.values()),
               "MACs": macs(net), "file bytes": (folder / f"{name}.thin").stat().st_size,
               "RAM bytes of weights": sum(entry["nbytes"] for entry in sessions[name].weight_memory().values()),
               "ms min": taken[name].minimum * 1e3, "ms median": taken[name].median * 1e3,
               "dense / this": taken["dense"].minimum / taken[name].minimum}
