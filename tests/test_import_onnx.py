"""ONNX models are imported whole and right, whatever their opset, and refused in one clear sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from thinfer.formats.errors import ThinferError
from thinfer.formats.graph import Graph, verify
from thinfer.runtime.interpreter import evaluate
from thinfer.runtime.shapes import UnsupportedOps
from thinfer.toolchain import importers

RNG = np.random.default_rng(0)


def weight(name: str, *shape: int, scale: float = 0.3) -> TensorProto:
    return numpy_helper.from_array((RNG.standard_normal(shape) * scale).astype(np.float32), name)


def ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def value(name: str, *shape: int | str, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model_of(nodes: list[onnx.NodeProto], inputs: list, outputs: list, weights: list, opset: int = 17, **kwargs) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    version = kwargs.pop("ir_version", helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version, **kwargs)


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def cnn(opset: int) -> onnx.ModelProto:
    """Uses what changed between the opsets, and the spellings that exporters of each time wrote."""
    node = helper.make_node
    mean = (node("ReduceMean", ["p"], ["m"], axes=[2, 3], keepdims=1) if opset < 18 else node("ReduceMean", ["p", "axes"], ["m"]))
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], name="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1], dilations=[1, 1],
             group=1),
        node("BatchNormalization", ["c", "gamma", "beta", "mu", "var"], ["n"], epsilon=1e-3),
        node("Clip", ["n", "low", "high"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        mean,
        node("Squeeze", ["m", "axes"], ["s"]),
        node("Unsqueeze", ["s", "axes"], ["u"]),
        node("Mul", ["p", "u"], ["e"]),
        node("Shape", ["e"], ["shape"]),
        node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array(0, np.int64))),
        node("Gather", ["shape", "zero"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "first"], ["batch1"]),
        node("Concat", ["batch1", "rest"], ["target"], axis=0),
        node("Reshape", ["e", "target"], ["f"]),
        node("Dropout", ["f"], ["d", "mask"]),
        node("MatMul", ["d", "fc"], ["mm"]),
        node("Add", ["mm", "fcb"], ["a"]),
        node("Softmax", ["a"], ["y"], axis=-1),
    ]
    positive = numpy_helper.from_array(RNG.uniform(0.5, 2, 6).astype(np.float32), "var")
    weights = [weight("w", 6, 3, 3, 3), weight("b", 6), weight("gamma", 6), weight("beta", 6), weight("mu", 6), positive,
               numpy_helper.from_array(np.float32(0), "low"), numpy_helper.from_array(np.float32(6), "high"), ints("axes", 2, 3),
               ints("first", 0), ints("rest", -1), weight("fc", 6 * 16, 5), weight("fcb", 5)]
    return model_of(nodes, [value("x", "N", 3, 8, 8)], [value("y", "N", 5)], weights, opset)


def by_onnxruntime(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds)


def ops_of(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


@pytest.mark.parametrize("opset", range(13, 27))
def test_every_opset_computes_what_onnxruntime_computes(opset: int, tmp_path: Path) -> None:
    model = cnn(opset)
    graph = verify(importers.load(saved(model, tmp_path)))
    for batch in (1, 3):
        x = RNG.standard_normal((batch, 3, 8, 8)).astype(np.float32)
        np.testing.assert_allclose(evaluate(graph, {"x": x})["y"], by_onnxruntime(model, {"x": x})[0], rtol=1e-4, atol=1e-6)


def test_the_graph_is_clean_and_keeps_what_training_wants_to_see(tmp_path: Path) -> None:
    graph = importers.load(saved(cnn(17), tmp_path))
    assert ops_of(graph) == ["Conv", "BatchNormalization", "Clip", "MaxPool", "GlobalAveragePool", "Squeeze", "Unsqueeze", "Mul",
                             "Flatten", "Dropout", "Gemm", "Softmax"]
    assert graph.nodes[0].attrs == {"pads": (1, 1, 1, 1)}
    assert graph.label(graph.nodes[0]) == "conv"
    assert graph.inputs[0].shape == ("N", 3, 8, 8)
    assert graph.weights["fc"].axis == 1
    assert graph.weights["w"].axis == 0


def test_the_source_is_described(tmp_path: Path) -> None:
    source = importers.load(saved(cnn(17), tmp_path)).source
    assert source.parameters == 6 * 27 + 6 + 12 + 96 * 5 + 5
    assert source.nbytes == 4 * (source.parameters + 12)
    assert source.macs >= 6 * 27 * 64 + 96 * 5


def test_macs_are_counted_at_batch_1(tmp_path: Path) -> None:
    free, fixed = cnn(17), cnn(17)
    for info in (fixed.graph.input[0], fixed.graph.output[0]):
        info.type.tensor_type.shape.dim[0].dim_value = 4
    assert importers.load(saved(fixed, tmp_path)).source.macs == importers.load(saved(free, tmp_path, "free.onnx")).source.macs


def test_initializers_that_are_inputs_too_are_weights(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], [value("x", 1, 4), value("w", 3, 4)],
                     [value("y", 1, 3)], [weight("w", 3, 4)], 13, ir_version=3)
    graph = importers.load(saved(model, tmp_path))
    assert [info.name for info in graph.inputs] == ["x"]
    assert graph.weights["w"].axis == 0


def test_functions_are_inlined(tmp_path: Path) -> None:
    add = helper.make_node("Add", ["a", "a"], ["b"])
    body = helper.make_function("mine", "Twice", ["a"], ["b"], [add], [helper.make_opsetid("", 17)])
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="mine")], "g", [value("x", 2)], [value("y", 2)])
    model = helper.make_model(graph, functions=[body], opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)])
    found = importers.load(saved(model, tmp_path))
    assert ops_of(found) == ["Add"]
    assert evaluate(found, {"x": np.float32([1, 2])})["y"].tolist() == [2, 4]


def test_unsupported_operators_on_constants_are_computed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Expand", ["c", "shape"], ["e"]), helper.make_node("CastLike", ["e", "x"], ["b"]),
             helper.make_node("Add", ["x", "b"], ["y"])]
    weights = [numpy_helper.from_array(np.float64([2]), "c"), ints("shape", 2, 3)]
    model = model_of(nodes, [value("x", 2, 3)], [value("y", 2, 3)], weights, 20)
    graph = importers.load(saved(model, tmp_path))
    assert ops_of(graph) == ["Add"]
    assert evaluate(graph, {"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[3, 3, 3], [3, 3, 3]]


def test_unshaped_outputs_get_a_rank(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [value("x", "N", 4)], [helper.make_tensor_value_info("y", 1, None)], [])
    assert [type(dim) for dim in importers.load(saved(model, tmp_path)).outputs[0].shape] == [str, str]


def with_external_data(folder: Path, location: str, offset: int = 0, length: int = 48) -> Path:
    model = model_of([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], [value("x", 1, 4)], [value("y", 1, 3)], [weight("w", 3, 4)])
    tensor = model.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=text)
    target = folder / location
    if target.parent.is_dir():
        target.write_bytes(b"\0" * offset + content)
    return saved(model, folder)


def test_external_data_is_read(tmp_path: Path) -> None:
    path = with_external_data(tmp_path, "weights.bin", offset=16)
    x = RNG.standard_normal((1, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(evaluate(importers.load(path), {"x": x})["y"], session.run(None, {"x": x})[0], rtol=1e-5)


@pytest.mark.parametrize("location", ["../stolen.bin", "link.bin", "/etc/hostname", ".."])
def test_external_data_outside_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "stolen.bin").write_bytes(bytes(48))
    (folder / "link.bin").symlink_to(tmp_path / "stolen.bin")
    path = with_external_data(folder, "inside.bin")
    model = onnx.ModelProto.FromString(path.read_bytes())
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(importers.UnreadableModel, match=r"the data of weight 'w' of .* lies at .*, outside the model's folder"):
        importers.load(path)


def test_external_data_that_is_not_all_there_is_refused(tmp_path: Path) -> None:
    path = with_external_data(tmp_path, "weights.bin", offset=16)
    (tmp_path / "weights.bin").write_bytes(bytes(60))
    with pytest.raises(importers.UnreadableModel, match=r"bytes 16 to 64 of .*, which has 60"):
        importers.load(path)
    with pytest.raises(importers.UnreadableModel, match=r"has 4800 bytes in .*weights\.bin, but its shape and data type need 48"):
        importers.load(with_external_data(tmp_path, "weights.bin", length=4800))
    with pytest.raises(importers.UnreadableModel, match=r"cannot be read from .*: No such file"):
        importers.load(with_external_data(tmp_path, "gone/weights.bin"))


def test_all_unsupported_operators_are_listed_at_once(tmp_path: Path) -> None:
    nodes = [helper.make_node("Multinomial", ["x"], ["a"], name="first"), helper.make_node("Relu", ["x"], ["b"]),
             helper.make_node("RandomNormalLike", ["b"], ["c"], name="noise"), helper.make_node("Multinomial", ["b"], ["d"], name="second"),
             helper.make_node("FusedConv", ["d"], ["e"], name="fused", domain="com.microsoft")]
    outputs = [value("a", 1), value("c", 1, "K", dtype=TensorProto.INT64), value("e", 1)]
    model = model_of(nodes, [value("x", 1, 2, 2)], outputs, [])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(UnsupportedOps) as caught:
        importers.load(saved(model, tmp_path))
    assert str(caught.value) == ("3 operators are not supported: Multinomial (first, second); RandomNormalLike (noise); "
                                 "com.microsoft::FusedConv (fused)")


def test_unsupported_operators_that_no_output_needs_do_not_matter(tmp_path: Path) -> None:
    nodes = [helper.make_node("Multinomial", ["x"], ["a"]), helper.make_node("Relu", ["x"], ["y"])]
    assert ops_of(importers.load(saved(model_of(nodes, [value("x", 2, 2)], [value("y", 2, 2)], []), tmp_path))) == ["Relu"]


@pytest.mark.parametrize("opset", [5, 29])
def test_other_opsets_are_refused(opset: int, tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [value("x", 2)], [value("y", 2)], [], 17)
    model.opset_import[0].version = opset
    with pytest.raises(importers.UnsupportedModel, match=rf"model\.onnx has ONNX opset {opset}; opsets 6 to 28 are supported"):
        importers.load(saved(model, tmp_path))


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(importers.MissingModel, match=r"there is no file .*gone\.onnx"):
        importers.load(tmp_path / "gone.onnx")
    with pytest.raises(importers.MissingModel, match="is a directory, not a model file"):
        importers.load(tmp_path)


def test_empty_truncated_and_garbage_files(tmp_path: Path) -> None:
    whole = cnn(17).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    with pytest.raises(importers.UnreadableModel, match=r"model\.onnx is empty"):
        importers.load(path)
    contents = [whole[:size] for size in range(1, len(whole), 97)] + [RNG.bytes(size) for size in range(1, 400, 7)] + [b"\0" * 64, b"hello"]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(importers.UnreadableModel, match=r"model\.onnx is no whole ONNX model"):
            importers.load(path)


def test_damaged_models_never_end_in_another_error(tmp_path: Path) -> None:
    whole = cnn(17).SerializeToString()
    path = tmp_path / "model.onnx"
    rng = np.random.default_rng(5)
    messages = []
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            content[place] = rng.integers(256)
        path.write_bytes(bytes(content))
        try:
            verify(importers.load(path))
        except ThinferError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert not [text for text in messages if "\n" in text]


def test_a_weight_with_too_few_bytes_is_refused(tmp_path: Path) -> None:
    model = cnn(17)
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-8]
    with pytest.raises(importers.UnreadableModel, match=r"weight 'w' of .*model\.onnx is damaged"):
        importers.load(saved(model, tmp_path))


def test_data_types_that_no_weight_can_have(tmp_path: Path) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [value("x", 2, dtype=TensorProto.BFLOAT16)],
                     [value("y", 2, dtype=TensorProto.BFLOAT16)], [])
    with pytest.raises(importers.UnsupportedModel, match=r"value 'x' .* has the data type bfloat16; supported are float32, "):
        importers.load(saved(model, tmp_path))


def test_input_shapes_narrow_symbolic_dimensions(tmp_path: Path) -> None:
    path = saved(cnn(17), tmp_path)
    graph = importers.load(path, input_shapes={"x": (4, 3, 8, 8)})
    assert graph.inputs[0].shape == (4, 3, 8, 8)
    assert graph.outputs[0].shape == (4, 5)
    assert importers.load(path, input_shapes={"x": ("batch", 3, 8, 8)}).outputs[0].shape == ("batch", 5)


@pytest.mark.parametrize(("shapes", "message"), [
    ({"x": (1, 3, 8)}, "input 'x' has the shape Nx3x8x8, which 1x3x8 does not fit"),
    ({"x": (1, 1, 8, 8)}, "input 'x' has the shape Nx3x8x8, which 1x1x8x8 does not fit"),
    ({"image": (1, 3, 8, 8)}, "the model has no input 'image'; its inputs are x"),
])
def test_wrong_input_shapes(shapes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(importers.InputShapeError) as caught:
        importers.load(saved(cnn(17), tmp_path), input_shapes=shapes)
    assert str(caught.value) == message


def test_shapes_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="head")]
    for rows, hint in (("N", "; if the lengths of N must be particular ones, give them with --input-shape"), (2, "")):
        model = model_of(nodes, [value("x", rows, 4)], [value("y", rows, 3)], [weight("w", 5, 3)])
        with pytest.raises(importers.InputShapeError) as caught:
            importers.load(saved(model, tmp_path))
        assert str(caught.value).startswith("Gemm node 'head' multiplies ")
        assert str(caught.value).endswith(f"the inner lengths 4 and 5 differ{hint}")


def test_lengths_that_the_model_relies_on_can_be_given(tmp_path: Path) -> None:
    nodes = [helper.make_node("Reshape", ["x", "t"], ["y"])]
    path = saved(model_of(nodes, [value("x", "N", 6)], [value("y", 3, 8)], [ints("t", 3, 8)]), tmp_path)
    assert importers.load(path).inputs[0].shape == ("N", 6)
    assert ops_of(importers.load(path, input_shapes={"x": (4, 6)})) == ["Reshape"]


def test_training_mode_is_refused(tmp_path: Path) -> None:
    on = numpy_helper.from_array(np.bool_(True), "on")
    nodes = [helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n", "m2", "v2"], name="norm", training_mode=1),
             helper.make_node("Dropout", ["n", "", "on"], ["y"], name="drop")]
    model = model_of(nodes, [value("x", 2, 3)], [value("y", 2, 3)], [weight(name, 3) for name in "gbmv"] + [on])
    with pytest.raises(importers.UnsupportedModel, match="the model is in training mode at norm, drop; export it for inference"):
        importers.load(saved(model, tmp_path))


def test_importing_twice_gives_the_same(tmp_path: Path) -> None:
    path = saved(cnn(17), tmp_path)
    first, second = importers.load(path), importers.load(path)
    assert [(node.op, node.inputs, node.outputs, dict(node.attrs)) for node in first.nodes] == [
        (node.op, node.inputs, node.outputs, dict(node.attrs)) for node in second.nodes]
    assert list(first.weights) == list(second.weights)
