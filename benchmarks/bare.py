"""One node's steps run alone, without sessions: activations lie where the lowering wants them, so nothing is reordered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from ..formats.tensor import EncodedTensor
from ..kernels import isa
from ..kernels.lowering import Ending, Lowering, Ref
from ..kernels.slabs import aligned


@dataclass(eq=False)
class Bare:
    """An Emitter that keeps the steps of one lowering. ``arrays``: the node's inputs, None where absent; ``weights``: those that are encoded."""

    option: Lowering
    arrays: Sequence[np.ndarray | None]
    weights: Mapping[int, EncodedTensor]
    low: float = -np.inf
    high: float = np.inf
    constants: list[np.ndarray] = field(default_factory=list)
    packed: dict[tuple[int, str], Ref] = field(default_factory=dict)
    steps: list[tuple[str, list[Ref], list[int], int]] = field(default_factory=list)
    scratch: int = 0

    def input(self, i: int) -> Ref:
        array = self.weights[i].decode() if i in self.weights else self.arrays[i]
        assert array is not None
        return self.constant(np.moveaxis(array, 1, -1) if self.option.inputs[i] == "NHWC" and array.ndim > 2 else array)

    def output(self, i: int = 0) -> Ref:
        return Ref("value", i)

    @property
    def ending(self) -> Ending:
        return Ending(None, self.output(), None, None)

    def weight(self, i: int, layout: str, pack: Callable[[EncodedTensor], np.ndarray]) -> Ref:
        if (i, layout) not in self.packed:  # steps of a recurrent layer read one matrix, as in a plan
            self.packed[i, layout] = self.constant(pack(self.weights[i]))
        return self.packed[i, layout]

    def temporary(self, nbytes: int) -> Ref:
        return self.constant(np.zeros(nbytes, np.uint8))

    def constant(self, array: np.ndarray) -> Ref:
        home = aligned(array.nbytes)
        home[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.constants.append(home)
        return Ref("weight", len(self.constants) - 1)

    def lane(self, index: int | None) -> None:
        """Steps run one after the other whatever their lane."""

    def step(self, kernel: str, buffers: Sequence[Ref], params: Sequence[int], items: int, scratch: int = 0) -> None:
        self.steps.append((kernel, list(buffers), [int(p) for p in params], int(items)))
        self.scratch = max(self.scratch, scratch)

    @property
    def kernels(self) -> list[str]:
        return list(dict.fromkeys(step[0] for step in self.steps))

    def engine(self, outputs: Sequence[int], level: str, threads: int) -> Any:
        """Runs on (no inputs, outputs of so many bytes)."""
        native = isa.native()
        assert native is not None
        names = self.kernels
        code = [len(self.steps)]
        for kernel, buffers, params, items in self.steps:
            code += [names.index(kernel), items, len(buffers)]
            for ref in buffers:
                code += [1, ref.key, ref.offset] if ref.kind == "weight" else [3, ref.key, ref.offset]
            code += [len(params), *params]
        return native.Engine(np.array(code, np.int64), names, level, self.constants, [], list(outputs), 0, self.scratch, native.ThreadPool(threads))

    def call(self, shapes: Sequence[tuple[tuple[int, ...], str]], level: str, threads: int) -> Callable[[], object]:
        """Runs the steps once. ``shapes``: shape and dtype of each output."""
        outputs = tuple(aligned(prod(shape) * np.dtype(dtype).itemsize) for shape, dtype in shapes)
        engine = self.engine([out.nbytes for out in outputs], level, threads)
        return lambda: engine.run((), outputs)
