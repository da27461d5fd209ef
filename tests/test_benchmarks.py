"""The harness itself: contests end with checked outputs and ratios, whoever computes something else gets no time, reports show both."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from thinfer.benchmarks import command, environment, records
from thinfer.benchmarks.cases import CASES
from thinfer.benchmarks.cases.definition import Case, Contender, Packing, Target
from thinfer.benchmarks.cases.figures import LAYERS, lowered
from thinfer.benchmarks.cases.layers import product as dense_product
from thinfer.benchmarks.cases.networks import INT8
from thinfer.benchmarks.cases.sparse import SPARSE, product
from thinfer.benchmarks.contest import Absent, Rules, Worker, agreement, hold
from thinfer.benchmarks.exact import exact
from thinfer.benchmarks.machine import pinned
from thinfer.benchmarks.prepare import prepare
from thinfer.benchmarks.report import report
from thinfer.toolchain import recipe

ROOT = Path(__file__).resolve().parent.parent
CODEBOOK = {"values": {"kind": "codebook", "bits": 2}}


def small(**changes: object) -> Case:
    case = Case("small", "64 × 96, half sparse", partial(product, 64, 96, 0.5, 4),
                {"sparse": Packing(SPARSE), "columns": Packing(SPARSE, "columns"), "codebook-2": Packing(CODEBOOK, "dense")},
                (Contender("numpy", "fp32"), Contender("mkl", "csr")), (Target("thinfer sparse", ("numpy fp32", "mkl csr"), 1.0),))
    return replace(case, **changes)  # type: ignore[arg-type]


def held(case: Case, folder: Path) -> dict[str, dict[str, object]]:
    laid_out = prepare(case, folder, case.contenders, None)
    return hold(case.contenders, laid_out, Rules(1, pinned(1), rounds=3, seconds=0.01))


def test_a_contest(tmp_path: Path) -> None:
    """Rows and columns, Thinfer and NumPy: all give the reference, a peer that is not installed is named, and the report has them."""
    figures = held(small(), tmp_path)
    assert set(figures) == {"thinfer sparse", "thinfer columns", "thinfer codebook-2", "numpy fp32", "mkl csr"}
    assert "missing" in figures.pop("mkl csr")
    for name, values in figures.items():
        assert 0 < values["minimum"] <= values["median"], name
        assert values["blocks"] >= 3
        assert 0 < values["cpu per second"] < 1.5
    assert figures["numpy fp32"]["error"] < 1e-5
    assert figures["thinfer codebook-2"]["own error"] < 1e-5 < figures["thinfer codebook-2"]["error"]
    entry = records.contest_entry(small(), 1, figures, {"command": "c", "cpu": "p", "cores": 1, "isa": "i", "system": "s", "python": "3",
                                                       "versions": {}, "revision": "r"})
    target = entry["targets"][0]
    assert target["ratio"] == figures["thinfer sparse"]["minimum"] / figures["numpy fp32"]["minimum"]
    assert target["unmeasured rivals"] == ["mkl csr"]
    records.save(tmp_path / "r.json", "small", entry)
    assert records.load(tmp_path / "r.json")["small"] == json.loads(json.dumps(entry))
    assert "numpy fp32" in report(records.load(tmp_path / "r.json"), tmp_path / "report")
    assert "64 × 96, half sparse" in (tmp_path / "report/README.md").read_text()
    assert "nothing in it was asked" in report({"small": entry | {"targets": []}}, tmp_path / "report")
    assert "## Ratios" not in (tmp_path / "report/README.md").read_text()


def test_wrong_outputs_get_no_time(tmp_path: Path) -> None:
    case = small(packings={"sparse": Packing(SPARSE)}, rivals=(Contender("numpy", "fp32"),))
    folder = prepare(case, tmp_path, case.contenders, None)
    np.save(folder / "w.npy", np.random.default_rng(5).normal(size=(64, 96)).astype(np.float32))
    figures = hold(case.contenders, folder, Rules(1, pinned(1), rounds=3, seconds=0.01))
    assert "wrong" in figures["numpy fp32"]["missing"]
    assert "minimum" in figures["thinfer sparse"]


def test_a_contender_that_ends_early_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory, say: the others keep their times."""
    block = Worker.block

    def killed(worker: Worker, *rules: Any) -> None:
        if worker.contender.program == "numpy":
            worker.process.kill()
        block(worker, *rules)

    monkeypatch.setattr(Worker, "block", killed)
    figures = held(small(packings={"sparse": Packing(SPARSE)}, rivals=(Contender("numpy", "fp32"),)), tmp_path)
    assert "ended while it was timed" in figures["numpy fp32"]["missing"]
    assert "minimum" in figures["thinfer sparse"]


