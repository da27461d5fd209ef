"""Plots of results: speedup against sparsity and bits, latency against bytes, and two famous findings beside ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

from .records import Entry

Found = Mapping[str, Entry]
DENSE = "numpy fp32"
BITS = {"fp32": 32, "int8": 8, "dynamic8": 8, "int8-weights": 8, "dynamic4": 4, "int4": 4, "codebook-4": 4, "codebook-4-int8": 4,
        "codebook-3-int8": 3, "codebook-2-int8": 2, "binary": 1, "xnor": 1}
"""Bits of a weight by variant."""


def minimum(entry: Entry, name: str) -> float | None:
    value = entry["contenders"].get(name, {}).get("minimum")
    return None if value is None else float(value)


def speedup(entry: Entry, name: str, dense: str = DENSE) -> float | None:
    ours, reference = minimum(entry, name), minimum(entry, dense)
    return None if ours is None or reference is None else reference / ours


def _line(axes: Axes, points: list[tuple[float, float | None]], label: str, style: str) -> None:
    known = sorted((x, y) for x, y in points if y is not None)
    if known:
        axes.plot([x for x, _ in known], [y for _, y in known], style, label=label)


def _sparse(axes: Axes, found: Found, kind: str) -> None:
    """Products of 4096 × 4096: every contender over dense NumPy."""
    cases = [entry for name, entry in found.items() if name.startswith(f"{kind}-") and entry["threads"] == 1 and "sparsity" in entry["facts"]]
    lines: dict[str, list[tuple[float, float | None]]] = {}
    for entry in cases:
        for name in entry["contenders"]:
            label = "thinfer windowed N:32" + (", codebook-4" if name.endswith("codebook-4") else "") if "windowed" in name else name
            lines.setdefault(label, []).append((100 * entry["facts"]["sparsity"], speedup(entry, name)))
    for label, points in lines.items():
        _line(axes, points, label, "o-" if label.startswith("thinfer") else "x--")
    _dressed(axes, "sparsity, %", "speedup over dense NumPy")


def _dressed(axes: Axes, x: str, y: str) -> None:
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    axes.grid(alpha=0.3, which="both")


def vectors(axes: Axes, found: Found) -> None:
    _sparse(axes, found, "sparse")


def columns(axes: Axes, found: Found) -> None:
    _sparse(axes, found, "columns")


def convolutions(axes: Axes, found: Found) -> None:
    """Figure 1 of arXiv 1608.03665: CSR of the lowered convolution over the dense product, ours over the same, and how far our dense kernels get."""
    entries = [one for one in found.values() if one.get("facts", {}).get("figure") == "convolutions" and one["threads"] == 1]
    for place, entry in enumerate(sorted(entries, key=lambda one: str(one["facts"]["layer"]))):
        layer = entry["facts"]["layer"]
        for beginning, label, style in (("mkl csr-", "CSR", "x--"), ("thinfer sparse-", "Thinfer", "o-")):
            points = [(float(name.removeprefix(beginning)), speedup(entry, name)) for name in entry["contenders"] if name.startswith(beginning)]
            _line(axes, points, f"{layer}, {label}", f"{style}C{place}")
        _line(axes, [(percent, speedup(entry, "thinfer dense")) for percent in (50.0, 98.0)], f"{layer}, Thinfer dense", f":C{place}")
    _dressed(axes, "sparsity, %", "speedup over the dense product")


def fully_connected(axes: Axes, found: Found) -> None:
    """Deep Compression's layers: time over dense, as its table 8 has it; bars above 1 are slower than dense."""
    entries = [entry for entry in found.values() if entry.get("facts", {}).get("figure") == "fully connected" and entry["threads"] == 1]
    entries.sort(key=lambda entry: (entry["facts"]["batch"], entry["facts"]["layer"]))
    names = ("mkl csr", "thinfer sparse", "thinfer sparse-codebook-4")
    for place, name in enumerate(names):
        heights = [(i, 1 / value) for i, entry in enumerate(entries) if (value := speedup(entry, name)) is not None]
        axes.bar([i + 0.27 * (place - 1) for i, _ in heights], [height for _, height in heights], 0.25, label=name)
    labels = [f"{entry['facts']['layer']}, batch {entry['facts']['batch']}" for entry in entries]
    axes.set_xticks(range(len(entries)), labels, rotation=60, fontsize=7, ha="right")
    _dressed(axes, "", "time over dense NumPy")


def bits(axes: Axes, found: Found) -> None:
    """4096 × 4096 at batch 1."""
    entry = found["fc4096"]
    for ours, style in ((True, "o-"), (False, "x")):
        for marker, group in (("-int8", "int8 activations"), ("", "fp32 activations")) if ours else (("", "peers"),):
            points = [(float(BITS[variant]), speedup(entry, name)) for name in entry["contenders"]
                      if (variant := name.split(" ")[1]) in BITS and name.startswith("thinfer") == ours
                      and (not ours or (variant.endswith("int8") == (marker == "-int8")))]
            _line(axes, points, f"thinfer, {group}" if ours else group, style)
    axes.set_xscale("log", base=2)
    _dressed(axes, "bits of a weight", "speedup over dense NumPy")


def latency(axes: Axes, found: Found) -> None:
    """Bytes of the model on disk against latency."""
    for place, (case, marker) in enumerate((("fc4096", "o"), ("mobilenetv2", "s"), ("mobilenetv2-int8", "^"))):
        for name, values in found.get(case, {"contenders": {}})["contenders"].items():
            if "minimum" in values:
                ours = name.startswith("thinfer")
                axes.plot(values["nbytes"] / 1e6, values["minimum"] * 1e3, marker, color=f"C{place}", fillstyle="full" if ours else "none")
                axes.annotate(name, (values["nbytes"] / 1e6, values["minimum"] * 1e3), fontsize=5, xytext=(3, 2), textcoords="offset points")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("bytes of the model, MB (circles: 4096 × 4096; squares and triangles: MobileNetV2)")
    axes.set_ylabel("ms, minimum")
    axes.grid(alpha=0.3, which="both")


PLOTS: dict[str, tuple[str, Callable[[Axes, Found], None], Callable[[Found], bool]]] = {
    "speedup-sparsity.png": ("y = Wx, 4096 × 4096: speedup against sparsity", vectors, lambda found: "sparse-90" in found),
    "speedup-sparsity-columns.png": ("Y = WX, 64 columns: speedup against sparsity", columns, lambda found: "columns-90" in found),
    "speedup-bits.png": ("y = Wx, 4096 × 4096: speedup against bits", bits, lambda found: "fc4096" in found),
    "latency-bytes.png": ("Latency against bytes", latency, lambda found: "fc4096" in found),
    "alexnet-convolutions.png": ("AlexNet's convolutions, pruned anywhere (after figure 1 of arXiv 1608.03665)", convolutions,
                                 lambda found: any(name.startswith("alexnet-conv") for name in found)),
    "deep-compression.png": ("Deep Compression's fully connected layers (after table 8 of arXiv 1510.00149)", fully_connected,
                             lambda found: any("-batch" in name for name in found)),
}


def draw(found: Found, folder: Path) -> list[tuple[str, str]]:
    """Writes every plot that there are results for; (title, file) of each."""
    return list(_drawn(found, folder))


def _drawn(found: Found, folder: Path) -> Iterator[tuple[str, str]]:
    for file, (title, paint, possible) in PLOTS.items():
        if possible(found):
            figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
            axes.set_title(title, fontsize=10)
            paint(axes, found)
            figure.savefig(folder / file, dpi=110, metadata={"Software": None})
            pyplot.close(figure)
            yield title, file
