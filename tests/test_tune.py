"""Costs measured on a device: written by the command, used by plans, and refused with a sentence where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_session import image, needs_native, small_cnn
from thinfer import runtime
from thinfer.formats import writer
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.kernels import isa
from thinfer.kernels.tuned import CostsError, read, text
from thinfer.runtime.tuning import Timed
from thinfer.toolchain.cli import execute
from thinfer.toolchain.tune import factors


def kernels_of(session: runtime.Session) -> list[str]:
    return [kernel for row in session.profile({"x": image()}) for kernel in row.kernels]


@needs_native
def test_the_command_writes_what_plans_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model, costs = tmp_path / "net.thin", tmp_path / "costs.json"
    writer.write(small_cnn("codebook4"), model)
    assert execute(["tune", str(model), "-o", str(costs), "--json", "-q"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = read(costs, isa.selected())
    assert found == {row["kernel"]: pytest.approx(row["factor"]) for row in said["kernels"]}
    assert all(row["least"] <= row["factor"] * 1.001 and row["factor"] <= row["most"] * 1.001 for row in said["kernels"])
    expected = runtime.load(model).run({"x": image()})["y"]
    np.testing.assert_allclose(runtime.load(model, costs=costs).run({"x": image()})["y"], expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setenv("THINFER_COSTS", str(costs))
    np.testing.assert_allclose(runtime.load(model).run({"x": image()})["y"], expected, rtol=1e-4, atol=1e-5)


@needs_native
def test_a_kernel_that_is_slow_here_is_not_chosen(tmp_path: Path) -> None:
    """The depthwise kernel, said to be a thousand times slower than its estimate, gives way to another one."""
    usual = kernels_of(runtime.load(small_cnn()))
    slow = next(kernel for kernel in usual if "depthwise" in kernel)
    options = {way.kernel for way in runtime.load(small_cnn()).timed_ways({"x": image()})}
    costs = tmp_path / "costs.json"
    costs.write_text(text({kernel: 1e3 for kernel in options if "depthwise" in kernel}, isa.selected(), "a test"))
    tuned = runtime.load(small_cnn(), costs=costs)
    assert slow not in kernels_of(tuned)
    x = image()
    np.testing.assert_allclose(tuned.run({"x": x})["y"], runtime.load(small_cnn()).run({"x": x})["y"], rtol=1e-4, atol=1e-5)


@needs_native
def test_symbolic_lengths_are_ones_that_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "pooled.thin"
    pool = Node("MaxPool", ("x",), ("y",), {"kernel_shape": (3, 3)})
    writer.write(Graph((ValueInfo("x", "float32", (1, 2, "h", "w")),), (ValueInfo("y", "float32", (1, 2, "a", "b")),), (pool,), {}), model)
    assert execute(["tune", str(model), "-o", str(tmp_path / "costs.json"), "--json", "-q"]) == 0
    assert [row["kernel"] for row in json.loads(capsys.readouterr().out)["kernels"]]
    assert execute(["tune", str(model), "-o", str(tmp_path / "costs.json"), "--input-shape", "x:1,2,2,2", "-q"]) == 2
    assert "'h'" in (said := capsys.readouterr().err) or "3x3" in said


def test_factors_are_relative_to_the_whole() -> None:
    """Three kernels, all twice as slow as estimated, but one which is eight times."""
    rows = factors([Timed("a", 10, 20), Timed("b", 1, 2), Timed("c", 5, 40), Timed("c", 5, 40)])
    assert [(row.kernel, row.cases) for row in rows] == [("a", 1), ("b", 1), ("c", 2)]
    np.testing.assert_allclose([row.factor for row in rows], [1, 1, 4])
    assert factors([]) == []


@pytest.mark.parametrize(("content", "said"), [
    ("{", "no file of costs as toolchain tune writes it"), ("[]", "no file of costs as"), ('{"factors": {"a": "b"}}', "no file of costs as"),
    (text({"a": 1.0}, "avx2", "x").replace(": 0,", ": 7,"), "no file of costs that this version reads"),
    (text({"a": -1.0}, "avx2", "x"), "no file of costs that this version reads"),
    (text({"a": 1.0}, "neon", "x"), "measured at ISA level neon, but avx2 is in use; run toolchain tune again")])
def test_files_that_do_not_fit(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(content)
    with pytest.raises(CostsError, match=said):
        read(path, "avx2")
    with pytest.raises(CostsError, match="cannot read the costs"):
        read(tmp_path / "none.json", "avx2")
    with pytest.raises(CostsError, match="costs is 3; it must be the path of a file"):
        read(3, "avx2")  # type: ignore[arg-type]
