"""Subgraphs and functions: names made unique, weights in one table, and the same results as onnxruntime gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_import_onnx import by_onnxruntime, ints, model_of, ops_of, saved, value, weight
from thinfer.formats.graph import Graph
from thinfer.kernels import ops
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain import importers
from thinfer.toolchain.importers import UnreadableModel, UnsupportedModel

RNG = np.random.default_rng(4)
node = helper.make_node
BOOL = TensorProto.BOOL


def graphs_of(graph: Graph) -> Iterator[Graph]:
    yield graph
    for item in graph.nodes:
        for _, inner in item.subgraphs():
            yield from graphs_of(inner)


def made_names(graph: Graph) -> list[str]:
    """Every name of a value or weight, as often as something makes it."""
    inside = [name for part in graphs_of(graph) for name in (*(i.name for i in part.inputs), *(o for n in part.nodes for o in n.outputs if o))]
    return [*graph.weights, *inside]


def branch(name: str, *nodes: onnx.NodeProto, output: str, weights: tuple[TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [value(output, 2, 3)], list(weights))


def conditional() -> onnx.ModelProto:
    """Both branches call their weight ``w`` and their result ``r``; the outer graph has another ``w``; both read ``h`` from outside."""
    then = branch("then", node("Mul", ["h", "w"], ["r"]), output="r", weights=(weight("w", 3),))
    otherwise = branch("else", node("Sub", ["h", "w"], ["t"]), node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2))),
                       node("Mul", ["t", "two"], ["r"]), output="r", weights=(weight("w", 3),))
    nodes = [node("Mul", ["x", "w"], ["h"]), node("If", ["flag"], ["y"], name="choice", then_branch=then, else_branch=otherwise)]
    return model_of(nodes, [value("x", 2, 3), value("flag", dtype=BOOL)], [value("y", 2, 3)], [weight("w", 3)])


def branches(model: onnx.ModelProto) -> dict[str, onnx.GraphProto]:
    return {attribute.name: attribute.g for attribute in model.graph.node[1].attribute}


def test_branches_keep_what_they_capture_and_share_one_table_of_weights(tmp_path: Path) -> None:
    model = conditional()
    for name, body in branches(model).items():  # onnxruntime minds names that shadow outer ones
        body.initializer[0].name = f"{name}.w"
        body.node[0].input[1] = f"{name}.w"
    graph = importers.load(saved(model, tmp_path))
    for flag in (True, False):
        feeds = {"x": RNG.standard_normal((2, 3)).astype(np.float32), "flag": np.array(flag)}
        np.testing.assert_allclose(evaluate(graph, feeds)["y"], by_onnxruntime(model, feeds)[0], rtol=1e-6)


def test_names_that_shadow_are_told_apart(tmp_path: Path) -> None:
    model = conditional()
    outer = numpy_helper.to_array(model.graph.initializer[0])
    then, otherwise = (numpy_helper.to_array(branches(model)[name].initializer[0]) for name in ("then_branch", "else_branch"))
    graph = importers.load(saved(model, tmp_path))
    assert len(made_names(graph)) == len(set(made_names(graph)))
    assert all(not part.weights for part in graphs_of(graph) if part is not graph)
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(evaluate(graph, {"x": x, "flag": np.array(True)})["y"], x * outer * then, rtol=1e-6)
    np.testing.assert_allclose(evaluate(graph, {"x": x, "flag": np.array(False)})["y"], (x * outer - otherwise) * 2, rtol=1e-6, atol=1e-7)


def test_a_loop_in_a_branch(tmp_path: Path) -> None:
    body = helper.make_graph([node("Identity", ["go"], ["on"]), node("Add", ["state", "step"], ["next"]), node("Mul", ["next", "x"], ["seen"])],
                             "body", [value("i", dtype=TensorProto.INT64), value("go", dtype=BOOL), value("state", 2, 3)],
                             [value("on", dtype=BOOL), value("next", 2, 3), value("seen", 2, 3)], [weight("step", 2, 3)])
    looped = helper.make_graph([node("Loop", ["count", "", "x"], ["last", "all"], name="loop", body=body), node("ReduceSum", ["all", "zero"], ["s"],
                                                                                                                 keepdims=0),
                                node("Add", ["last", "s"], ["r"])], "then", [], [value("r", 2, 3)], [ints("zero", 0)])
    plain = branch("else", node("Relu", ["x"], ["r2"]), output="r2")
    model = model_of([node("If", ["flag"], ["y"], then_branch=looped, else_branch=plain)],
                     [value("x", 2, 3), value("flag", dtype=BOOL), value("count", dtype=TensorProto.INT64)], [value("y", 2, 3)], [])
    graph = importers.load(saved(model, tmp_path))
    for flag in (True, False):
        feeds = {"x": RNG.standard_normal((2, 3)).astype(np.float32), "flag": np.array(flag), "count": np.array(3)}
        np.testing.assert_allclose(evaluate(graph, feeds)["y"], by_onnxruntime(model, feeds)[0], rtol=1e-5, atol=1e-6)


def test_older_forms_inside_subgraphs_are_upgraded(tmp_path: Path) -> None:
    then = branch("then", node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1), node("Sub", ["x", "m"], ["r"]), output="r")
    otherwise = branch("else", node("Clip", ["x"], ["r"], max=0.5), output="r")
    model = model_of([node("If", ["flag"], ["y"], then_branch=then, else_branch=otherwise)], [value("x", 2, 3), value("flag", dtype=BOOL)],
                     [value("y", 2, 3)], [], 9)
    graph = importers.load(saved(model, tmp_path))
    for flag in (True, False):
        feeds = {"x": RNG.standard_normal((2, 3)).astype(np.float32), "flag": np.array(flag)}
        np.testing.assert_allclose(evaluate(graph, feeds)["y"], by_onnxruntime(model, feeds)[0], rtol=1e-5, atol=1e-6)


def test_scans_of_whole_batches(tmp_path: Path) -> None:
    """Scan of opset 8, which onnxruntime still runs."""
    body = helper.make_graph([node("Add", ["s", "e"], ["t"]), node("Mul", ["t", "e"], ["o"])], "body", [value("s", 2), value("e", 2)],
                             [value("t", 2), value("o", 2)])
    model = model_of([node("Scan", ["", "start", "x"], ["last", "y"], num_scan_inputs=1, body=body, directions=[1])],
                     [value("start", 3, 2), value("x", 3, 5, 2)], [value("last", 3, 2), value("y", 3, 5, 2)], [], 8)
    feeds = {"start": RNG.standard_normal((3, 2)).astype(np.float32), "x": RNG.standard_normal((3, 5, 2)).astype(np.float32)}
    found = evaluate(importers.load(saved(model, tmp_path)), feeds)
    for name, wanted in zip(("last", "y"), by_onnxruntime(model, feeds)):
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-6)


def function(name: str, inputs: list[str], outputs: list[str], nodes: list[onnx.NodeProto], opset: int = 17, **kwargs) -> onnx.FunctionProto:
    return helper.make_function("mine", name, inputs, outputs, nodes, [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)], **kwargs)


def with_functions(nodes: list[onnx.NodeProto], functions: list[onnx.FunctionProto], weights: tuple[TensorProto, ...] = ()) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", [value("x", 2, 3)], [value("y", 2, 3)], list(weights))
    return helper.make_model(graph, functions=functions, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)], ir_version=10)


def with_reference(attribute: str, refers: str, kind: int, *args, **kwargs) -> onnx.NodeProto:
    """A node whose ``attribute`` is the attribute ``refers`` of the function around it."""
    item = node(*args, **kwargs)
    item.attribute.append(onnx.AttributeProto(name=attribute, ref_attr_name=refers, type=kind))
    return item


def nested_functions() -> onnx.ModelProto:
    """Outer(x, w) = Scaled(x + w) with alpha given or 0.5 by default; an attribute goes through two levels."""
    leaky = with_reference("alpha", "slope", onnx.AttributeProto.FLOAT, "LeakyRelu", ["a"], ["b"])
    scaled = function("Scaled", ["a"], ["b"], [leaky], attribute_protos=[helper.make_attribute("slope", 0.5)])
    call = with_reference("slope", "steep", onnx.AttributeProto.FLOAT, "Scaled", ["t"], ["r"], domain="mine", name="inner")
    outer = function("Outer", ["v", "w"], ["r"], [node("Add", ["v", "w"], ["t"]), call], attributes=["steep"])
    nodes = [node("Outer", ["x", "w"], ["t"], domain="mine", name="first", steep=0.25),
             node("Outer", ["t", "w"], ["s"], domain="mine", name="second"),
             node("Scaled", ["s"], ["y"], domain="mine")]
    return with_functions(nodes, [scaled, outer], (weight("w", 3),))


def test_functions_with_attributes(tmp_path: Path) -> None:
    model = nested_functions()
    graph = importers.load(saved(model, tmp_path))
    assert ops_of(graph) == ["Add", "LeakyRelu", "Add", "LeakyRelu", "LeakyRelu"]
    assert [item.attrs.get("alpha") for item in graph.nodes if item.op == "LeakyRelu"] == [0.25, 0.5, 0.5]
    assert len(made_names(graph)) == len(set(made_names(graph)))
    feeds = {"x": RNG.standard_normal((2, 3)).astype(np.float32)}
    np.testing.assert_allclose(evaluate(graph, feeds)["y"], by_onnxruntime(model, feeds)[0], rtol=1e-6)


def test_a_function_of_another_opset_is_upgraded_from_that(tmp_path: Path) -> None:
    old = function("Centred", ["a"], ["b"], [node("ReduceMean", ["a"], ["m"], axes=[1]), node("Sub", ["a", "m"], ["b"])], opset=13)
    model = with_functions([node("Centred", ["x"], ["y"], domain="mine")], [old])
    model.opset_import[0].version = 20
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(evaluate(importers.load(saved(model, tmp_path)), {"x": x})["y"], x - x.mean(1, keepdims=True), rtol=1e-5, atol=1e-6)


def test_a_function_whose_output_is_its_input(tmp_path: Path) -> None:
    same = function("Same", ["a"], ["a"], [node("Relu", ["a"], ["unused"])])
    model = with_functions([node("Same", ["x"], ["t"], domain="mine"), node("Neg", ["t"], ["y"])], [same])
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_array_equal(evaluate(importers.load(saved(model, tmp_path)), {"x": x})["y"], -x)


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    again = function("Again", ["a"], ["b"], [node("Again", ["a"], ["b"], domain="mine")])
    with pytest.raises(UnsupportedModel, match=r"has functions that call themselves, or more than 64 of them in each other"):
        importers.load(saved(with_functions([node("Again", ["x"], ["y"], domain="mine")], [again]), tmp_path))
    doubling = [function(f"F{i}", ["a"], ["b"], [node(f"F{i + 1}", ["a"], ["t"], domain="mine"), node(f"F{i + 1}", ["t"], ["b"], domain="mine")])
                for i in range(40)] + [function("F40", ["a"], ["b"], [node("Relu", ["a"], ["b"])])]
    with pytest.raises(UnsupportedModel, match=r"or more than 131,072 nodes"):
        importers.load(saved(with_functions([node("F0", ["x"], ["y"], domain="mine")], doubling), tmp_path))


def test_what_onnx_defines_as_a_function_is_spelled_out_where_it_is_no_operator_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = ops.find
    monkeypatch.setattr(ops, "find", lambda name: None if name in ("HardSwish", "Gelu") else find(name))
    nodes = [node("HardSwish", ["x"], ["h"]), node("Gelu", ["h"], ["y"], approximate="tanh")]
    model = model_of(nodes, [value("x", 2, 3)], [value("y", 2, 3)], [], 20)
    graph = importers.load(saved(model, tmp_path))
    assert not {"HardSwish", "Gelu"} & set(ops_of(graph))
    feeds = {"x": RNG.standard_normal((2, 3)).astype(np.float32)}
    np.testing.assert_allclose(evaluate(graph, feeds)["y"], by_onnxruntime(model, feeds)[0], rtol=1e-5, atol=1e-6)


def test_names_that_do_not_exist_and_names_made_twice(tmp_path: Path) -> None:
    model = conditional()
    branches(model)["then_branch"].node[0].input[0] = "nothing"
    with pytest.raises(UnreadableModel, match=r"reads 'nothing', which does not exist there"):
        importers.load(saved(model, tmp_path))
    model = conditional()
    branches(model)["else_branch"].node[1].output[0] = "t"
    with pytest.raises(UnreadableModel, match=r"two weights, inputs or nodes make 't'"):
        importers.load(saved(model, tmp_path))