def test_agreement() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    assert agreement(x, x) == (pytest.approx(1.0), 0.0)
    assert agreement(-x, x)[0] == pytest.approx(-1.0)
    assert not agreement(np.full_like(x, np.nan), x)[0] >= 0
    with pytest.raises(Absent, match="shape"):
        agreement(x[:, :3], x)


def test_references_are_float64_products(tmp_path: Path) -> None:
    model = dense_product(8, 16, tmp_path)
    assert model.w is not None
    expected = model.samples.astype(np.float64) @ model.w.astype(np.float64).T
    np.testing.assert_allclose(exact(model.graphs[""], model.samples), expected, rtol=1e-13)


@pytest.mark.parametrize("layer", LAYERS)
def test_lowered_convolutions(layer: str) -> None:
    """The product with the lowered image is the convolution, as torch computes it."""
    torch = pytest.importorskip("torch")
    _, _, _, kernel, stride, padding = LAYERS[layer]
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 1, 3, 23, 23)), rng.normal(size=(4, 3, kernel, kernel))
    expected = torch.nn.functional.conv2d(torch.from_numpy(x[:, 0]), torch.from_numpy(w), stride=stride, padding=padding).numpy()
    found = lowered(x, kernel, stride, padding) @ w.reshape(4, -1).T
    np.testing.assert_allclose(found.transpose(0, 2, 1).reshape(expected.shape), expected, rtol=1e-9, atol=1e-9)


def test_the_recipe_of_boards_is_the_preset() -> None:
    pytest.importorskip("yaml")
    assert recipe.made(INT8) == recipe.load("int8")


def test_targets_name_contenders() -> None:
    for case in CASES.values():
        names = {contender.name for contender in case.contenders}
        assert len(names) == len(case.contenders), case.name
        for target in case.targets:
            missing = {target.ours, *target.rivals} - names
            assert not missing, f"{case.name}: {missing}"


def test_unknown_cases_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["no-such-case"])
    assert "no-such-case" in capsys.readouterr().err


