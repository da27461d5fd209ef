"""onnx's own conformance suite: no case that passed is ever lost, and what does not pass is refused by name, never silently wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from thinfer.formats.errors import ThinferError
from thinfer.runtime import InputError
from thinfer.toolchain import onnx_backend
from thinfer.toolchain.onnx_backend import ThinferBackend

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))
import conformance

PARTS = 8


@pytest.mark.parametrize("name", conformance.listed())
def test_a_case_that_passed_passes(name: str) -> None:
    for backend in conformance.BACKENDS:
        outcome = conformance.run(name, backend)
        assert outcome.status == "passed", f"{backend}: {outcome.reason}"


@pytest.mark.parametrize("part", range(PARTS))
def test_every_other_case_is_refused_by_name(part: int) -> None:
    passing = set(conformance.listed())
    others = [name for kind in conformance.KINDS for name in conformance.cases(kind) if name not in passing]
    outcomes = {(name, backend): conformance.run(name, backend) for name in others[part::PARTS] for backend in conformance.BACKENDS}
    assert {case: outcome.reason for case, outcome in outcomes.items() if outcome.status == "failed"} == {}


def test_the_list_names_cases_of_the_suite_once() -> None:
    names = conformance.listed()
    assert len(set(names)) == len(names)
    assert len(names) >= 1700
    for kind in conformance.KINDS:
        assert {name for name in names if name.startswith(f"{kind}/")} <= set(conformance.cases(kind))


def test_a_wrong_result_is_told_from_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answers:
        def run(self, inputs: object) -> tuple[np.ndarray, ...]:
            return (np.zeros((3, 4, 5), np.float32),)

    class Refuses(ThinferError):
        pass

    def refuse(*args: object, **kwargs: object) -> None:
        raise Refuses("no")

    monkeypatch.setattr(ThinferBackend, "prepare", lambda model, **kwargs: Answers())
    assert conformance.run("node/test_relu", "numpy").status == "failed"
    monkeypatch.setattr(ThinferBackend, "prepare", refuse)
    assert conformance.run("node/test_relu", "numpy") == conformance.Outcome("refused", "no")


def relu() -> onnx.ModelProto:
    infos = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in "xy"]
    return onnx.helper.make_model(onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", infos[:1], infos[1:]))


@pytest.mark.parametrize("backend", conformance.BACKENDS)
def test_onnx_backend_takes_inputs_in_every_form(backend: str) -> None:
    x = np.array([[-1, 2, 3], [4, -5, 6]], np.float32)
    prepared = onnx_backend.prepare(relu(), "CPU", backend=backend)
    assert prepared.session.backend == backend
    for given in (x, [x], {"x": x}):
        found = prepared.run(given)
        np.testing.assert_array_equal(found[0], np.maximum(x, 0))
        np.testing.assert_array_equal(found["y"], np.maximum(x, 0))
    with pytest.raises(InputError, match="2 inputs were given; the model takes 1: x"):
        prepared.run([x, x])
    np.testing.assert_array_equal(onnx_backend.run_model(relu(), [x])[0], np.maximum(x, 0))


def test_onnx_backend_runs_single_nodes() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    node = onnx.helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=1)
    a, b = onnx_backend.run_node(node, [x, np.array([1, 2])])
    np.testing.assert_array_equal(a, x[:, :1])
    np.testing.assert_array_equal(b, x[:, 1:])
    (y,) = onnx_backend.run_node(onnx.helper.make_node("Clip", ["x", "", "high"], ["y"]), [x, np.float32(3).reshape(())], opset_version=13)
    np.testing.assert_array_equal(y, np.minimum(x, 3))


def test_onnx_backend_knows_its_devices() -> None:
    assert onnx_backend.supports_device("CPU")
    assert not onnx_backend.supports_device("CUDA")
    with pytest.raises(ThinferError, match="there is no device 'CUDA'; models run on CPU"):
        onnx_backend.prepare(relu(), "CUDA")
