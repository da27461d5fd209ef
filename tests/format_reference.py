"""A second reader of ``.thin`` files, written from SPEC.md alone: plain Python, bit by bit, slow, for well-formed files only."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import reference_coders

SPEC = (Path(__file__).parent.parent / "formats" / "SPEC.md").read_text(encoding="utf-8")
DTYPES = "float32 float16 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64 bool".split()  # noqa: SIM905
ENDINGS = [b"", b".weight", b".bias", b".running_mean", b".running_var", b".scale", b"_weight", b"_bias"]


def string_table() -> list[str]:
    """The words of the indented block that begins with Conv."""
    words: list[str] = []
    for line in SPEC[SPEC.index("    Conv Gemm"):].splitlines():
        if not line.startswith("    "):
            break
        words += line.split()
    return words


@dataclass
class Bits:
    data: bytes
    at: int = 0

    def take(self, n: int) -> int:
        value = 0
        for i in range(n):
            value |= (self.data[self.at >> 3] >> (self.at & 7) & 1) << i
            self.at += 1
        return value

    def ones(self) -> int:
        n = 0
        while self.take(1):
            n += 1
        return n


@dataclass
class Reference:
    data: bytes
    at: int = 0
    table: list[str] = field(default_factory=string_table)
    previous: bytes = b""
    weights: list[dict[str, Any]] = field(default_factory=list)
    defined: list[str] = field(default_factory=list)
    fresh: int = 0
    coder: int = 0
    end: int = 0

    # ------------------------------------------------------------ small parts

    def take(self, n: int) -> bytes:
        assert self.at + n <= len(self.data)
        self.at += n
        return self.data[self.at - n:self.at]

    def varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value += (byte % 128) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self) -> int:
        n = self.varint()
        return n // 2 if n % 2 == 0 else -(n // 2) - 1

    def float(self) -> float:
        n = self.take(1)[0]
        found: float = struct.unpack("<f" if n == 4 else "<d", self.take(n))[0]
        return found

    def literal(self) -> str:
        shared, ending = divmod(self.varint(), 8)
        n = self.varint()
        self.previous = self.previous[:shared] + self.take(n) + ENDINGS[ending]
        text = self.previous.decode()
        if text not in self.table:
            self.table.append(text)
        return text

    def string(self) -> str:
        n = self.varint()
        return self.literal() if n == 0 else self.table[n - 1]

    # ------------------------------------------------------------ header

    def read(self) -> dict[str, Any]:
        assert self.take(5) == b"THIN\0"
        n = self.varint()
        end = self.at + n
        parameters, macs = self.varint(), self.varint()
        source = (parameters, macs, self.signed() + 4 * parameters)
        self.weights = [self.weight() for _ in range(self.varint())]
        graph = self.graph(top=True)
        assert self.at == end
        assert zlib.crc32(self.data[:end]) == struct.unpack("<I", self.take(4))[0]
        self.place()
        return {"source": source, "graph": graph, "weights": {w["name"]: self.blob(w) for w in self.weights}}

    def weight(self) -> dict[str, Any]:
        name = self.literal()
        a, b = self.varint(), self.take(1)[0]
        w = {"name": name, "dtype": DTYPES[a >> 7], "structure": a >> 3 & 3, "kind": a & 7, "coder": a >> 5 & 3, "axis": b >> 4}
        w["shape"] = tuple(self.varint() for _ in range(b & 15))
        w["stored"] = "float16" if w["kind"] == 1 else w["dtype"]
        w["bare"] = not w["coder"] and not w["structure"] and w["kind"] < 2
        w["length"] = prod(w["shape"]) * np.dtype(w["stored"]).itemsize if w["bare"] else self.varint()
        w["crc"] = struct.unpack("<I", self.take(4))[0]
        return w

    def place(self) -> None:
        aligned = [w for w in self.weights if w["bare"] and w["length"] >= 4096]
        loose = [w for w in self.weights if w not in aligned]
        waste = [(-(self.at + sum(w["length"] for w in loose[:m]))) % 64 for m in range(len(loose) + 1)]
        m = waste.index(min(waste))
        even = [w for w in aligned if w["length"] % 64 == 0]
        odd = [w for w in aligned if w["length"] % 64]
        for w in loose[:m] + even + odd + loose[m:]:
            if w in aligned:
                assert not any(self.take(-self.at % 64))
            w["offset"] = self.at
            assert zlib.crc32(self.take(w["length"])) == w["crc"]
        assert self.at == len(self.data)

    def graph(self, top: bool) -> dict[str, Any]:
        before = len(self.defined)
        inputs = []
        for _ in range(self.varint()):
            name = self.string() if top else self.new()
            inputs.append((name, *self.type()))
            self.defined.append(name)
        nodes = [self.node() for _ in range(self.varint())]
        outputs = [(self.reference(), *self.type()) for _ in range(self.varint())]
        quantized = [(self.reference(), *self.quantization()) for _ in range(self.varint())]
        del self.defined[before:]
        return {"inputs": inputs, "nodes": nodes, "outputs": outputs, "quantized": quantized}

    def new(self) -> str:
        self.fresh += 1
        return f"%{self.fresh - 1}"

    def reference(self) -> str:
        n = self.varint()
        if n == 0:
            return ""
        return self.weights[n // 2 - 1]["name"] if n % 2 == 0 else self.defined[-((n + 1) // 2)]

    def type(self) -> tuple[Any, ...]:
        code = self.take(1)[0]
        shape = []
        for _ in range(self.varint()):
            n = self.varint()
            shape.append(self.string() if n == 1 else n // 2)
        return DTYPES[code], tuple(shape)

    def quantization(self) -> tuple[Any, ...]:
        code = self.take(1)[0]
        static = (self.float(), self.signed()) if code & 3 == 0 else ()
        return ("int8", "uint8", "binary")[code >> 2], ("static", "tensor", "sample", "row")[code & 3], *static

    def node(self) -> tuple[Any, ...]:
        op = self.string()
        code = self.take(1)[0]
        inputs = tuple(self.reference() for _ in range(self.varint() if code & 7 == 7 else code & 7))
        attrs = {}
        for _ in range(self.varint() if code >> 5 & 3 == 3 else code >> 5 & 3):
            key = self.string()
            attrs[key] = self.attribute()
        kinds = [1] if code >> 3 & 3 == 0 else [2] if code >> 3 & 3 == 1 else None
        outputs = []
        for i in range(self.varint() if kinds is None else 1):
            kind = kinds[i] if kinds else self.take(1)[0]
            outputs.append("" if kind == 0 else self.new() if kind == 1 else self.string())
        self.defined += [name for name in outputs if name]
        return op, inputs, tuple(outputs), attrs, self.string() if code >> 7 else ""

    def attribute(self) -> Any:
        code = self.take(1)[0]
        kind, n = code & 15, code >> 4
        if n == 15:
            n = self.varint()
        if kind == 0:
            return n // 2 if n % 2 == 0 else -(n // 2) - 1
        if kind in (1, 2, 8):
            return self.float() if kind == 1 else self.string() if kind == 2 else self.graph(top=False)
        if kind == 4:
            return (self.signed(),) * n
        if kind == 7:
            dtype = np.dtype(DTYPES[self.take(1)[0]])
            shape = tuple(self.varint() for _ in range(n))
            return np.frombuffer(self.take(prod(shape) * dtype.itemsize), dtype).reshape(shape)
        return tuple(self.signed() if kind == 3 else self.float() if kind == 5 else self.string() for _ in range(n))

    # ------------------------------------------------------------ blobs

    def blob(self, w: dict[str, Any]) -> np.ndarray:
        """The weight, expanded."""
        self.at, size = w["offset"], prod(w["shape"])
        channels = w["shape"][w["axis"]] if w["shape"] else 1
        inner = prod(w["shape"][w["axis"] + 1:])
        inputs = prod(w["shape"][:w["axis"]]) * inner if w["shape"] else 1
        kind, coded = w["kind"], bool(w["coder"])
        self.coder, self.end = w["coder"], w["offset"] + w["length"]
        row = prod(w["shape"][1:]) if len(w["shape"]) > 1 else 0
        bits, kinds, table, scale, zeros, block = 8, 256, np.zeros((1, 1)), np.ones((1, 1), np.float32), None, inputs
        if kind == 2:
            code = self.take(1)[0]
            bits, groups, kinds = (code & 7) + 1, self.varint(), self.varint()
            entry = np.dtype([np.float32, np.float16, np.int8][code >> 3 & 3])
            table = np.frombuffer(self.take(groups * kinds * entry.itemsize), entry).reshape(groups, kinds)
        if kind == 4:
            code = self.take(1)[0]
            bits, kinds, block = (code & 7) + 1, 2 ** ((code & 7) + 1), self.varint()
            grid = (channels if code & 8 else 1), -(-inputs // block)
            scale = self.numbers("float32", grid[0] * grid[1], coded).reshape(grid)
            zeros = np.reshape(self.stream(grid[0] * grid[1], kinds, bits), grid) if code & 16 else np.full(grid, kinds // 2)
        if kind in (3, 5) or (kind == 2 and code >> 5):
            scale = self.numbers("float32", channels, coded).reshape(channels, 1)
        if kind in (3, 5):
            bits, kinds, table = (1, 2, np.array([[-1, 1]])) if kind == 3 else (2, 3, np.array([[-1, 0, 1]]))
        # Where an element lies in the 2-D view: its channel, and its place among that channel's elements.
        places = [(i // inner % channels, i // inner // channels * inner + i % inner) for i in range(size)] if size else []
        kept = self.kept(w["structure"], channels, inputs, size, row, places)
        held = [i for i, place in enumerate(places) if kept is None or kept[i]]
        columns = rows(row, held)
        if w["structure"] == 2 and held:
            columns = rows(len(held) // channels, range(len(held)))
        out = np.zeros(size, w["dtype"])
        if kind < 2:
            out[held] = self.numbers(w["stored"], len(held), coded, columns)
        else:
            for i, element in zip(held, self.stream(len(held), kinds, bits, columns)):
                channel, column = places[i]
                factor = scale[channel if len(scale) > 1 else 0, column // block if scale.shape[1] > 1 else 0]
                if zeros is not None:
                    out[i] = np.float32(element - int(zeros[channel if len(zeros) > 1 else 0, column // block])) * factor
                else:
                    out[i] = np.float32(table[channel // -(-channels // len(table)), element]) * factor
        assert self.at == w["offset"] + w["length"]
        return out.reshape(w["shape"])

    def kept(self, structure: int, channels: int, inputs: int, size: int, row: int,
             places: list[tuple[int, int]]) -> list[int] | None:
        """For each element whether it is held; None: all are."""
        if structure == 0:
            return None
        if structure == 1:
            return self.stream(size, 2, 1, rows(row, range(size)))
        code = self.take(1)[0]
        if structure == 3:
            r, c = [(1, 4), (4, 1), (4, 4)][code]
            across = -(-inputs // c)
            blocks = -(-channels // r) * across
            mask = self.stream(blocks, 2, 1, rows(across, range(blocks)))
            return [mask[channel // r * across + column // c] for channel, column in places]
        m, n = [16, 32, 64][code & 3], self.take(1)[0] + 1
        if code >> 2:
            mask = self.stream(size, 2, 1, rows(inputs, range(size)))
            return [mask[channel * inputs + column] for channel, column in places]
        windows = [(channel, start) for channel in range(channels) for start in range(0, inputs, m)]
        counts = [min(n, inputs - start) for _, start in windows]
        n = sum(counts)
        positions = iter(self.stream(n, m, m.bit_length() - 1, rows(n // max(channels, 1), range(n))))
        chosen = {(channel, start + next(positions)) for (channel, start), count in zip(windows, counts) for _ in range(count)}
        return [place in chosen for place in places]

    def numbers(self, dtype: str, n: int, coded: bool, columns: list[int] | None = None) -> np.ndarray:
        """Numbers as they are, or a stream for each of their bytes."""
        size = np.dtype(dtype).itemsize
        if not coded:
            return np.frombuffer(self.take(n * size), dtype)
        planes = [self.stream(n, 256, 8, columns) for _ in range(size)]
        return np.frombuffer(bytes(b for element in zip(*planes) for b in element), dtype)

    def stream(self, n: int, alphabet: int, width: int, columns: list[int] | None = None) -> list[int]:
        if n == 0:
            return []
        code = self.take(1)[0]
        transform, is_coded, lanes, dominant = code & 3, code >> 2 & 1, 1 << (code >> 3 & 3), code >> 5
        if transform == 3:
            m = self.take(1)[0]
            where = self.stream(n, 2, 1)
            others = iter(self.stream(sum(where), alphabet - 1, max((alphabet - 2).bit_length(), 1)))
            return [x + (x >= m) if other and (x := next(others)) >= 0 else m for other in where]
        if is_coded and self.coder == 3:
            found, used = reference_coders.arithmetic(self.data[self.at:self.end], n, alphabet, width, columns)
            self.at += used
            return found
        count, kinds, size = n, alphabet, width
        if transform == 1:
            p = self.take(1)[0]
            count, kinds = -(-n // p), 2 ** (p * width)
        elif transform == 2:
            longest, count = self.varint(), self.varint()
            kinds, size = longest + 1, longest.bit_length()
        coded = self.huffman if self.coder == 1 else self.rans
        symbols = coded(count, kinds, lanes) if is_coded else self.packed(count, size)
        if transform == 1:
            return [s >> (i * width) & (2 ** width - 1) for s in symbols for i in range(p)][:n]
        if transform == 2:
            return [x for s in symbols for x in [dominant] * s + [1 - dominant] * (s < longest)][:n]
        return symbols

    def packed(self, count: int, size: int) -> list[int]:
        bits = Bits(self.take(-(-count * size // 8)))
        return [bits.take(size) for _ in range(count)]

    def huffman(self, count: int, alphabet: int, lanes: int) -> list[int]:
        codes = self.codes(alphabet)
        sizes = [self.varint() for _ in range(lanes)]
        streams = [Bits(self.take(size)) for size in sizes]
        found = []
        for i in range(count):
            bits, code = streams[i % lanes], "1"
            while code not in codes:
                code += str(bits.take(1))
            found.append(codes[code])
        assert all(-(-bits.at // 8) == len(bits.data) for bits in streams)
        return found

    def rans(self, count: int, alphabet: int, lanes: int) -> list[int]:
        bits = Bits(self.data, 8 * self.at)
        sizes, b = reference_coders.frequencies(bits.take, alphabet)
        self.at = -(-bits.at // 8)
        return reference_coders.rans(self.take, sizes, b, lanes, count)

    def codes(self, alphabet: int) -> dict[str, int]:
        """A 1 and the code's bits → symbol."""
        bits = Bits(self.data, 8 * self.at)
        k, lengths, last = bits.take(2), [0] * alphabet, min(max((alphabet - 1).bit_length(), 1), 15)
        symbol, room = 0, 1.0
        while symbol < alphabet and room > 0:
            ones = bits.ones()
            value = ones << k | bits.take(k)
            if value == 0:
                b = bits.ones()
                symbol += 1 << b | bits.take(b)
                continue
            last += (value - 1) // 2 if value % 2 else -(value // 2)
            lengths[symbol] = last
            room -= 2.0 ** -last
            symbol += 1
        self.at = -(-bits.at // 8)
        codes, code, length = {}, 0, 0
        for n, s in sorted((n, s) for s, n in enumerate(lengths) if n):
            code <<= n - length
            length = n
            codes["1" + format(code, f"0{n}b")] = s
            code += 1
        return codes


def rows(length: int, places: Iterable[int]) -> list[int] | None:
    """The columns of elements in these places; None where the format knows no such rows."""
    return [place % length for place in places] if 0 < length <= 2 ** 20 else None


def reference_read(data: bytes) -> dict[str, Any]:
    """{source, graph, weights: name → expanded array}; graphs and nodes as plain tuples and dictionaries."""
    return Reference(data).read()
