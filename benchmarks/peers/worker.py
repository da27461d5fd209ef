"""``worker.py ACTION PEER VARIANT FOLDER THREADS``: one peer in a process of its own, run by the peer's Python. Its stdout is the protocol:
one line of JSON per answer; whatever libraries print goes to stderr.

``convert`` writes the peer's files. ``once`` loads, runs the first sample once and answers with the peak RSS in bytes. ``serve`` loads,
runs every sample, writes the outputs to the file that the first line of stdin names, then answers each further line ``COUNT [cold]`` with
the seconds of that many runs; ``cold`` streams 96 MB through the caches before each of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
STREAMED = 96 << 20
PACKAGE = "thinfer_peers"


def modules(peer: str) -> tuple[Any, Any]:
    """(``interface``, the peer's module), as parts of a package that needs no installed Thinfer."""
    folder = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != folder]  # where torch.py is not torch
    spec = importlib.util.spec_from_file_location(PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE}.interface"), importlib.import_module(f"{PACKAGE}.{peer}")


def peak() -> int:
    """Peak RSS of this process in bytes: what its parent is told would include the parent's pages before ``exec``."""
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))


def serve(loaded: Any, case: Any, answers: TextIO) -> None:
    import numpy as np

    samples = case.x if loaded.samples is None else loaded.samples
    results = [np.array(loaded.finish(loaded.bind(x)()), np.float64) for x in samples]
    np.save(sys.stdin.readline().strip(), np.stack(results))
    answers.write(json.dumps({"version": loaded.version, "nbytes": loaded.nbytes}) + "\n")
    call = loaded.bind(samples[0])
    streamed: Any = None
    clock = time.perf_counter
    for line in sys.stdin:
        count, *mode = line.split()
        seconds = []
        busy, start = time.process_time(), clock()
        for _ in range(int(count)):
            if mode:
                streamed = np.ones(STREAMED, np.uint8) if streamed is None else streamed
                streamed.max()
            before = clock()
            call()
            seconds.append(clock() - before)
        answers.write(json.dumps({"seconds": seconds, "cpu": time.process_time() - busy, "wall": clock() - start}) + "\n")


def main() -> int:
    action, peer, variant, folder, threads = sys.argv[1:6]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, threads), TF_CPP_MIN_LOG_LEVEL="3", NM_DISABLE_ANALYTICS="True")
    interface, module = modules(peer)
    case = interface.Case(Path(folder), variant, int(threads))
    if action == "convert":
        if hasattr(module, "convert"):
            module.convert(case)
        return 0
    loaded = module.load(case)
    if action == "once":
        loaded.finish(loaded.bind(case.first)())
        answers.write(json.dumps({"peak": peak(), "nbytes": loaded.nbytes}) + "\n")
    else:
        serve(loaded, case, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
