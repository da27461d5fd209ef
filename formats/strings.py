"""Strings of the header: a static table, a table of those seen so far, and literals that share a prefix with the literal before."""

from __future__ import annotations

from .cursor import Cursor, put_varint
from .errors import GraphError, StringError

MAX_BYTES = 65535
MAX_SHARED = 255

# The order is part of the format; new entries go to the end. One byte reaches the first 127.
_STATIC = (
    "Conv Gemm MatMul BatchNormalization Relu Clip Sigmoid HardSigmoid HardSwish Tanh Softmax MaxPool AveragePool "
    "GlobalAveragePool ReduceMean Add Sub Mul Div Concat Reshape Flatten Transpose Squeeze Unsqueeze Pad Identity Dropout "
    "Cast Shape Gather Constant If Loop Scan LSTM GRU Slice Split ConvTranspose Resize LayerNormalization Gelu Erf LeakyRelu "
    "Elu PRelu Sqrt Pow Exp Where Expand LogSoftmax "
    "kernel_shape strides pads dilations group auto_pad ceil_mode count_include_pad storage_order alpha beta transA transB axis "
    "axes perm keepdims noop_with_empty_axes epsilon momentum training_mode mode min max to value ratio seed allowzero start "
    "end body then_branch else_branch hidden_size direction num_outputs saturate approximate "
    "SAME_UPPER SAME_LOWER VALID NOTSET constant reflect edge "
    "input output data image images x y logits probabilities N batch batch_size")
STATIC = tuple(_STATIC.split())
SUFFIXES = ("", ".weight", ".bias", ".running_mean", ".running_var", ".scale", "_weight", "_bias")


class StringWriter:
    def __init__(self) -> None:
        self.known = {text: i for i, text in enumerate(STATIC)}
        self.previous = b""

    def put(self, out: bytearray, text: str) -> None:
        """Appends a table entry (1 + its number), or 0 and a literal."""
        number = self.known.get(text)
        if number is not None:
            put_varint(out, number + 1)
        else:
            out.append(0)
            self.put_literal(out, text)

    def put_literal(self, out: bytearray, text: str) -> None:
        """Appends a literal; it enters the table."""
        raw = _utf8(text)
        shared = 0
        for a, b in zip(raw[:MAX_SHARED], self.previous):
            if a != b:
                break
            shared += 1
        # An ending may be worth more than a few more shared bytes: "conv1.bias" after "conv1.weight" is "conv1", "" and ".bias".
        stems = {i: len(raw) - len(end) for i, end in enumerate(SUFFIXES) if raw.endswith(end.encode())}
        suffix = min(stems, key=lambda i: stems[i] - min(shared, stems[i]))
        shared = min(shared, stems[suffix])
        middle = raw[shared:stems[suffix]]
        put_varint(out, shared * len(SUFFIXES) + suffix)
        put_varint(out, len(middle))
        out += middle
        self.known.setdefault(text, len(self.known))
        self.previous = raw


def _utf8(text: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise GraphError(f"the string {text!r} cannot be written as UTF-8") from error
    if len(raw) > MAX_BYTES:
        raise GraphError(f"the string {text[:40]!r}… has {len(raw)} bytes; a file's strings have at most {MAX_BYTES}")
    return raw


class StringReader:
    def __init__(self) -> None:
        self.table = list(STATIC)
        self.seen = set(STATIC)
        self.previous = b""

    def get(self, cursor: Cursor, what: str) -> str:
        number = cursor.varint(what)
        if number == 0:
            return self.literal(cursor, what)
        if number > len(self.table):
            cursor.fail(StringError, f"{what} is string {number - 1}, but the table has {len(self.table)} so far")
        return self.table[number - 1]

    def literal(self, cursor: Cursor, what: str) -> str:
        shared, suffix = divmod(cursor.varint(what), len(SUFFIXES))
        if shared > min(len(self.previous), MAX_SHARED):
            cursor.fail(StringError, f"{what} shares {shared} bytes with a string of {len(self.previous)} (at most {MAX_SHARED})")
        raw = self.previous[:shared] + bytes(cursor.take(cursor.bounded(f"length of {what}", 0, MAX_BYTES), what))
        raw += SUFFIXES[suffix].encode()
        if len(raw) > MAX_BYTES:
            cursor.fail(StringError, f"{what} has {len(raw)} bytes, but strings have at most {MAX_BYTES}")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            cursor.fail(StringError, f"{what} is not UTF-8")
        if text not in self.seen:
            self.seen.add(text)
            self.table.append(text)
        self.previous = raw
        return text
