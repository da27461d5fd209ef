#!/usr/bin/env python3
"""Runs onnx's own conformance suite (onnx.backend.test) on Thinfer's backends.

    tools/conformance.py                                    # everything on both backends; writes docs/coverage.md and the list
    tools/conformance.py --only 'node/test_(lstm|gru)' --backend numpy      # a look at some cases; writes nothing
    tools/conformance.py --only test_resize -v              # with what went wrong, case by case

A case *passes* if every output has the shape, the dtype and, within the suite's own tolerance, the elements that the suite
expects; it is *refused* if the import, the plan or the run raises a ThinferError; else it *failed*. Exit status: 0, or 1 if
a case failed, or 2 if one failed or was refused that tests/conformance_passing.txt lists.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner
from thinfer.formats.errors import ThinferError
from thinfer.toolchain.onnx_backend import ThinferBackend

ROOT = Path(__file__).resolve().parent.parent
PASSING = ROOT / "tests" / "conformance_passing.txt"
COVERAGE = ROOT / "docs" / "coverage.md"
KINDS = ("node", "pytorch-converted", "pytorch-operator", "simple", "real")
BACKENDS = ("numpy", "native")
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
RANK = {"passed": 0, "refused": 1, "failed": 2}


@dataclass(frozen=True)
class Outcome:
    """What became of a case on one backend. ``status``: passed, refused or failed; ``reason``: what was said."""

    status: str
    reason: str = ""


@cache
def cases(kind: str) -> dict[str, TestCase]:
    """Name (``kind/test_…``) → case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite computes some expected results beyond what dtypes hold
        return {f"{kind}/{case.name}": case for case in sorted(load_model_tests(kind=kind), key=lambda case: case.name)}


def find(name: str) -> TestCase:
    """The case of that name."""
    return cases(name.partition("/")[0])[name]


def model_of(case: TestCase) -> onnx.ModelProto:
    if case.model is not None:
        return case.model
    return onnx.load(LIGHT / Path(case.url).name if case.url else Path(case.model_dir) / "model.onnx")


def data_of(case: TestCase, model: onnx.ModelProto) -> Iterator[tuple[list[Any], list[Any]]]:
    """(inputs, expected outputs) of each data set, as the suite's own runner makes them."""
    if case.data_sets is not None:
        yield from ((list(map(_array, given)), list(map(_array, wanted))) for given, wanted in case.data_sets)
    elif case.url is not None:
        weights = {tensor.name for tensor in model.graph.initializer}
        given = [Runner.generate_dummy_data(info, seed=0, name=case.name, random=False)
                 for info in model.graph.input if info.name not in weights]
        stem = Path(case.url).stem
        yield given, [_read(LIGHT / f"{stem}_output_{place}.pb", info) for place, info in enumerate(model.graph.output)]
    else:
        for folder in sorted(Path(case.model_dir).glob("test_data_set*")):
            yield tuple([_read(folder / f"{which}_{place}.pb", infos[place]) for place in range(len(list(folder.glob(f"{which}_*.pb"))))]
                        for which, infos in (("input", model.graph.input), ("output", model.graph.output)))


def _array(item: Any) -> Any:
    return numpy_helper.to_array(item) if isinstance(item, onnx.TensorProto) else item


def _read(file: Path, info: onnx.ValueInfoProto) -> Any:
    """A value that a file of the suite holds: an array, or a list for a sequence."""
    if info.type.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(file.read_bytes()))
    return numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes()))


def run(name: str, backend: str) -> Outcome:
    """Runs a case on a backend and judges what comes out."""
    case = find(name)
    model = model_of(case)
    try:
        prepared = ThinferBackend.prepare(model, backend=backend)
        for given, wanted in data_of(case, model):
            Runner.assert_similar_outputs(wanted, list(prepared.run(given)), case.rtol, case.atol)
    except ThinferError as error:
        return Outcome("refused", " ".join(str(error).split()))
    except Exception as error:
        return Outcome("failed", " ".join(f"{type(error).__name__}: {error}".split()))
    return Outcome("passed")


def op_of(name: str) -> str:
    """What the case is about: the operator of a node case; spelled-out expansions of an operator's function have a row of their own."""
    kind, _, rest = name.partition("/")
    if kind != "node":
        return kind
    base = re.sub(r"_expanded.*$", "", rest)
    case = cases(kind).get(f"node/{base}") or find(name)
    assert case.model is not None
    op = case.model.graph.node[0].op_type
    return op if base == rest else f"{op} (expanded)"


