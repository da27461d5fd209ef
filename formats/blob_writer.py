"""One weight's blob: EncodedTensor → bytes (SPEC.md, "Blobs")."""

from __future__ import annotations

from typing import cast

import numpy as np

from . import codes
from .blobs import MASK, POSITIONS, held_places
from .codes import little_endian
from .cursor import put_varint
from .errors import GraphError
from .places import NOWHERE, Places, in_rows, of_held, of_positions
from .stream_writer import encode_stream
from .tensor import (
    BLOCKS,
    CODERS,
    ENTRY_DTYPES,
    LEFT_TO_THE_WRITER,
    WINDOWS,
    Affine,
    Binary,
    Blocks,
    Codebook,
    Coder,
    Dense,
    EncodedTensor,
    Plain,
    Sparse,
    Structure,
    Symbols,
    Ternary,
    View,
    Windowed,
)

_KINDS: dict[type, int] = {Codebook: codes.CODEBOOK, Affine: codes.AFFINE, Binary: codes.BINARY, Ternary: codes.TERNARY}


def kind_of(tensor: EncodedTensor) -> int:
    """The code of the tensor's values."""
    if isinstance(tensor.values, Plain):
        return codes.PLAIN if tensor.values.data.dtype.name == tensor.dtype else codes.HALF
    return _KINDS[type(tensor.values)]


def encode_blob(name: str, tensor: EncodedTensor) -> tuple[bytes | memoryview, Coder]:
    """The bytes of the tensor's blob, and the coder that made them. GraphError if the file cannot hold it."""
    _check(f"weight {name!r}", tensor)
    slack = LEFT_TO_THE_WRITER.get(tensor.coder)
    if slack is None:
        named = cast("Coder", tensor.coder)
        return _encode(tensor, named), named
    blobs = {coder: _encode(tensor, coder) for coder in CODERS}
    enough = min(len(blob) for blob in blobs.values()) * slack
    coder = next(coder for coder in CODERS if len(blobs[coder]) <= enough)
    return blobs[coder], coder


def _encode(tensor: EncodedTensor, coder: Coder) -> bytes | memoryview:
    v = tensor.values
    if isinstance(v, Plain) and isinstance(tensor.structure, Dense) and coder == "raw":
        return np.ascontiguousarray(_little(v.data)).view(np.uint8).data.cast("B") if v.data.size else b""
    structure, places = _structure(tensor.structure, tensor.view, coder), held_places(tensor.structure, tensor.view, coder)
    if isinstance(v, Plain):
        return structure + _numbers(v.data, coder, places)
    return _tables(v, coder) + structure + encode_stream(v.symbols, v.alphabet, v.bits, coder, places)


def _tables(v: Symbols, coder: str) -> bytes:
    """What symbols stand for."""
    out = bytearray()
    if isinstance(v, Codebook):
        out.append((v.bits - 1) | ENTRY_DTYPES.index(v.entries.dtype.name) << 3 | (v.scale is not None) << 5)
        for count in v.entries.shape:
            put_varint(out, count)
        out += _little(v.entries).tobytes()
    if isinstance(v, Affine):
        out.append((v.bits - 1) | (v.scale.shape[0] != 1) << 3 | (v.zero_point is not None) << 4)
        put_varint(out, v.block)
    if v.scale is not None:
        out += _numbers(v.scale.ravel(), coder)
    if isinstance(v, Affine) and v.zero_point is not None:
        out += encode_stream(v.zero_point.ravel(), v.alphabet, v.bits, coder)
    return bytes(out)


def _structure(structure: Structure, view: View, coder: str) -> bytes:
    """Where values are held."""
    if isinstance(structure, Sparse):
        return encode_stream(structure.kept(view).view(np.uint8), 2, 1, coder, of_positions(view))
    if isinstance(structure, Blocks):
        kept = structure.kept_blocks(view).view(np.uint8)
        return bytes([BLOCKS.index(structure.shape)]) + encode_stream(kept.ravel(), 2, 1, coder, in_rows(kept.shape[1]))
    if isinstance(structure, Windowed):
        m, mask = structure.m, view.rows(structure.kept(view)).view(np.uint8).ravel()
        forms = (encode_stream(structure.positions, m, m.bit_length() - 1, coder, of_held(structure, view)),
                 encode_stream(mask, 2, 1, coder, in_rows(view.inputs)))
        form = POSITIONS if len(forms[POSITIONS]) <= len(forms[MASK]) else MASK
        return bytes([WINDOWS.index(m) | form << 2, structure.n - 1]) + forms[form]
    return b""


def _numbers(array: np.ndarray, coder: str, places: Places = NOWHERE) -> bytes:
    """Numbers as they are, or coded: a stream for each byte of the dtype, the lowest bytes first."""
    data = np.ascontiguousarray(_little(array))
    if coder == "raw":
        return data.tobytes()
    planes = data.view(np.uint8).reshape(-1, data.itemsize)
    return b"".join(encode_stream(np.ascontiguousarray(planes[:, i]), 256, 8, coder, places) for i in range(data.itemsize))


def _little(array: np.ndarray) -> np.ndarray:
    return array.astype(little_endian(array.dtype.name), copy=False)


def _check(where: str, tensor: EncodedTensor) -> None:
    """What ``graph.verify`` does not look at, because it is the file that bounds it."""
    if len(tensor.shape) > codes.MAX_RANK or not 0 <= tensor.axis <= codes.MAX_RANK:
        raise GraphError(f"{where} has {len(tensor.shape)} dimensions and axis {tensor.axis}; a file allows {codes.MAX_RANK} at most")
    product = 1
    for dim in tensor.shape:
        product *= dim or 1
    if product > codes.MAX_SIZE:
        raise GraphError(f"{where} has the shape {tensor.shape}; a file's tensors have at most 2**48 elements")
    if isinstance(tensor.values, Plain) and tensor.values.data.dtype.name not in (tensor.dtype, "float16"):
        raise GraphError(f"{where} holds values of dtype {tensor.values.data.dtype.name}, not {tensor.dtype} or float16")
    if isinstance(tensor.values, Affine) and tensor.values.block > codes.MAX_SIZE:
        raise GraphError(f"{where} has scales for blocks of {tensor.values.block} inputs; a file allows 2**48 at most")
