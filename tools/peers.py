"""``python tools/peers.py FOLDER [NAME …]``: one virtual environment per peer under FOLDER, since their requirements exclude each other.

``FOLDER/NAME/bin/python`` runs the peer; the benchmarks find them there (``--peers FOLDER``). What is complete already is left alone, so the
command can be repeated; a peer that cannot be installed is named at the end, with the last line that pip wrote, and makes the exit status 1.
The interpreter that runs this script is the one that the environments get. Python 3.11 is the last that all of them have wheels for.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

TORCH = ("torch==2.13.0",)  # of the index of CPU builds where pip has one configured
CONVERTERS = (*TORCH, "numpy==2.4.6")

PEERS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime==1.31.1", "onnx==1.23.2", "onnx-ir==1.1.0", "sympy==1.14.0", "numpy==2.4.6"),
    "openvino": ("openvino==2026.4.1", "nncf==3.4.0", "onnx==1.23.2"),
    "ncnn": ("ncnn==1.0.20261020", "pnnx==20261020", *CONVERTERS),
    "mkl": ("mkl==2026.2.0", "sparse_dot_mkl==0.9.10", "scipy==1.17.1", "numpy==2.4.6"),
    "deepsparse": ("deepsparse==1.8.0",),
    "torch": (*CONVERTERS, "scipy==1.17.1"),
    "ai-edge-litert": ("ai-edge-litert==2.3.0", "litert-torch==0.10.0", "ai-edge-quantizer==0.10.0", *TORCH),
    "executorch": ("executorch==1.5.1", *TORCH),
}
"""Name → what its environment holds: the peer itself and what converts models to its format."""


def install(folder: Path, requirements: tuple[str, ...]) -> str:
    """Makes or completes one environment; returns "" or why it could not be."""
    done = folder / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if done.exists() and done.read_text() == wanted:
        return ""
    venv.create(folder, with_pip=True, clear=True)
    command = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        return (ran.stderr.strip().splitlines() or ["pip failed"])[-1]
    done.write_text(wanted)
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tools/peers.py", description="Make one environment per peer.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}; all if none is given")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(PEERS))
    if unknown:
        parser.error(f"there is no peer {unknown[0]!r}; there are {', '.join(PEERS)}")
    failed = {}
    for name in options.names or PEERS:
        reason = install(options.folder / name, PEERS[name])
        print(f"{name}: {reason or 'ready'}", flush=True)
        if reason:
            failed[name] = reason
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
