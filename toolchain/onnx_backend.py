"""Thinfer as a backend of onnx (``onnx.backend.base``), which is what onnx's own conformance suite runs.

    prepared = ThinferBackend.prepare(model, backend="native")
    outputs = prepared.run([x])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from ..formats.graph import Graph
from ..runtime import InputError, Session, load
from .importers._errors import UnsupportedModel
from .importers.onnx import convert


class Prepared(BackendRep):
    """A model that is ready to run. ``narrow``: dtypes of its outputs that a session gives in wider ones, by name."""

    def __init__(self, session: Session, narrow: Mapping[str, np.dtype] | None = None) -> None:
        self.session, self.narrow = session, narrow or {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """The outputs in the model's order, also by name. ``inputs``: arrays in the order of the model's inputs, a dict, or one array.

        Raises InputError (they do not fit the model), OpError (shapes that contradict the graph).
        """
        arrays = [inputs] if isinstance(inputs, np.ndarray) else inputs
        if not isinstance(arrays, Mapping):
            names = [info.name for info in self.session.inputs]
            if len(arrays) != len(names):
                raise InputError(f"{len(arrays)} inputs were given; the model takes {len(names)}: {', '.join(names)}")
            arrays = dict(zip(names, arrays))
        wide = {info.name: np.dtype(info.dtype) for info in self.session.inputs}
        found = self.session.run({name: array.astype(wide[name]) if name in wide and is_narrow(array.dtype) else array
                                  for name, array in arrays.items()})
        results = [array.astype(self.narrow.get(name, array.dtype)) for name, array in found.items()]
        return namedtupledict("Outputs", list(found))(*results)


def is_narrow(dtype: np.dtype) -> bool:
    """Whether it is one of onnx's integers of 2 and 4 bits, which a session holds in 8."""
    return dtype.name in ("int2", "uint2", "int4", "uint4")


class ThinferBackend(Backend):
    """Imports and runs models on the CPU. Raises ThinferError for what is not supported, and never anything else for a sound model.

    Keywords: ``backend`` ("native" or "numpy"; None takes the best there is) and ``threads``. THINFER_ISA chooses the ISA level.
    """

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        if not cls.supports_device(device):
            raise UnsupportedModel(f"there is no device {device!r}; models run on CPU")
        graph: Graph = convert(model, "the model", {})
        narrow = {info.name: dtype for info in model.graph.output
                  if is_narrow(dtype := onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))}
        return Prepared(load(graph, backend=kwargs.get("backend"), threads=kwargs.get("threads", 1)), narrow)

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[np.ndarray, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU",
                 outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """One node on concrete arrays, whose shapes and dtypes become those of a model's inputs. ``opset_version``: the node's opset."""
        names = [name for name in node.input if name]
        arrays = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, [inputs] if isinstance(inputs, np.ndarray) else inputs))
        infos = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                 for name, array in arrays.items()]
        results = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        opset = onnx.helper.make_opsetid("", kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        model = onnx.helper.make_model(onnx.helper.make_graph([node], "node", infos, results), opset_imports=[opset])
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        return cls.run_model(inferred, arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU" or device.startswith("CPU:")


prepare, run_model, run_node = ThinferBackend.prepare, ThinferBackend.run_model, ThinferBackend.run_node
supports_device = ThinferBackend.supports_device
"""The same as functions of the module, which is how onnx's documentation has it."""
