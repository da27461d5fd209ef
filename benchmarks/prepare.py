"""Lays a case out on disk: inputs, references, the files that Thinfer packs and what each peer converts to. Once; then it is found again."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..formats.writer import write
from ..toolchain import pipeline, recipe
from . import nets
from .cases.definition import Case, Contender, Model, Packing
from .contest import OWN, WORKER, Absent, command, environment, last_line
from .exact import exact

ROOT = Path(__file__).resolve().parent.parent
PEERS = WORKER.parent
MOST_SECONDS = 1800
"""Longest that a conversion may take."""
LAYOUT = "1"
"""Of the folders: another number makes all of them stale."""


@cache
def _code(*tops: str) -> bytes:
    return b"".join(path.read_bytes() for top in tops for path in sorted((ROOT / top).rglob("*.py")))


def _digest(*parts: str | bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else part)
    return found.hexdigest()


def _is(stamp: Path, digest: str) -> bool:
    return stamp.exists() and stamp.read_text() == digest


def prepare(case: Case, root: Path, contenders: Sequence[Contender], peers: Path | None,
            progress: Callable[[str], object] = lambda _: None) -> Path:
    """The case's folder under ``root``, with all that these contenders need. Whoever could not be converted has a ``.missing`` file."""
    folder = root / case.name
    digest = _identity(case)
    if not _is(folder / "case.stamp", digest):
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Model] = []

    def model() -> Model:
        if not made:
            progress(f"{case.name}: building")
            made.append(case.build(folder))
        return made[0]

    if not (folder / "case.stamp").exists():
        _lay_out(model(), folder)
        (folder / "case.stamp").write_text(digest)
    for name, packing in case.packings.items():
        if any(contender.program == "thinfer" and contender.variant == name for contender in contenders):
            _pack(name, packing, model, folder, progress)
    others = [contender for contender in contenders if contender.program not in OWN]
    if any(contender.program != "mkl" for contender in others) and not (folder / "model.pt2").exists() and model().module:
        export(model(), folder)
    for contender in others:
        _convert(contender, folder, peers, progress)
    return folder


def _identity(case: Case) -> str:
    """Of what a case is built from: another one makes its folder stale."""
    function = getattr(case.build, "func", case.build)
    return _digest(LAYOUT, repr(getattr(case.build, "args", ())), inspect.getsource(function), inspect.getsource(nets))


def _lay_out(model: Model, folder: Path) -> None:
    arrays = {"x": model.samples, "calibration": model.calibration, "w": model.w, "lowered": model.lowered}
    arrays |= {f"w-{name}": matrix for name, matrix in model.matrices.items()}
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", np.ascontiguousarray(array))
    reference = exact(model.graphs[""], model.samples)
    np.save(folder / "reference.npy", reference)
    for name, graph in model.graphs.items():
        if name in model.matrices:
            np.save(folder / f"own-mkl-{name}.npy", exact(graph, model.samples))
    meta = {"output_shape": reference.shape[1:], "input_shape": model.samples.shape[1:]}
    (folder / "meta.json").write_text(json.dumps(meta))


def _pack(name: str, packing: Packing, model: Callable[[], Model], folder: Path, progress: Callable[[str], object]) -> None:
    """``NAME.thin`` and ``own-thinfer-NAME.npy``, float64 of the packed weights."""
    stamp, digest = folder / f"{name}.stamp", _digest(repr(packing), _code("formats", "toolchain"))
    if _is(stamp, digest):
        return
    progress(f"thinfer {name}: packing")
    graph = model().graphs[packing.source]
    data = model().calibration
    calibration = None if data is None else {graph.inputs[0].name: data}
    packed = pipeline.compress(graph, recipe.made(dict(packing.recipe)), calibration=calibration)
    write(packed, folder / f"{name}.thin")
    np.save(folder / f"own-thinfer-{name}.npy", exact(packed, model().samples))
    stamp.write_text(digest)


def export(model: Model, folder: Path) -> None:
    """``model.onnx``, ``model.ts`` and ``model.pt2`` of the model's torch module. Raises ModuleNotFoundError without torch."""
    import torch

    assert model.module is not None
    module, x = model.module().eval(), torch.from_numpy(model.samples[0].copy())  # an axis put in with None would have stride 0
    with torch.no_grad():
        if not (folder / "model.onnx").exists():
            torch.onnx.export(module, (x,), str(folder / "model.onnx"), input_names=["x"], output_names=["y"], dynamo=False, opset_version=17)
        traced: Any = torch.jit.trace(module, x)
        traced.save(str(folder / "model.ts"))
        torch.export.save(torch.export.export(module, (x,)), folder / "model.pt2")


def _convert(contender: Contender, folder: Path, peers: Path | None, progress: Callable[[str], object]) -> None:
    """Runs the peer's ``convert``, if it has one, unless it was done."""
    if "\ndef convert(" not in (PEERS / f"{contender.program}.py").read_text():
        return
    done, log = (folder / f"{contender.program}-{contender.variant}.{kind}" for kind in ("converted", "log"))
    if done.exists():
        return
    try:
        line = command("convert", contender, folder, 1, peers)
    except Absent:
        return  # the contest says so
    progress(f"{contender.name}: converting")
    with log.open("w") as stream:
        try:
            failed = subprocess.run(line, stdout=stream, stderr=stream, env=environment(contender.program, 2), timeout=MOST_SECONDS).returncode
        except subprocess.TimeoutExpired:
            failed = stream.write(f"it took longer than {MOST_SECONDS} s\n")
    if failed:
        progress(f"{contender.name}: not converted: {last_line(log)}")
    else:
        done.touch()
        log.unlink()
