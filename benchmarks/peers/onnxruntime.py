"""onnxruntime. Variants: fp32; int8 (static QDQ, uint8 activations, int8 weights per channel); dynamic8; int4 (MatMulNBits, blocks of 128)."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from .interface import Case, Loaded, size

CPU = ["CPUExecutionProvider"]


def _target(case: Case) -> Path:
    return case.file(f"onnxruntime-{case.variant}.onnx") if case.variant in CONVERTERS else case.model


def _int8(case: Case) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(case.calibration)

        def get_next(self) -> dict[str, object] | None:
            x = next(self.left, None)
            return None if x is None else {"x": x}

    prepared = case.file("onnxruntime-prepared.onnx")
    quant_pre_process(str(case.model), str(prepared))
    quantize_static(str(prepared), str(_target(case)), Samples(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    prepared.unlink()


def _dynamic8(case: Case) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(str(case.model), str(_target(case)), weight_type=QuantType.QInt8, per_channel=True)


def _int4(case: Case) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(str(case.model)), block_size=128, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    quantizer.model.save_model_to_file(str(_target(case)), False)


CONVERTERS = {"int8": _int8, "dynamic8": _dynamic8, "int4": _int4}


def convert(case: Case) -> None:
    if case.variant in CONVERTERS and not _target(case).exists():
        CONVERTERS[case.variant](case)


def load(case: Case) -> Loaded:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = case.threads, 1, 3
    session = onnxruntime.InferenceSession(str(_target(case)), options, providers=CPU)
    name = session.get_inputs()[0].name
    return Loaded(lambda x: lambda: session.run(None, {name: x})[0], "onnxruntime", size(_target(case)))
