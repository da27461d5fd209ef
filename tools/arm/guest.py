"""What runs under qemu: one contender of one prepared case, once to warm up, checked, then once between marks of the counting plugin.

``guest.py PEER VARIANT FOLDER``, see cycles.py; prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

START, STOP = 0x7A110001, 0x7A110002
"""File descriptors that nobody has: closing them marks the counted region (count.c)."""


def mark(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return
    raise AssertionError("that descriptor should not exist")


def weight_bytes(peer: str, path: Path, x: np.ndarray) -> int | None:
    """Bytes of our weights in RAM, as packed for the kernels; peers are taken to hold what their files do."""
    if peer != "thinfer":
        return None
    from thinfer import runtime

    session = runtime.load(path, threads=1)
    shape = session.inputs[0].shape
    session.run({session.inputs[0].name: x if shape == x.shape else np.ascontiguousarray(x.T)})
    return sum(entry["nbytes"] for entry in session.weight_memory().values())


def main() -> None:
    peer, variant, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks/peers"))
    import worker

    interface, module = worker.modules(peer)
    case = interface.Case(folder, variant, 1)
    loaded = module.load(case)
    samples = case.x if loaded.samples is None else loaded.samples
    call = loaded.bind(samples[0])
    found = np.asarray(loaded.finish(call()), np.float64)
    exact = np.load(folder / "reference.npy")[0].reshape(found.shape)
    cosine = float((found * exact).sum() / np.sqrt((found * found).sum() * (exact * exact).sum()))
    call()
    mark(START)
    call()
    mark(STOP)
    nbytes = weight_bytes(peer, folder / f"{variant}.thin", case.x[0]) or loaded.nbytes
    print(json.dumps({"version": worker.version(loaded.package), "cosine": cosine, "nbytes": nbytes}))


if __name__ == "__main__":
    main()
