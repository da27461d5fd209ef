"""``worker.py ACTION PEER VARIANT FOLDER THREADS``: one peer in a process of its own, run by the peer's Python. Its stdout is the protocol:
one line of JSON per answer; whatever libraries print goes to stderr.

``convert`` writes the peer's files. ``once`` loads, runs the first sample once and answers with the peak RSS in bytes; what it imports for
itself, no contender needs and all of them would pay for, so it is little. ``serve`` loads,
runs every sample, writes the outputs to the file that the first line of stdin names, then answers each further line ``COUNT [cold]`` with
the seconds of that many runs; ``cold`` streams 96 MB through the caches before each of them.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any, TextIO

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
STREAMED = 96 << 20
PACKAGE = "thinfer_peers"


def modules(peer: str) -> tuple[Any, Any]:
    """(``interface``, the peer's module), as parts of a package that needs no installed Thinfer."""
    folder = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) != folder]  # where torch.py is not torch
    package = ModuleType(PACKAGE)
    package.__path__ = [folder]
    sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.interface"), importlib.import_module(f"{PACKAGE}.{peer}")


def peak() -> int:
    """Peak RSS of this process in bytes: what its parent is told would include the parent's pages before ``exec``."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(package)
    except PackageNotFoundError:
        return "of the source tree"


def serve(loaded: Any, case: Any, answers: TextIO) -> None:
    import json
    import time

    import numpy as np

    samples = case.x if loaded.samples is None else loaded.samples
    results = [np.array(loaded.finish(loaded.bind(x)()), np.float64) for x in samples]
    np.save(sys.stdin.readline().strip(), np.stack(results))
    answers.write(json.dumps({"version": version(loaded.package), "nbytes": loaded.nbytes}) + "\n")
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
    case = interface.Case(folder, variant, int(threads))
    if action == "convert":
        if hasattr(module, "convert"):
            module.convert(case)
        return 0
    loaded = module.load(case)
    if action == "once":
        loaded.finish(loaded.bind(case.first)())
        answers.write(f'{{"peak": {peak()}, "nbytes": {loaded.nbytes}}}\n')
    else:
        serve(loaded, case, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
