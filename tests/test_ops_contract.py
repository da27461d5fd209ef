"""What operators promise the runtime: names and files, outputs that are asked for, any number of inputs, subgraphs."""

from __future__ import annotations

import keyword
from typing import Any

import numpy as np
import onnx
import pytest
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.kernels import ops
from thinfer.kernels.ops import _file_of
from thinfer.kernels.ops._op import VARIADIC, Op, OpError, Type
from thinfer.runtime import UnsupportedOps, check
from thinfer.runtime.interpreter import run_node


def test_every_name_of_onnx_has_a_file_of_its_own() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    files = {_file_of(name) for name in names}
    assert len(files) == len(names) > 190
    assert all(file.isidentifier() and not keyword.iskeyword(file) for file in files)


@pytest.mark.parametrize(("name", "file"), [("If", "if_"), ("Or", "or_"), ("LSTM", "lstm"), ("PRelu", "p_relu"), ("GatherND", "gather_nd"),
                                            ("Col2Im", "col2_im"), ("QLinearConv", "q_linear_conv"), ("ReduceL1", "reduce_l1"),
                                            ("com.microsoft::MatMulNBits", "mat_mul_n_bits")])
def test_files_are_named_after_operators(name: str, file: str) -> None:
    assert _file_of(name) == file


@pytest.mark.parametrize("name", ["../x", "os", "Add.x", "_Check", "a::b::Add", "ai.onnx.ml::Add", "Nothing"])
def test_what_is_no_operator_is_not_found(name: str) -> None:
    assert ops.find(name) is None


def test_operators_lie_where_their_names_say() -> None:
    for name in ops.names():
        assert ops.get(name).name == name


def made(**more: Any) -> Op:
    """An operator of two outputs that notes what it is told."""
    def run(attrs: dict[str, Any], *args: np.ndarray, **known: Any) -> tuple[np.ndarray, ...]:
        told.update(known)
        return args[0], args[0] + 1

    told: dict[str, Any] = {}
    op = Op("Two", {}, (1, VARIADIC), lambda node, attrs, args: [args[0]], run, cases=(), **more)
    object.__setattr__(op, "told", told)
    return op


def test_run_knows_which_outputs_are_asked_for() -> None:
    x = np.zeros(3, np.float32)
    for outputs, asked in ((("a",), (True,)), (("", "b"), (False, True)), (("a", "b"), (True, True))):
        op = made(asks=True)
        assert len(op.prepared(Node("Two", ("x",), outputs))([x], None)) == len(outputs)
        assert op.told == {"asked": asked}  # type: ignore[attr-defined]
    plain = made()
    plain.prepared(Node("Two", ("x",), ("a",)))([x], None)
    assert plain.told == {}  # type: ignore[attr-defined]


def test_too_many_outputs_are_told() -> None:
    with pytest.raises(OpError, match="Two node 'a' has 3 outputs; here it has 2"):
        made().prepared(Node("Two", ("x",), ("a", "b", "c")))([np.zeros(3)], None)


def test_types_are_as_many_as_the_node_names_outputs() -> None:
    kind = Type("float32", (3,))
    assert made().types_of(Node("Two", ("x",), ("a", "b")), [kind]) == [kind, None]


def test_max_pool_does_not_look_for_places_that_no_one_asked_for() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    attrs = {"kernel_shape": (2, 2)}
    assert len(run_node(Node("MaxPool", ("x",), ("y",), attrs), [x])) == 1
    assert run_node(Node("MaxPool", ("x",), ("y", "i"), attrs), [x])[1].dtype == np.int64


def graph_of(node: Node) -> Graph:
    return Graph((ValueInfo("x", "float32", (2,)),), tuple(ValueInfo(name, "float32", (2,)) for name in node.outputs), (node,))


def test_numbers_of_inputs_are_told_in_words() -> None:
    with pytest.raises(OpError, match="Sum node 's' has 0 inputs; Sum takes 1 or more"):
        check(graph_of(Node("Sum", (), ("y",), name="s")))
    with pytest.raises(OpError, match="Relu node 'r' has 2 inputs; Relu takes 1"):
        check(graph_of(Node("Relu", ("x", "x"), ("y",), name="r")))


def test_bodies_are_checked_too() -> None:
    inner = Graph((), (ValueInfo("z", "float32", (2,)),), (Node("Nothing", ("x",), ("z",), name="deep"),))
    with pytest.raises(UnsupportedOps, match=r"1 operator is not supported: Nothing \(deep, deep\)"):
        check(graph_of(Node("If", ("x",), ("y",), {"then_branch": inner, "else_branch": inner})))
    with pytest.raises(OpError, match="Relu node 'r' has the attribute 'body'; Relu knows none"):
        check(graph_of(Node("Relu", ("x",), ("y",), {"body": Graph((), (), ())}, "r")))
