"""Forms of operators where the specification or onnx's evaluator leaves something open: as onnxruntime has them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from thinfer.toolchain.onnx_backend import ThinferBackend


def both(op: str, arrays: dict[str, np.ndarray], shape: list[int], **attrs: object) -> tuple[np.ndarray, np.ndarray]:
    """What we make, and what onnxruntime makes; ``shape`` is the one that the model declares."""
    infos = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape) for name, array in arrays.items()]
    y = helper.make_tensor_value_info("y", infos[0].type.tensor_type.elem_type, shape)
    model = helper.make_model(helper.make_graph([helper.make_node(op, list(arrays), ["y"], **attrs)], "net", infos, [y]),
                              opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return ThinferBackend.run_model(model, arrays)[0], session.run(None, arrays)[0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_mean_of_nothing_is_no_number(dtype: str) -> None:
    found = ThinferBackend.run_node(helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0),
                                    {"x": np.zeros((2, 0, 3), dtype), "axes": np.array([1])})[0]
    assert found.dtype == dtype
    assert found.shape == (2, 3)
    assert np.isnan(found).all()


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_the_mean_of_no_integers_is_zero(dtype: str) -> None:
    found, wanted = both("ReduceMean", {"x": np.zeros((0, 3), dtype)}, [1, 1])
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("kernel", "stride", "length", "out"), [(2, 3, 10, 29), (1, 4, 3, 9), (2, 5, 3, 12), (3, 2, 5, 10), (4, 2, 5, 10)])
def test_same_padding_of_transposed_convolutions(pad: str, kernel: int, stride: int, length: int, out: int) -> None:
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((1, 2, length)).astype(np.float32), "w": rng.standard_normal((2, 3, kernel)).astype(np.float32)}
    found, wanted = both("ConvTranspose", arrays, [1, 3, out], strides=[stride], auto_pad=pad)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
