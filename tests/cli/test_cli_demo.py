"""demo: a whole tour, and what it says where its files are missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from command_line import ROOT, environment, works


def test_demo_elsewhere_says_where_the_files_are_missing(tmp_path: Path) -> None:
    """The installed package knows no checkout; a copy of it stands for that here."""
    import thinfer.toolchain

    source = Path(thinfer.toolchain.__path__[0]).resolve().parent
    for top in ("formats", "kernels", "runtime", "toolchain"):
        (tmp_path / "site" / "thinfer").mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", str(source / top), str(tmp_path / "site" / "thinfer" / top)], check=True)
    found = subprocess.run([sys.executable, "-m", "thinfer.toolchain", "demo"], capture_output=True, text=True, cwd=tmp_path,
                           env={**environment(), "PYTHONPATH": str(tmp_path / "site")})
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith("toolchain: the demo needs lenet5.pt2 and digits.npz, which are not in ")
    assert str(tmp_path / "examples" / "lenet") in found.stderr


def test_demo(tmp_path: Path) -> None:
    """15 times smaller, at most 0.3 points of accuracy lost."""
    found = json.loads(works("demo", "--json", cwd=ROOT))
    thin, dense = found["models"]
    assert found["digits"] == 1000
    assert dense["accuracy"] >= 0.985
    assert thin["accuracy"] >= dense["accuracy"] - 0.003
    assert dense["file_ratio"] >= 15
    assert dense["ram_ratio"] > 2
    lines = works("demo", cwd=ROOT).splitlines()
    assert lines[0].split() == ["dense", "deep-compression", "ratio"]
    assert [line.split()[0] for line in lines[2:6]] == ["accuracy", "file", "weights", "latency,"]
