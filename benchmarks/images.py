"""Images for the ImageNet networks: 26 with labels, and 100 crops of photos without."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image

from . import packages

FOOLBOX = ("foolbox", "3.3.4")
DEMO = ("gradio-yolov8-det", "2.1.0")
SIZE = 224
CROPS = 100

VALIDATION_LABELS = {"00000008": 415, "00000018": 23, "00000023": 948, "00000067": 101, "00000077": 159, "00000247": 13}
"""ImageNet class of each ILSVRC-2012 validation image that the second package carries."""

TORCHVISION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALIZATION = {"mobilenetv2": TORCHVISION, "resnet18": TORCHVISION, "efficientnet-lite0": ((127 / 255,) * 3, (128 / 255,) * 3)}
"""Mean and deviation per colour that each network was trained with, pixels in 0..1."""

RESAMPLING = {"mobilenetv2": Image.Resampling.BILINEAR, "resnet18": Image.Resampling.BILINEAR, "efficientnet-lite0": Image.Resampling.BICUBIC}
"""How each network's authors resize when they evaluate."""


def _open(raw: bytes) -> Image.Image:
    return Image.open(io.BytesIO(raw)).convert("RGB")


def _squared(image: Image.Image, resampling: Image.Resampling) -> Image.Image:
    """Shorter side to 256, then the middle 224 × 224, as torchvision evaluates."""
    scale = 256 / min(image.size)
    resized = image.resize((round(image.width * scale), round(image.height * scale)), resampling)
    left, top = (resized.width - SIZE) // 2, (resized.height - SIZE) // 2
    return resized.crop((left, top, left + SIZE, top + SIZE))


def _as_input(images: list[Image.Image], model: str) -> np.ndarray:
    """float32 [n, 3, 224, 224], normalised for the model."""
    mean, deviation = NORMALIZATION[model]
    pixels = np.stack([np.asarray(image, np.float32) for image in images]) / 255
    normal = (pixels - np.array(mean, np.float32)) / np.array(deviation, np.float32)
    return np.ascontiguousarray(normal.transpose(0, 3, 1, 2))


def _sources() -> list[tuple[Image.Image, int]]:
    """The labelled images with their ImageNet classes."""
    found = []
    for path in packages.members(*FOOLBOX, "foolbox/data/imagenet_"):
        found.append((_open(packages.member(*FOOLBOX, path)), int(re.findall(r"_(\d+)\.", path)[0])))
    for path in packages.members(*DEMO, "gradio_yolov8_det/img_examples/img_clas/"):
        found.append((_open(packages.member(*DEMO, path)), VALIDATION_LABELS[re.findall(r"val_(\d+)", path)[0]]))
    return found


def labelled(model: str) -> tuple[np.ndarray, np.ndarray]:
    """(images [26, 3, 224, 224], ImageNet classes [26]). Raises packages.Unreachable."""
    sources = _sources()
    return _as_input([_squared(image, RESAMPLING[model]) for image, _ in sources], model), np.array([label for _, label in sources])


def crops(model: str, seed: int = 0) -> np.ndarray:
    """float32 [100, 3, 224, 224]: random squares of 30 to 100 % of the shorter side of the packages' 32 photos. Raises packages.Unreachable."""
    rng = np.random.default_rng(seed)
    scenes = [path for path in packages.members(*DEMO, "gradio_yolov8_det/img_examples/") if "/img_clas/" not in path]
    photos = [_open(packages.member(*DEMO, path)) for path in scenes] + [image for image, _ in _sources()]
    found = []
    for i in range(CROPS):
        photo = photos[i % len(photos)]
        side = int(min(photo.size) * rng.uniform(0.3, 1.0))
        left, top = (int(rng.integers(0, length - side + 1)) for length in photo.size)
        found.append(photo.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), RESAMPLING[model]))
    return _as_input(found, model)