def test_a_case_that_nobody_could_run_leaves_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What was measured before with peers must not be lost to a run that forgot them."""
    monkeypatch.setitem(CASES, "small", small())
    monkeypatch.setattr(command, "laid_out", lambda case, options: prepare(case, options.work, case.contenders, None))
    results = tmp_path / "r.json"
    records.save(results, "small", {"title": "before"})
    assert command.main(["small", "--only", "mkl", "--threads", "1", "--work", str(tmp_path / "work"), "--results", str(results)]) == 1
    assert records.load(results) == {"small": {"title": "before"}}
    said = capsys.readouterr().err
    assert "mkl csr: missing" in said
    assert "small: not measured: none of its contenders could be timed" in said


@pytest.mark.parametrize(("arguments", "said"), [
    (["fc4096", "--results", "FOLDER"], "no results could be kept: FOLDER: Is a directory"),
    (["fc4096", "--results", "FOLDER/junk"], "FOLDER/junk is no file of results"),
    (["fc4096", "--results", "FOLDER/junk/r.json"], "no results could be kept: FOLDER/junk"),
    (["fc4096", "--seconds", "0"], "'0' is no number of seconds"),
    (["fc4096", "--seconds", "nan"], "'nan' is no number of seconds"),
    (["fc4096", "--seconds", "long"], "'long' is no number of seconds"),
    (["report", "--results", "FOLDER/junk"], "FOLDER/junk is no file of results"),
    (["report", "--results", "FOLDER/list"], "FOLDER/list is no file of results"),
    (["report", "--results", "FOLDER/none"], "there is no FOLDER/none"),
    (["report", "--results", "FOLDER/good", "-o", "FOLDER/junk"], "FOLDER/junk: File exists"),
])
def test_mistakes_are_told_before_anything_is_measured(arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "one", lambda *_: pytest.fail("measured"))
    (tmp_path / "junk").write_text("junk")
    (tmp_path / "list").write_text('["about"]')
    (tmp_path / "good").write_text("{}")
    with pytest.raises(SystemExit) as ended:
        command.main([argument.replace("FOLDER", str(tmp_path)) for argument in arguments])
    assert ended.value.code == 2
    assert said.replace("FOLDER", str(tmp_path)) in capsys.readouterr().err.splitlines()[-1]


def test_an_interrupt_keeps_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    records.save(tmp_path / "r.json", "small", {"title": "before"})
    monkeypatch.setattr(command, "one", interrupted)
    assert command.main(["fc4096", "fc6", "--results", str(tmp_path / "r.json"), "--work", str(tmp_path)]) == 130
    said = capsys.readouterr().err.splitlines()
    assert said[1] == "interrupted"
    assert said[2].startswith(f"results: {tmp_path / 'r.json'}")


def test_a_case_for_which_memory_does_not_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The system kills what lays it out, and the next case is measured."""
    killer = tmp_path / "python"
    killer.write_text("#!/bin/sh\nkill -9 $$\n")
    killer.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killer))
    assert command.main(["fc4096", "fc6", "--threads", "1", "--work", str(tmp_path), "--results", str(tmp_path / "r.json")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said] == ["[1 of 2] fc4096", "fc4096", "[2 of 2] fc6", "fc6"]
    assert said[1] == "fc4096: not measured: what lays it out was ended by signal 9; the system does so where memory runs out"


def test_cases_are_laid_out_by_a_process_of_its_own(tmp_path: Path) -> None:
    options = command.parser().parse_args(["depthwise-96", "--only", "thinfer", "--work", str(tmp_path)])
    assert command.laid_out(CASES["depthwise-96"], options) == tmp_path / "depthwise-96"
    assert (tmp_path / "depthwise-96/dense.thin").exists()


def test_list_takes_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list", "fc*"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["fc4096", "fc6"]


def test_what_it_was_measured_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Raspberry Pi has no model name; an install is no checkout, whatever checkout it lies in; a board has no git."""
    text = "processor\t: 0\nBogoMIPS\t: 108.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\nprocessor\t: 1\nCPU part\t: 0xd09\n\nModel\t: else\n"
    (tmp_path / "cpuinfo").write_text(text)
    (tmp_path / "model").write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(environment, "BOARD", tmp_path / "model")
    assert environment.cpu_name() == "Raspberry Pi 4 Model B Rev 1.4 (implementer 0x41, part 0xd08)"
    (tmp_path / "cpuinfo").write_text("model name\t: X86\ncpu family\t: 25\nmodel\t\t: 17\n\n")
    assert environment.cpu_name() == "X86 (family 25, model 17)"
    monkeypatch.setattr(environment, "BUILT", tmp_path / "revision.txt")  # of the install that is tested
    monkeypatch.setattr(importlib.metadata, "version", "version of {}".format)  # that of a source tree nobody knows
    assert environment.describe()["versions"]["thinfer"] == "version of thinfer"
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        assert environment.revision() == "unknown"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    somebody = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(tmp_path), *somebody, "commit", "-q", "--allow-empty", "-m", "something else"], check=True)
    monkeypatch.setattr(environment, "ROOT", tmp_path / "site-packages")
    (tmp_path / "site-packages").mkdir()
    assert environment.revision() == "unknown"
    (tmp_path / "site-packages/setup.py").touch()  # of unpacked sources
    assert environment.revision() == "unknown"


def test_installs_know_their_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("setuptools", "77")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "BUILT", tmp_path / "thinfer/benchmarks/revision.txt")
    subprocess.run([sys.executable, "setup.py", "-q", "build_py", "-d", str(tmp_path)], check=True, capture_output=True, cwd=ROOT,
                   env=os.environ | {"THINFER_REVISION": "abc-dirty"})
    assert environment.revision() == "abc-dirty"


def test_ratios_to_rivals_that_were_not_asked_are_not_told() -> None:
    timed = {"minimum": 1.0, "median": 1.0, "cosine": 1.0, "error": 0.0, "cpu per second": 1.0, "clean": 3, "blocks": 3}
    entry = {"contenders": {"thinfer dense": timed}, "targets": [records.asked("thinfer dense", "ort", None, 1.0)]}
    assert len(records.lines(entry)) == 1
    entry["contenders"]["onnxruntime fp32"] = timed
    assert records.lines(entry)[-1].endswith("not measured, asked 1.000")
