"""Models that are wrong or absurd: one sentence that says what and where, at import, at load and at run; never another error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from test_import_onnx import cnn, ints, model_of, saved, value, weight
from thinfer import runtime
from thinfer.formats import writer
from thinfer.formats.errors import ThinferError
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.runtime import shapes
from thinfer.runtime.errors import OutOfMemory
from thinfer.toolchain import importers, pipeline, recipe

node = helper.make_node
HUGE = 1 << 62
SCALARS = tuple(numpy_helper.from_array(np.int64(number), name) for name, number in (("a", 0), ("b", HUGE), ("c", 1)))


def of(*nodes: onnx.NodeProto, x: tuple[int | str, ...] = (2, 3), y: tuple[int | str, ...] = (2, 3), weights: tuple[TensorProto, ...] = (),
       opset: int = 17) -> onnx.ModelProto:
    return model_of(list(nodes), [value("x", *x)], [value("y", *y)], list(weights), opset)


def sparse_initializer() -> onnx.ModelProto:
    model = of(node("Add", ["x", "w"], ["y"]))
    values = numpy_helper.from_array(np.float32([1]), "w")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, ints("w_indices", 1), [3]))
    return model


def with_attribute(**fields: object) -> onnx.ModelProto:
    item = node("Softmax", ["x"], ["y"], name="soft")
    item.attribute.append(AttributeProto(name="axis", **fields))
    return of(item)


def weight_of(dims: list[int], **fields: object) -> onnx.ModelProto:
    return of(node("Add", ["x", "w"], ["y"], name="add"), weights=(TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT, **fields),))


def external(*location: str) -> onnx.ModelProto:
    return weight_of([2, 3], data_location=TensorProto.EXTERNAL,
                     external_data=[onnx.StringStringEntryProto(key="location", value=text) for text in location])


def given_shape(op: str, dims: list[int], *more: TensorProto, name: str = "n") -> onnx.ModelProto:
    """A node that makes what a constant says."""
    inputs = ["dims"] if op == "ConstantOfShape" else ["x", "dims"]
    return of(node(op, [*inputs, *(tensor.name for tensor in more)], ["t"], name=name), node("ReduceMax", ["t"], ["m"], keepdims=0),
              node("Add", ["x", "m"], ["y"]), weights=(ints("dims", *dims), *more), opset=20)


def retyped(model: onnx.ModelProto, element_type: int) -> onnx.ModelProto:
    """The model whose output is said to be of another type."""
    model.graph.output[0].type.tensor_type.elem_type = element_type
    return model


BAD: dict[str, tuple[onnx.ModelProto, str]] = {
    "a cycle": (of(node("Add", ["x", "b"], ["a"], name="first"), node("Relu", ["a"], ["b"], name="second"), node("Relu", ["b"], ["y"])),
                r"node 0 \(Add\) reads 'b', which is made only by a later node or by itself"),
    "a node that reads itself": (of(node("Add", ["x", "y"], ["y"])), r"reads 'y', which is made only by a later node or by itself"),
    "a node that only a later one feeds": (of(node("Relu", ["a"], ["y"]), node("Relu", ["x"], ["a"])),
                                           r"node 0 \(Relu\) reads 'a', which is made only by a later node or by itself"),
    "a missing initializer": (of(node("Add", ["x", "w"], ["y"])), r"node 0 \(Add\) reads 'w', which does not exist"),
    "an output that nothing makes": (of(node("Relu", ["x"], ["z"])), r"graph output 'y' is made by nothing"),
    "two initializers of one name": (of(node("Add", ["x", "w"], ["y"]), weights=(weight("w", 3), weight("w", 3))), r"has two weights called 'w'"),
    "two nodes that make one value": (of(node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])), r"two weights, inputs or nodes make 'y'"),
    "a node that makes an input": (of(node("Relu", ["x"], ["x"]), node("Neg", ["x"], ["y"])), r"two weights, inputs or nodes make 'x'"),
    "channels that differ": (of(node("Conv", ["x", "w"], ["y"], name="conv"), x=(1, 3, 8, 8), y=(1, 4, 8, 8), weights=(weight("w", 4, 5, 1, 1),)),
                             r"Conv node 'conv' .*5"),
    "shapes that do not broadcast": (of(node("Add", ["x", "w"], ["y"], name="add"), weights=(weight("w", 4),)), r"Add node 'add' .*3.*4"),
    "an output of another shape": (of(node("Relu", ["x"], ["y"]), y=(2, 4)), r"output 'y' is said to have the shape 2x4, but .* 2x3"),
    "an output of another data type": (retyped(of(node("Relu", ["x"], ["y"])), TensorProto.INT64),
                                       r"output 'y' is said to have the data type int64, but the nodes make float32"),
    "an output of another data type, lengths unknown": (retyped(of(node("Relu", ["x"], ["y"]), x=("N", 3), y=("N", 3)), TensorProto.FLOAT16),
                                                        r"output 'y' is said to have the data type float16, but the nodes make float32"),
    "an output of another data type, shape from data": (
        retyped(of(node("NonZero", ["x"], ["y"]), y=(2, "K")), TensorProto.FLOAT),
        r"output 'y' is said to have the data type float32, but the nodes make int64"),
    "an unknown domain": (of(node("Foo", ["x"], ["y"], name="foo", domain="com.acme")), r"1 operator is not supported: com\.acme::Foo \(foo\)"),
    "an unknown operator": (of(node("Reluu", ["x"], ["y"], name="foo")), r"1 operator is not supported: Reluu \(foo\)"),
    "sparse initializers": (sparse_initializer(), r"has sparse initializers, which are not supported"),
    "an attribute of another kind": (with_attribute(type=AttributeProto.STRING, s=b"last"), r"node 'soft' of .* is not well-formed: .*axis"),
    "an attribute without a kind": (with_attribute(), r"the attribute 'axis' of node 'soft'"),
    "an attribute that is a type": (with_attribute(type=AttributeProto.TYPE_PROTO, tp=onnx.TypeProto()),
                                    r"the attribute 'axis' of node 'soft' is of the kind type_proto, which is not supported"),
    "an unknown attribute": (of(node("Relu", ["x"], ["y"], name="act", slope=1.0)), r"Relu node 'act' has the attribute 'slope'"),
    "a weight with too few bytes": (weight_of([2, 3], raw_data=bytes(8)),
                                   r"weight 'w' of .* is damaged: it has 8 bytes of data, but its shape \[2, 3\] and data type float need 24"),
    "a weight with too many bytes": (weight_of([2, 3], raw_data=bytes(28)), r"it has 28 bytes of data, but its shape .* need 24"),
    "a weight with too many numbers": (weight_of([2], float_data=[1, 2, 3]),
                                       r"weight 'w' of .* is damaged: it has 3 numbers of data, but its shape \[2\] and data type float need 2"),
    "a weight without data": (weight_of([2]), r"it has 0 numbers of data, but its shape \[2\] and data type float need 2"),
    "a weight of negative length": (weight_of([-1, 3], raw_data=bytes(24)), r"weight 'w' of .* is damaged: it has the shape \[-1, 3\]"),
    "a weight of absurd length": (weight_of([HUGE], raw_data=bytes(8)), r"weight 'w' of .* is damaged"),
    "a weight whose size wraps": (weight_of([1 << 33, 1 << 33], raw_data=b""), r"weight 'w' of .* is damaged"),
    "external data nowhere": (external(), r"the data of weight 'w' of .* lies in another file, but its location is empty"),
    "external data at an empty place": (external(""), r"the data of weight 'w' of .* lies in another file, but its location is empty"),
    "external data in the folder": (external("."), r"the data of weight 'w' of .* lies at '\.', which is a folder and no file"),
    "external data that is lacking": (external("gone.bin"), r"the data of weight 'w' of .* cannot be read from .*gone\.bin: No such file"),
    "external data of absurd length": (weight_of([1 << 40], data_location=TensorProto.EXTERNAL, external_data=[
        onnx.StringStringEntryProto(key="location", value="w.bin")]), r"lies at bytes 0 to 4398046511104 of .*w\.bin, which has 4"),
    "a constant of absurd length": (given_shape("ConstantOfShape", [HUGE]), r"ConstantOfShape node 'n' .*4611686018427387904"),
    "a constant larger than the memory": (given_shape("ConstantOfShape", [1 << 42]), r"ConstantOfShape node 'n' makes .* the shape 4398046511104, "
                                                                                    r"which takes 17592186044416 bytes, but this machine has \d+"),
    "a constant larger than the memory, lengths unknown": (
        of(node("ConstantOfShape", ["dims"], ["t"], name="n"), node("ReduceMax", ["t"], ["m"], keepdims=0), node("Add", ["x", "m"], ["y"]),
           x=("N", 3), y=("N", 3), weights=(ints("dims", 1 << 42),)), r"ConstantOfShape node 'n' makes .* 17592186044416 bytes"),
    "a constant whose size wraps": (given_shape("ConstantOfShape", [1 << 32, 1 << 32, 16]), r"ConstantOfShape node 'n' .*4294967296"),
    "an absurd Expand": (given_shape("Expand", [HUGE, 2, 3]), r"Expand node 'n' .*4611686018427387904"),
    "an absurd Tile": (given_shape("Tile", [HUGE, 1]), r"Tile node 'n' .*92233720368547758"),
    "an absurd Pad": (given_shape("Pad", [0, 0, HUGE, 0]), r"Pad node 'n' .*46116860184273879"),
    "an absurd Reshape": (given_shape("Reshape", [HUGE, 4, 4]), r"Reshape node 'n'"),
    "an absurd Range": (of(node("Range", ["a", "b", "c"], ["t"], name="n"), node("ReduceMax", ["t"], ["m"], keepdims=0),
                           node("Cast", ["m"], ["f"], to=1), node("Add", ["x", "f"], ["y"]), weights=SCALARS),
                        r"Range node 'n' .*4611686018427387904"),
    "an input of absurd length": (of(node("Relu", ["x"], ["y"], name="act"), x=(HUGE, 3), y=(HUGE, 3)), r"input 'x' .*4611686018427387904"),
    "a product of absurd size": (of(node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"], name="product"), x=(1 << 26, 1),
                                    y=("A", "B")), r"MatMul node 'product' .*67108864x67108864"),
}


@pytest.mark.parametrize("what", BAD)
def test_one_sentence_at_import(what: str, tmp_path: Path) -> None:
    model, message = BAD[what]
    (tmp_path / "w.bin").write_bytes(bytes(4))
    with pytest.raises(ThinferError, match=message) as caught:
        importers.load(saved(model, tmp_path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_truncated_models(tmp_path: Path) -> None:
    whole = cnn(17).SerializeToString()
    for size in range(1, len(whole), len(whole) // 60):
        path = tmp_path / "cut.onnx"
        path.write_bytes(whole[:size])
        with pytest.raises(importers.UnreadableModel, match=r"cut\.onnx is no whole ONNX model"):
            importers.load(path)


def graph_of(shape: tuple[int | str, ...], *nodes: Node, weights: dict[str, np.ndarray] | None = None) -> Graph:
    return Graph((ValueInfo("x", "float32", shape),), (ValueInfo("y", "float32", ("A",)),), nodes,
                 {name: EncodedTensor.dense(array) for name, array in (weights or {}).items()})


ABSURD: dict[str, Callable[[], Graph]] = {
    "an input": lambda: graph_of((HUGE,), Node("Relu", ("x",), ("y",))),
    "a product": lambda: graph_of((1 << 26, 1), Node("Transpose", ("x",), ("t",)), Node("MatMul", ("x", "t"), ("y",))),
    "a constant": lambda: graph_of((2,), Node("Expand", ("x", "s"), ("y",)), weights={"s": np.array([HUGE, 2])}),
}


@pytest.mark.parametrize("backend", runtime.session.BACKENDS)
@pytest.mark.parametrize("what", ABSURD)
def test_one_sentence_at_load(what: str, backend: str, tmp_path: Path) -> None:
    path = tmp_path / "absurd.thin"
    writer.write(ABSURD[what](), path)
    with pytest.raises(ThinferError):
        runtime.load(path, backend=backend)


@pytest.mark.parametrize("backend", runtime.session.BACKENDS)
def test_one_sentence_at_run(backend: str) -> None:
    """Sizes that come from data."""
    graph = Graph((ValueInfo("x", "float32", (1,)), ValueInfo("n", "int64", ("D",))), (ValueInfo("y", "float32", ("A", "B")),),
                  (Node("Expand", ("x", "n"), ("y",)),))
    session = runtime.load(graph, backend=backend)
    for size in ([HUGE], [1 << 33, 1 << 33], [1 << 45]):
        with pytest.raises(ThinferError):
            session.run({"x": np.ones(1, np.float32), "n": np.array(size)})
    assert session.run({"x": np.ones(1, np.float32), "n": np.array([2, 3])})["y"].shape == (2, 3)


@pytest.mark.parametrize("backend", runtime.session.BACKENDS)
def test_a_value_larger_than_the_memory_is_named(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known when planned, and known only when it runs."""
    monkeypatch.setattr(shapes, "memory", lambda: 1 << 20)
    message = r"Expand node 'grow' makes .* the shape 1048576, which takes 4194304 bytes, but this machine has 1048576 bytes of memory"
    fixed = Graph((ValueInfo("x", "float32", (1,)),), (ValueInfo("y", "float32", ("A",)),), (Node("Expand", ("x", "n"), ("y",), name="grow"),),
                  {"n": EncodedTensor.dense(np.array([1 << 20]))})
    with pytest.raises(OutOfMemory, match=message):
        runtime.load(fixed, backend=backend)
    free = Graph((*fixed.inputs, ValueInfo("n", "int64", (1,))), fixed.outputs, fixed.nodes)
    session = runtime.load(free, backend=backend)
    with pytest.raises(OutOfMemory, match=message):
        session.run({"x": np.ones(1, np.float32), "n": np.array([1 << 20])})
    assert session.run({"x": np.ones(1, np.float32), "n": np.array([4])})["y"].shape == (4,)


@pytest.mark.parametrize("backend", runtime.session.BACKENDS)
def test_memory_that_the_system_refuses_is_told_by_node(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may have memory and not give it."""
    monkeypatch.setattr(shapes, "memory", lambda: 1 << 60)
    graph = Graph((ValueInfo("x", "float32", (1,)),), (ValueInfo("y", "float32", ("A",)),),
                  (Node("ConstantOfShape", ("n",), ("t",), name="fill"), Node("Add", ("x", "t"), ("y",))),
                  {"n": EncodedTensor.dense(np.array([1 << 43]))})
    with pytest.raises(OutOfMemory, match=r"there is not enough memory for .*'(fill|y|t)'"):
        runtime.load(graph, backend=backend).run({"x": np.ones(1, np.float32)})


def test_packing_what_is_too_large_says_so(tmp_path: Path) -> None:
    model = of(node("Relu", ["x"], ["y"]), x=("N", HUGE), y=("N", HUGE))
    with pytest.raises(ThinferError, match="4611686018427387904"):
        pipeline.compress(importers.load(saved(model, tmp_path)), recipe.load("dense"))
