"""ONNX's numbers for data types (TensorProto.DataType)."""

from __future__ import annotations

from ._op import OpError

DTYPE_OF_CODE = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
                 11: "float64", 12: "uint32", 13: "uint64"}
CODE_OF_DTYPE = {dtype: code for code, dtype in DTYPE_OF_CODE.items()}


def dtype_of(place: str, code: int) -> str:
    """The dtype's name. Raises OpError, which names the node by ``place``, for one that does not exist here."""
    if code not in DTYPE_OF_CODE:
        valid = ", ".join(f"{number} ({name})" for number, name in DTYPE_OF_CODE.items())
        raise OpError(f"{place} asks for data type {code}; there are {valid}")
    return DTYPE_OF_CODE[code]