def worst(found: Iterable[Outcome]) -> Outcome:
    return max(found, key=lambda outcome: RANK[outcome.status])


def grouped(reason: str) -> str:
    """A reason without the names and numbers of the case, so that equal reasons meet."""
    reason = re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason)
    reason = re.sub(r"; (supported|there) are .*", "", reason)
    return re.sub(r" \([^()]*\)", "", re.sub(r"\b\d+(x\d+)*\b", "#", reason))[:160].strip()


def coverage(results: dict[str, Outcome], backends: Sequence[str]) -> str:
    """The text of docs/coverage.md."""
    lines = ["# Coverage of onnx's conformance suite", "",
             f"`python tools/conformance.py` runs all of onnx.backend.test {onnx.__version__} on the backends {' and '.join(backends)} and",
             "writes this file. A case counts as passed if it passes on every backend; refused: a named error says that it is not supported;",
             "failed: a wrong result or any other exception. tests/test_conformance.py runs what tests/conformance_passing.txt lists.", "",
             "| kind | cases | passed | failed | refused |", "|---|---|---|---|---|"]
    for kind in KINDS:
        counts = Counter(outcome.status for name, outcome in results.items() if name.startswith(f"{kind}/"))
        lines.append(f"| {kind} | {counts.total()} | {counts['passed']} | {counts['failed']} | {counts['refused']} |")
    lines += ["", "| operator | passed | failed | refused | why refused or failed |", "|---|---|---|---|---|"]
    rows: dict[str, list[Outcome]] = {}
    for name, outcome in results.items():
        rows.setdefault(op_of(name), []).append(outcome)
    for op in sorted(rows, key=str.lower):
        counts = Counter(outcome.status for outcome in rows[op])
        reasons = Counter(grouped(outcome.reason) for outcome in rows[op] if outcome.status != "passed")
        why = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common()).replace("|", "\\|")
        lines.append(f"| {op} | {counts['passed']} | {counts['failed']} | {counts['refused']} | {why} |")
    return "\n".join(lines) + "\n"


def listed() -> list[str]:
    """The cases that must pass."""
    return PASSING.read_text().split() if PASSING.exists() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERN", help="a regular expression that the case's kind/name, or its operator, has to contain")
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="numpy or native; both if not given")
    parser.add_argument("-v", "--verbose", action="store_true", help="say of every case what became of it")
    options = parser.parse_args()
    np.seterr(all="ignore")
    backends = options.backend or BACKENDS
    first = (options.only or "").partition("/")[0]
    kinds = (first,) if first in KINDS else KINDS  # making the node cases takes seconds
    every = [name for kind in kinds for name in cases(kind)]
    chosen = [name for name in every if not options.only or re.search(options.only, name) or re.fullmatch(options.only, op_of(name))]
    start, results = time.perf_counter(), {}
    for name in chosen:
        each = {backend: run(name, backend) for backend in backends}
        results[name] = worst(each.values())
        if results[name].status == "failed" or options.verbose:
            for backend, outcome in each.items():
                print(f"{outcome.status:8} {backend:7} {name} {outcome.reason[:300]}", flush=True)
    return report(results, backends, whole=not options.only and len(backends) == len(BACKENDS), seconds=time.perf_counter() - start)


def report(results: dict[str, Outcome], backends: Sequence[str], whole: bool, seconds: float) -> int:
    """Says how it went, writes the files after a run of everything, gives the exit status."""
    counts = Counter(outcome.status for outcome in results.values())
    lost = [name for name in listed() if name in results and results[name].status != "passed"]
    for name in lost:
        print(f"lost     {name} {results[name].reason[:300]}")
    for (status, reason), count in Counter((o.status, grouped(o.reason)) for o in results.values() if o.status == "refused").most_common(40):
        print(f"{count:5} {status}: {reason}")
    print(f"{len(results)} cases in {seconds:.0f} s: {counts['passed']} passed, {counts['failed']} failed, {counts['refused']} refused")
    if whole:
        COVERAGE.write_text(coverage(results, backends))
        PASSING.write_text("".join(f"{name}\n" for name, outcome in sorted(results.items()) if outcome.status == "passed"))
        print(f"wrote {COVERAGE.relative_to(ROOT)} and {PASSING.relative_to(ROOT)}")
    return 2 if lost else 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
