"""Wrong use of an operator: one OpError that names the node, what was found and what is expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_cases import run
from thinfer.formats.errors import ThinferError
from thinfer.formats.graph import Node
from thinfer.kernels import ops
from thinfer.kernels.ops._op import OpError, Type

Shape = tuple[int, ...]
F = "float32"


def infer_wrongly(op_name: str, inputs: list[Any], attrs: dict[str, Any], outputs: int = 1) -> str:
    """The message for inputs given as shapes (float32), arrays (elements known) or (shape, dtype)."""
    kinds = [None if item is None else Type.of(item) if isinstance(item, np.ndarray) else
             Type(item[1], item[0]) if len(item) == 2 and isinstance(item[1], str) else Type(F, item) for item in inputs]
    op = ops.get(op_name)
    names = tuple("" if kind is None else f"i{k}" for k, kind in enumerate(kinds))
    node = Node(op_name, names, tuple(f"y{k}" for k in range(outputs)), attrs, "block.7")
    with pytest.raises(OpError) as caught:
        op.infer(node, op.attrs_of(node), kinds)
    return str(caught.value)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


WRONG: list[tuple[str, list[Any], dict[str, Any], tuple[str, ...]]] = [
    ("Conv", [(1, 3, 8, 8), (4, 5, 3, 3)], {}, ("3 input channels", "4x5x3x3", "takes 5")),
    ("Conv", [(1, 6, 8, 8), (4, 3, 3, 3)], {"group": 3}, ("6 input channels", "group 3", "takes 9")),
    ("Conv", [(1, 6, 8, 8), (4, 2, 3, 3)], {"group": 3}, ("4 output channels", "3 groups")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3)], {}, ("weight shape 4x3x3 of 3 dimensions", "takes 4")),
    ("Conv", [(3, 8), (4, 3)], {}, ("3x8", "3 or more")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3), (5,)], {}, ("bias of the shape 5", "takes 4 numbers")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"kernel_shape": (5, 5)}, ("kernel_shape 5x5", "4x3x3x3")),
    ("Conv", [(1, 3, 2, 2), (4, 3, 3, 3)], {}, ("3x3", "only 2x2")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"pads": (1, 1)}, ("pads (1, 1)", "takes 4 numbers")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"pads": (1, 1, -1, 0)}, ("pads (1, 1, -1, 0)", "0 or more")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"strides": (2,)}, ("strides (2,)", "takes 2 numbers")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"dilations": (0, 1)}, ("dilations (0, 1)", "1 or more")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"auto_pad": "SAME"}, ("auto_pad 'SAME'", "SAME_UPPER")),
    ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"auto_pad": "VALID", "pads": (1, 1, 1, 1)}, ("both pads", "VALID")),
    ("Conv", [(1, 3, 8, 8), ((4, 3, 3, 3), "float16")], {}, ("float32 and float16", "one dtype")),
    ("Conv", [((1, 3, 8, 8), "int32"), ((4, 3, 3, 3), "int32")], {}, ("int32", "float32, float16, float64")),
    ("Conv", [(1, 3, 8, 8), None], {}, ("lacks its input 1", "weight")),
    ("Gemm", [(2, 3), (4, 5)], {}, ("2x3", "4x5", "3 and 4 differ")),
    ("Gemm", [(2, 3), (3, 5)], {"transB": 1}, ("3x5 transposed", "3 and 5 differ")),
    ("Gemm", [(2, 3, 4), (4, 5)], {}, ("matrix A shape 2x3x4", "takes 2")),
    ("Gemm", [(2, 3), (3, 5), (4,)], {}, ("shapes 4 and 2x5", "do not broadcast")),
    ("Gemm", [(1, 3), (3, 5), (2, 5)], {}, ("C of the shape 2x5", "1x5")),
    ("MatMul", [(2, 3), (4, 5)], {}, ("2x3 by 4x5", "3 and 4 differ")),
    ("MatMul", [(), (4, 5)], {}, ("first shape ()", "1 or more")),
    ("MatMul", [(2, 3, 4), (5, 4, 6)], {}, ("shapes 2 and 5", "do not broadcast")),
    ("BatchNormalization", [(1, 3, 4, 4), (3,), (3,), (4,), (3,)], {}, ("mean of the shape 4", "takes 3 numbers")),
    ("BatchNormalization", [(1, 3, 4, 4)] + [(3,)] * 4, {"training_mode": 1}, ("training_mode 1", "only inference")),
    ("BatchNormalization", [(3,)] + [(3,)] * 4, {}, ("shape 3 of 1 dimensions", "2 or more")),
    ("Relu", [((3,), "bool")], {}, ("bool", "float32")),
    ("Sigmoid", [((3,), "int64")], {}, ("int64", "float32, float16, float64")),
    ("Clip", [(3,), (2,)], {}, ("lower bound of the shape 2", "scalar")),
    ("Clip", [(3,), None, ((), "int64")], {}, ("float32 and int64",)),
    ("Add", [(2, 3), (4,)], {}, ("2x3 and 4", "do not broadcast")),
    ("Mul", [(2, 3), ((3,), "float64")], {}, ("float32 and float64", "one dtype")),
    ("Div", [((3,), "bool"), ((3,), "bool")], {}, ("bool",)),
    ("Softmax", [(2, 3)], {"axis": 2}, ("axis 2", "2 dimensions")),
    ("MaxPool", [(1, 3, 8, 8)], {"kernel_shape": (3,)}, ("kernel shape 3", "2 spatial axes")),
    ("MaxPool", [(1, 3, 8, 8)], {"kernel_shape": (2, 2), "storage_order": 2}, ("storage_order 2", "0 or 1")),
    ("MaxPool", [((1, 3, 8, 8), "int64")], {"kernel_shape": (2, 2)}, ("int64", "uint8")),
    ("AveragePool", [(3, 8)], {"kernel_shape": (2,)}, ("3x8", "3 or more")),
    ("AveragePool", [(1, 3, 4, 4)], {"kernel_shape": (5, 5)}, ("5x5", "4x4")),
    ("GlobalAveragePool", [(3,)], {}, ("2 or more",)),
    ("ReduceMean", [(2, 3), ints(2)], {}, ("axis 2", "2 dimensions")),
    ("ReduceMean", [(2, 3), ints(1, -1)], {}, ("axis twice", "(1, -1)")),
    ("Concat", [(2, 3), (3, 3)], {"axis": 1}, ("2x3, 3x3", "axis 1", "must be equal")),
    ("Concat", [(2, 3), (2, 3, 1)], {"axis": 1}, ("2x3, 2x3x1",)),
    ("Concat", [(2, 3), ((2, 3), "int64")], {"axis": 1}, ("float32 and int64",)),
    ("Concat", [(2, 3)], {"axis": -3}, ("axis -3",)),
    ("Reshape", [(2, 3), ints(4, 2)], {}, ("2x3 to (4, 2)", "8 elements instead of 6")),
    ("Reshape", [(2, 3), ints(-1, 4)], {}, ("6 elements do not divide by 4",)),
    ("Reshape", [(2, 3), ints(-1, -1)], {}, ("one -1",)),
    ("Reshape", [(2, 3), ints(3, 2, 0)], {}, ("no axis",)),
    ("Reshape", [(2, 3), ints(0, -1)], {"allowzero": 1}, ("both 0 and -1",)),
    ("Reshape", [(2, 3), np.float32([6])], {}, ("float32", "int64")),
    ("Flatten", [(2, 3)], {"axis": 3}, ("axis 3", "2 dimensions")),
    ("Transpose", [(2, 3)], {"perm": (0, 0)}, ("perm (0, 0)", "0 to 1")),
    ("Squeeze", [(2, 1), ints(0)], {}, ("axis 0 of 2x1", "not 1")),
    ("Unsqueeze", [(2, 3), ints(4)], {}, ("axis 4",)),
    ("Unsqueeze", [(2, 3), ints(0, 0)], {}, ("axis twice",)),
    ("Pad", [(2, 3), ints(1, 1)], {}, ("2 pads for the axes (0, 1)",)),
    ("Pad", [(2, 3), ints(1, 1, 1, 1), (2,)], {}, ("constant value of the shape 2", "scalar")),
    ("Pad", [(2, 3), ints(0, 0, 0, 0)], {"mode": "mirror"}, ("'mirror'", "reflect")),
    ("Pad", [(2, 3), ints(-1, 0, -2, 0)], {}, ("removes 3 of the 2 elements along axis 0",)),
    ("Pad", [(2, 3), ints(0, 3, 0, 0)], {"mode": "reflect"}, ("adds 3", "axis 1", "at most 2")),
    ("Dropout", [(3,), None, np.array(True)], {}, ("training mode", "only inference")),
    ("Cast", [(3,)], {"to": 16}, ("data type 16", "float32")),
    ("Gather", [(5, 3), ints(0, 5)], {}, ("index 5", "length 5")),
    ("Gather", [(5, 3), ints(-6)], {}, ("index -6",)),
    ("Gather", [(5, 3), ((2,), "float32")], {}, ("float32", "int32, int64")),
    ("Gather", [(), ints(0)], {}, ("1 or more",)),
    ("Constant", [], {}, ("no value", "value_ints")),
    ("GatherElements", [(5, 3), ints(0, 5).reshape(2, 1)], {}, ("index 5", "length 5")),
    ("GatherElements", [(5, 3), ((2, 4), "int64")], {}, ("indices of the shape 2x4", "5x3", "may not be longer")),
    ("GatherND", [(5, 3), ints(0, 1, 2)], {}, ("3 numbers each", "1 to 2")),
    ("GatherND", [(5, 3), ints(4, 3)], {}, ("index 3", "axis 1 has the length 3")),
    ("GatherND", [(5, 3), ((4, 1), "int64")], {"batch_dims": 1}, ("4x1", "5x3", "first 1 lengths")),
    ("ScatterElements", [(5, 3), ((2, 3), "int64"), (3, 3)], {}, ("updates of the shape 3x3", "2x3")),
    ("ScatterElements", [(5, 3), ((2, 3), "int64"), (2, 3)], {"reduction": "sum"}, ("'sum'", "none, add, mul, min, max")),
    ("ScatterElements", [((5,), "bool"), ((2,), "int64"), ((2,), "bool")], {"reduction": "add"}, ("bool", "neither added nor multiplied")),
    ("ScatterND", [(5, 3), ((2, 1), "int64"), (2, 4)], {}, ("updates of the shape 2x4", "ask for 2x3")),
    ("TensorScatter", [(2, 4, 3), (2, 5, 3)], {}, ("2x5x3", "2x4x3", "shorter")),
    ("TensorScatter", [(2, 4, 3), (2, 1, 3)], {"mode": "ring"}, ("'ring'", "circular")),
    ("TensorScatter", [(2, 4, 3), (2, 1, 3)], {"axis": 0}, ("axis 0, which is the batch",)),
    ("Slice", [(5, 3), ints(0), ints(1), ints(0), ints(0)], {}, ("the step 0",)),
    ("Slice", [(5, 3), ints(0, 0), ints(1)], {}, ("2 starts, 1 ends",)),
    ("Slice", [(5, 3), ints(0, 0), ints(1, 1), ints(1, -1)], {}, ("axis 1 twice",)),
    ("Split", [(5, 3), ints(2, 2)], {}, ("axis of 5 into 2, 2",)),
    ("Split", [(5, 3)], {"num_outputs": 4}, ("axis of 5 into 2, 2, 2, -1",)),
    ("Split", [(5, 3)], {}, ("neither lengths nor num_outputs",)),
    ("Split", [(5, 3), ints(2, 3)], {"num_outputs": 2}, ("both lengths and num_outputs",)),
    ("Tile", [(5, 3), ints(2)], {}, ("repeats (2,)", "5x3")),
    ("Expand", [(5, 3), ints(4, 3)], {}, ("5x3 and 4x3", "do not broadcast")),
    ("Where", [(2, 3), (2, 3), (2, 3)], {}, ("float32 as its condition", "bool")),
    ("Compress", [(2, 3), np.array([False, False, True])], {"axis": 0}, ("index 2", "length 2")),
    ("OneHot", [((2,), "int64"), np.array(3), (3,)], {}, ("values of the shape 3", "off and on")),
    ("TopK", [(2, 3), ints(4)], {}, ("4 elements along an axis of 3",)),
    ("NonMaxSuppression", [(1, 6, 4), (1, 2, 5)], {}, ("1x6x4", "1x2x5", "batch x box x 4")),
    ("ReverseSequence", [(4, 3), ints(1, 2, 5)], {}, ("5 of 4 steps",)),
    ("Trilu", [(4,)], {}, ("2 or more",)),
    ("ConvTranspose", [(1, 3, 4, 4), (4, 2, 3, 3)], {}, ("3 input channels", "4x2x3x3")),
    ("ConvTranspose", [(1, 4, 4, 4), (4, 2, 3, 3), (2,)], {"group": 2}, ("bias of the shape 2", "takes 4")),
    ("ConvTranspose", [(1, 4, 4, 4), (4, 2, 3, 3)], {"pads": (3, 3, 3, 4)}, ("nothing",)),
    ("ConvTranspose", [(1, 4, 4, 4), (4, 2, 3, 3)], {"output_padding": (1,)}, ("output_padding (1,)", "2 numbers")),
    ("ConvTranspose", [(1, 4, 4, 4), (4, 2, 3, 3)], {"output_shape": (0, 4)}, ("output_shape (0, 4)",)),
    ("LpPool", [(1, 2, 4)], {"kernel_shape": (2,), "p": 0}, ("p 0", "1 or more")),
    ("LpNormalization", [(2, 3)], {"p": 3}, ("p 3", "1 or 2")),
    ("LRN", [(1, 3, 4, 4)], {"size": 0}, ("size 0",)),
    ("LayerNormalization", [(2, 3, 4), (3,)], {}, ("2x3x4", "do not broadcast")),
    ("LayerNormalization", [(2, 3, 4), (4,)], {"stash_type": 16}, ("stash_type 16", "1 (float32)")),
    ("GroupNormalization", [(2, 5, 4), (5,), (5,)], {"num_groups": 2}, ("num_groups 2", "5 channels")),
    ("InstanceNormalization", [(2, 5, 4), (4,), (5,)], {}, ("scale of the shape 4", "5 numbers")),
    ("MeanVarianceNormalization", [(2, 5)], {}, ("the axis 2", "2 dimensions")),
    ("Attention", [(2, 3, 30), (2, 3, 30), (2, 3, 30)], {"q_num_heads": 4, "kv_num_heads": 5}, ("2x3x30", "4 heads")),
    ("Attention", [(2, 3, 4, 8), (2, 2, 5, 8), (2, 2, 5, 8)], {}, ("2x3x4x8", "their heads divide")),
    ("Attention", [(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 8), (4, 5)], {}, ("4x5 and 2x4x3x5", "do not broadcast")),
    ("Attention", [(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 8), None, (2, 4, 1, 8)], {}, ("the first two together",)),
    ("Attention", [(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 8)], {"qk_matmul_output_mode": 4}, ("qk_matmul_output_mode 4",)),
    ("Attention", [(2, 4, 3, 8), (2, 4, 5, 8), (2, 4, 5, 8)], {"softmax_precision": 16}, ("softmax_precision 16", "float32")),
    ("RotaryEmbedding", [(2, 3, 4, 7), (2, 4, 3), (2, 4, 3)], {}, ("7 of 7 elements", "even")),
    ("RotaryEmbedding", [(2, 3, 4, 8), (2, 5, 4), (2, 4, 4)], {}, ("cos_cache of the shape 2x5x4", "2x4x4")),
    ("LinearAttention", [(2, 4, 6), (2, 4, 6), (2, 4, 10)], {"q_num_heads": 2, "kv_num_heads": 2}, ("without decay", "needs one")),
    ("LinearAttention", [(2, 4, 6), (2, 4, 6), (2, 4, 10)], {"q_num_heads": 2, "kv_num_heads": 2, "update_rule": "rnn"}, ("'rnn'", "gated_delta")),
    ("CausalConvWithState", [(2, 3, 7), (3, 1, 4)], {"activation": "relu"}, ("'relu'", "silu, swish, none")),
    ("CausalConvWithState", [(2, 3, 7), (3, 1, 4), None, (2, 3, 4)], {}, ("past_state of the shape 2x3x4", "2x3x3")),
    ("DFT", [(2, 10, 3)], {}, ("2x10x3", "1 (real) or 2 (complex)")),
    ("DFT", [(2, 10, 2)], {"onesided": 1}, ("complex", "real numbers")),
    ("DFT", [(2, 10, 1), None, np.array(2)], {}, ("axis 2", "real and imaginary")),
    ("STFT", [(2, 10, 1), np.array(0), (4,)], {}, ("0 apart",)),
    ("STFT", [(2, 10, 1), np.array(2), (4,), np.array(5)], {}, ("window of the shape 4", "length 5")),
    ("CenterCropPad", [(4, 5), ints(3)], {}, ("lengths (3,)", "axes (0, 1)")),
    ("DepthToSpace", [(1, 6, 2, 2)], {"blocksize": 2}, ("6 channels", "2x2")),
    ("SpaceToDepth", [(1, 6, 3, 2)], {"blocksize": 2}, ("3x2", "2x2")),
    ("SpaceToDepth", [(1, 6, 2, 2)], {"blocksize": 2, "mode": "RCD"}, ("'RCD'", "'DCR'")),
    ("Col2Im", [(1, 5, 5), ints(5, 5), ints(1, 4)], {}, ("5 rows and 5 columns", "multiple of 4 rows and 10 columns")),
    ("Resize", [(1, 1, 4, 4)], {}, ("neither scales nor sizes",)),
    ("Resize", [(1, 1, 4, 4), None, np.float32([2, 2])], {}, ("2 scales", "(0, 1, 2, 3)")),
    ("Resize", [(1, 1, 4, 4), None, np.float32([1, 1, 0, 2])], {}, ("above 0",)),
    ("Resize", [(4,), None, np.float32([2])], {"mode": "lanczos"}, ("'lanczos'", "'cubic'")),
    ("Resize", [(4,), None, np.float32([2])], {"coordinate_transformation_mode": "tf_crop_and_resize"}, ("region of 0 numbers",)),
    ("Resize", [(4,), None, np.float32([2])], {"antialias": 1}, ("antialias", "nearest")),
    ("GridSample", [(2, 3, 4, 4), (2, 3, 3, 3)], {}, ("2x3x3x3", "2x3x4x4", "2 numbers for each place")),
    ("AffineGrid", [(2, 2, 3), ints(2, 3, 4)], {}, ("size (2, 3, 4)", "2x2x3")),
    ("RoiAlign", [(1, 2, 4, 4), (3, 4), ((2,), "int64")], {}, ("3x4", "shape 2", "one index for each")),
    ("RoiAlign", [(1, 2, 4, 4), (1, 4), ints(1)], {}, ("index 1", "batch has the length 1")),
    ("MaxRoiPool", [(1, 2, 4, 4), (3, 4)], {"pooled_shape": (1, 1)}, ("3x4", "five numbers")),
    ("MaxUnpool", [(1, 1, 2, 2), ((1, 1, 2, 2), "int64"), ints(1, 1, 3, 3)], {"kernel_shape": (2, 2), "strides": (2, 2)},
     ("output_shape (1, 1, 3, 3)", "1x1x4x4")),
    ("DeformConv", [(1, 2, 4, 4), (3, 2, 2, 2), (1, 8, 2, 3)], {}, ("offset of the shape 1x8x2x3", "1x8x3x3")),
    ("Constant", [], {"value_int": 1, "value_float": 2.0}, ("value_float, value_int", "exactly one")),
]


@pytest.mark.parametrize(("name", "inputs", "attrs", "parts"), WRONG, ids=[f"{k}-{row[0]}" for k, row in enumerate(WRONG)])
def test_message_names_the_node_what_was_found_and_what_is_expected(name: str, inputs: list[Any], attrs: dict[str, Any],
                                                                    parts: tuple[str, ...]) -> None:
    message = infer_wrongly(name, inputs, attrs)
    assert f"{name} node 'block.7'" in message
    for part in parts:
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ops.names())
def test_unknown_attribute_lists_the_valid_ones(name: str) -> None:
    op = ops.get(name)
    with pytest.raises(OpError, match=f"{name} node 'here' has the attribute 'colour'") as caught:
        op.attrs_of(Node(name, ("x",), ("y",), {"colour": 1}, "here"))
    assert all(attribute in str(caught.value) for attribute in op.attributes)


@pytest.mark.parametrize(("name", "missing"), [("MaxPool", "kernel_shape"), ("AveragePool", "kernel_shape"), ("Concat", "axis"),
                                               ("Cast", "to")])
def test_missing_attribute_is_named(name: str, missing: str) -> None:
    with pytest.raises(OpError, match=f"lacks the attribute '{missing}'"):
        ops.get(name).attrs_of(Node(name, ("x",), ("y",), {}, "here"))


def test_unnamed_nodes_go_by_their_output() -> None:
    op = ops.get("Add")
    with pytest.raises(OpError, match="Add node 'sum'"):
        op.infer(Node("Add", ("a", "b"), ("sum",)), {}, [Type(F, (2,)), Type(F, (3,))])


@pytest.mark.parametrize(("name", "arrays", "attrs", "text"), [
    ("Gather", [np.zeros((5, 3), F), ints(7)], {}, "index 7"),
    ("Reshape", [np.zeros((2, 3), F), ints(5)], {}, "5 elements instead of 6"),
    ("Squeeze", [np.zeros((2, 3), F), ints(1)], {}, "axis 1 of 2x3"),
    ("GatherND", [np.zeros((5, 3), F), ints(7).reshape(1, 1)], {}, "index 7"),
    ("TensorScatter", [np.zeros((1, 4, 1), F), np.zeros((1, 2, 1), F), ints(3)], {}, "2 steps from .3. on into a cache of 4"),
    ("MaxUnpool", [np.zeros((1, 1, 2), F), ints(0, 9).reshape(1, 1, 2)], {"kernel_shape": (2,)}, "index 9"),
    ("Pad", [np.zeros(3, F), ints(-2, -2)], {}, "removes 4 of the 3"),
    ("Dropout", [np.zeros(3, F), None, np.array(True)], {}, "training mode"),
    ("Conv", [np.zeros((1, 1, 2, 2), F), np.zeros((1, 1, 3, 3), F)], {}, "only 2x2"),
])
def test_what_only_running_can_find_is_an_op_error_too(name: str, arrays: list[np.ndarray], attrs: dict[str, Any], text: str) -> None:
    with pytest.raises(OpError, match=text):
        run(ops.get(name), arrays, attrs)


def test_training_outputs_of_batch_normalization_are_refused() -> None:
    message = infer_wrongly("BatchNormalization", [(1, 3, 4, 4)] + [(3,)] * 4, {}, outputs=3)
    assert "3 outputs" in message


def test_an_unknown_operator_lists_those_that_exist() -> None:
    assert ops.find("Conv_") is None
    assert ops.find("conv") is None
    with pytest.raises(KeyError, match="GlobalAveragePool"):
        ops.get("NoSuchOperator")


def test_op_errors_are_errors_of_the_project() -> None:
    assert issubclass(OpError, ThinferError)
