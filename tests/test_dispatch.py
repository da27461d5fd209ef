"""Levels can be forced, the forced one is the one that runs, and no level's code can leak into another's."""

from __future__ import annotations

import ast
import itertools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from thinfer.kernels import isa

pytestmark = pytest.mark.skipif(isa.native() is None, reason="no compiled kernels in this install")
ROOT = Path(__file__).resolve().parent.parent


def in_fresh_process(script: str, level: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "THINFER_ISA": level}, cwd="/")


@pytest.mark.parametrize("level", isa.levels())
def test_forced_level_is_the_one_that_runs(level: str) -> None:
    """Every kernel resolves to a line of kernels.inc at or below the forced level, and to that level where it has one."""
    native = isa.native()
    assert native is not None
    rows = {(name, at) for name, at, _ in native.kernels()}
    order = isa.levels()
    for name, _, _ in native.kernels():
        resolved = native.resolve(name, level)
        if (name, level) in rows:
            assert resolved == level
        else:
            assert resolved is None or order.index(resolved) < order.index(level)
    done = in_fresh_process("from thinfer.kernels import isa; print(isa.selected())", level)
    assert done.stdout.strip() == level


FLAGS = {"avx2": "avx2 fma f16c bmi1 bmi2 popcnt", "avx512": "avx512f avx512bw avx512dq avx512vl",
         "avx512vnni": "avx512_vnni avx512vbmi avx512_vbmi2 avx512_bitalg avx512_vpopcntdq", "dotprod": "asimddp"}
"""Of a level's CPUs in Linux's words, beside those of the level below."""


def test_the_levels_are_those_of_the_cpu() -> None:
    """All that this CPU has, and no other, whatever compiled the library."""
    native, cpuinfo = isa.native(), Path("/proc/cpuinfo")
    words = set(re.findall(r"\S+", "".join(re.findall(r"(?m)^(?:flags|Features)\s*:.*$", cpuinfo.read_text())[:1]))) if cpuinfo.exists() else set()
    if not words:
        pytest.skip("this system does not say what its CPU has")
    assert native is not None
    lowest, *compiled = dict.fromkeys(level for level in ("baseline", "neon", *FLAGS) if level in {row[1] for row in native.kernels()})
    expected = [lowest, *itertools.takewhile(lambda level: words.issuperset(FLAGS[level].split()), compiled)]
    assert isa.levels() == expected


def test_unknown_level_lists_the_valid_ones() -> None:
    done = in_fresh_process("from thinfer.kernels import isa\ntry: isa.selected()\nexcept isa.UnknownIsa as e: print(e)", "avx1024")
    assert "avx1024" in done.stdout
    assert all(level in done.stdout for level in isa.levels())


def test_every_kernel_has_a_baseline() -> None:
    native = isa.native()
    assert native is not None
    names = {name for name, _, _ in native.kernels()}
    assert names == {name for name, level, _ in native.kernels() if level == isa.levels()[0]}


def test_kernels_inc_is_best_first() -> None:
    native = isa.native()
    assert native is not None
    order = ["baseline", "neon", "avx2", "avx512", "avx512vnni", "dotprod"]
    seen: dict[str, int] = {}
    for name, level, _ in native.kernels():
        assert order.index(level) < seen.get(name, len(order)), f"{name} lists {level} after a weaker level"
        seen[name] = order.index(level)


@pytest.mark.parametrize("level", isa.levels())
def test_level_objects_export_kernels_alone(level: str, tmp_path: Path) -> None:
    """A weak symbol (a shared inline) compiled for a newer CPU could be picked by the linker for an older one."""
    if shutil.which("g++") is None:
        pytest.skip("no compiler on this machine")
    setup = _setup()
    level_of_flags = "baseline" if level == "neon" else level  # what the weakest level is called on ARM
    changed = max(path.stat().st_mtime for path in [ROOT / "setup.py", *(ROOT / "kernels").rglob("*.h")])
    checked = setup["kernel_sources"](level_of_flags)
    assert checked
    for source in checked:
        listed = subprocess.run(["nm", str(_object(source, level_of_flags, setup["isa_flags"](), changed, tmp_path))],
                                capture_output=True, text=True, check=True).stdout
        names = [line.split()[-2:] for line in listed.splitlines()]
        assert any(kind == "T" for kind, _ in names), source
        for kind, symbol in names:
            assert kind not in "WwVvu", f"{source}: weak symbol {symbol}"
            if kind == "T":
                assert symbol.startswith("thin_"), f"{source}: {symbol}"
                assert symbol.endswith(f"_{level}"), f"{source}: {symbol}"


def _object(source: str, level: str, flags: Mapping[str, Sequence[str]], changed: float, folder: Path) -> Path:
    """That of the last build in this checkout, unless something has changed since; then it is compiled here."""
    built = [path for path in (ROOT / "build").glob(f"temp.*/{level}/{Path(source).with_suffix('.o')}")
             if path.stat().st_mtime >= max(changed, (ROOT / source).stat().st_mtime)]
    if built:
        return built[0]
    target = folder / Path(source).with_suffix(".o").name
    subprocess.run(["g++", "-std=c++17", "-O0", "-fPIC", "-fno-exceptions", "-fno-rtti", *flags[level], f"-DTHIN_ISA={level}",
                    f"-DTHIN_ISA_{level.upper()}=1", "-I", "kernels/native", "-c", source, "-o", str(target)], check=True, cwd=ROOT)
    return target


def _setup() -> dict[str, Any]:
    """What setup.py says of levels and their sources, without what it does."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    wanted = ("kernel_sources", "isa_flags")
    tree.body = [node for node in tree.body if (isinstance(node, ast.FunctionDef) and node.name in wanted) or
                 (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith(("_FLAGS", "NO_TABLES")))]
    found: dict[str, Any] = {"ROOT": ROOT, "SANITIZE": "", "os": os, "platform": platform}
    exec(compile(tree, "setup.py", "exec"), found)
    return found


def test_families_that_wait_for_their_operators_are_told_of_all() -> None:
    """``ONLY`` names exactly what those families lower: an operator that it left out would run in NumPy."""
    script = """
from thinfer.kernels import lowering
lowering._import_families()
found = {family: {op for op, ways in lowering._LOWERINGS.items() if family in ways} for family in lowering.ONLY}
assert {family: sorted(ops) for family, ops in found.items()} == {family: sorted(ops) for family, ops in lowering.ONLY.items()}, found
"""
    done = in_fresh_process(script, "")
    assert done.returncode == 0, done.stderr
