"""Models whose symbolic dimensions only take particular lengths, which onnxruntime runs: imported with their names, run at such lengths."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from thinfer.formats.writer import write
from thinfer.runtime import load
from thinfer.toolchain.explain import costs
from thinfer.toolchain.importers import InputShapeError
from thinfer.toolchain.importers.onnx import convert
from thinfer.toolchain.onnx_backend import ThinferBackend
from thinfer.toolchain.passes.prune_channels import prune_channels


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32), name)


def ints(name: str, *numbers: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def model_of(nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto],
             tensors: list[onnx.TensorProto]) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(nodes, "net", inputs, outputs, tensors), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def unet() -> onnx.ModelProto:
    nodes = [helper.make_node("Conv", ["x", "a"], ["left"], pads=[1, 1, 1, 1]),
             helper.make_node("MaxPool", ["left"], ["down"], kernel_shape=[2, 2], strides=[2, 2]),
             helper.make_node("ConvTranspose", ["down", "b"], ["up"], strides=[2, 2]),
             helper.make_node("Concat", ["left", "up"], ["both"], axis=1), helper.make_node("Conv", ["both", "c"], ["y"])]
    return model_of(nodes, [value("x", 1, 3, "H", "W")], [value("y", 1, 2, "H", "W")],
                    [weight("a", 4, 3, 3, 3), weight("b", 4, 5, 2, 2), weight("c", 2, 9, 1, 1)])


def one(op: str, inputs: list[str], shape: tuple[int | str, ...], outputs: int, tensors: list[onnx.TensorProto],
        **attrs: object) -> onnx.ModelProto:
    names = [f"y{place}" for place in range(outputs)]
    rank = {"Reshape": 3, "SpaceToDepth": 4}.get(op, 2)
    return model_of([helper.make_node(op, inputs, names, **attrs)], [value("x", *shape)],
                    [value(name, *(f"{name}_{axis}" for axis in range(rank))) for name in names], tensors)


MODELS = {
    "unet": (unet(), (1, 3, 12, 10)),
    "space_to_depth": (one("SpaceToDepth", ["x"], (1, 3, "H", "W"), 1, [], blocksize=2), (1, 3, 4, 6)),
    "reshape": (one("Reshape", ["x", "t"], ("N", 4), 1, [ints("t", -1, 2, 4)]), (10, 4)),
    "split": (one("Split", ["x", "s"], ("N", 4), 2, [ints("s", 1, 5)], axis=0), (6, 4)),
    "split_far": (one("Split", ["x", "s"], ("N", 4), 2, [ints("s", 100, 733)], axis=0), (833, 4)),
    "matmul": (one("MatMul", ["w", "x"], ("N", 4), 1, [weight("w", 2, 6)]), (6, 4)),
    "matmul_prime": (one("MatMul", ["w", "x"], ("N", 4), 1, [weight("w", 2, 631)]), (631, 4)),
    "nothing_common": (model_of([helper.make_node("MatMul", ["w", "x"], ["p"]), helper.make_node("MatMul", ["v", "z"], ["q"])],
                                [value("x", "N", 4), value("z", "M", 4)], [value("p", 2, 4), value("q", 2, 4)],
                                [weight("w", 2, 617), weight("v", 2, 631)]), None),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_take_particular_lengths_run_as_in_onnxruntime(name: str) -> None:
    model, shape = MODELS[name]
    shapes = {"x": shape} if shape else {"x": (617, 4), "z": (631, 4)}
    rng = np.random.default_rng(0)
    feeds = {key: rng.standard_normal(dims).astype(np.float32) for key, dims in shapes.items()}
    prepared = ThinferBackend.prepare(model)
    assert [info.shape for info in prepared.session.inputs] == [
        tuple(dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim) for info in model.graph.input]
    wanted = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    for found, right in zip(prepared.run(feeds), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_passes_and_files_do_not_need_length_1(name: str, tmp_path) -> None:
    model, shape = MODELS[name]
    shapes = {"x": shape} if shape else {"x": (617, 4), "z": (631, 4)}
    graph = convert(model, "the model", {})
    rng = np.random.default_rng(0)
    feeds = {key: rng.standard_normal(dims).astype(np.float32) for key, dims in shapes.items()}
    write(prune_channels(graph, fraction=0.0), tmp_path / "model.thin")
    wanted = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    for found, right in zip(load(tmp_path / "model.thin").run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)


def test_macs_need_the_lengths_of_all_but_batches() -> None:
    graph = convert(unet(), "the model", {"x": (1, 3, 2, 2)})
    assert graph.source.macs == 4 * (4 * 27) + 1 * (4 * 5 * 4) + 4 * (2 * 9)  # 2 × 2, and 1 × 1 below
    for name in ("unet", "nothing_common"):
        unknown = convert(MODELS[name][0], "the model", {})
        assert unknown.source.macs == 0
        assert {row.macs for row in costs(unknown)} == {None}
    batches = convert(MODELS["matmul"][0], "the model", {})  # which only fit at 6, so that they count at 6
    assert (batches.source.macs, [row.macs for row in costs(batches)]) == (2 * 6 * 4, [48])


def test_channels_of_a_unet_are_pruned() -> None:
    graph = convert(unet(), "the model", {})
    pruned = prune_channels(graph, fraction=0.25)
    assert sum(tensor.size for tensor in pruned.weights.values()) < sum(tensor.size for tensor in graph.weights.values())


@pytest.mark.parametrize(("nodes", "tensors", "says"), [
    ([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight("w", 5, 3)], "4 and 5"),
    ([helper.make_node("Add", ["x", "w"], ["y"])], [weight("w", 5)], "4"),
    ([helper.make_node("Reshape", ["x", "t"], ["r"]), helper.make_node("Concat", ["r", "w"], ["y"], axis=0)],
     [ints("t", -1, 2, 2), weight("w", 2, 3, 3)], "2"),
    ([helper.make_node("Transpose", ["x"], ["r"], perm=[0, 2, 1])], [], "perm"),
])
def test_what_no_length_cures_is_refused(nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto], says: str) -> None:
    with pytest.raises(InputShapeError, match=says):
        convert(model_of(nodes, [value("x", "N", 4)], [value(nodes[-1].output[0], "a", "b")], tensors), "the model", {})


def test_the_contradiction_may_be_behind_a_node_that_wants_a_length() -> None:
    kernel = numpy_helper.from_array(np.ones((2, 6, 1, 1), np.float32), "k")  # space to depth makes 12 channels
    nodes = [helper.make_node("SpaceToDepth", ["x"], ["s"], blocksize=2), helper.make_node("Conv", ["s", "k"], ["y"])]
    with pytest.raises(InputShapeError, match="12"):
        convert(model_of(nodes, [value("x", 1, 3, "H", "W")], [value("y", 1, 2, "h", "w")], [kernel]), "the model", {})
