"""Architectures by name, out of packages that are installed: ``timm:mobilenetv2_100``, ``torchvision:resnet18``."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from ...formats.graph import Dim
from ..errors import described
from ._errors import ArchitectureError
from ._quiet import quiet

LOG = logging.getLogger("thinfer")
LIBRARIES: list[torch.library.Library] = []
"""What defines operators; they go when it goes."""

SIZE = 224
"""Height and width of images where the package says none."""


def module(name: str) -> torch.nn.Module:
    """The architecture of that name, with pretrained weights if they lie on this machine, else with random ones, the same each time.

    Nothing is downloaded. Says on the log which weights it has. Raises ArchitectureError.
    """
    package, _, architecture = name.partition(":")
    _imported(package)
    make = {"timm": _timm, "torchvision": _torchvision}[package]
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made, weights = make(architecture)
    except ArchitectureError:
        raise
    except Exception as error:  # the packages' own code
        raise ArchitectureError(f"{name} cannot be made: {described(error)}") from None
    LOG.warning("%s has %s", name, f"the pretrained weights in {weights}" if weights else
                "random weights: no pretrained ones lie on this machine, and none are fetched")
    return made


def input_shapes(name: str, made: torch.nn.Module) -> Mapping[str, tuple[Dim, ...]]:
    """The shape of the input that the package says the architecture takes."""
    package, _, architecture = name.partition(":")
    if package == "timm":
        return {"x": ("N", *made.pretrained_cfg["input_size"])}
    from torchvision import models

    keywords = _weights_of(models, architecture).transforms.keywords if _weights_of(models, architecture) else {}
    size = keywords.get("crop_size", keywords.get("resize_size", SIZE))
    return {"x": ("N", 3, *(size if isinstance(size, (list, tuple)) and len(size) == 2 else [_only(size)] * 2))}


def _only(size: Any) -> int:
    return int(size[0] if isinstance(size, (list, tuple)) else size)


def _imported(package: str) -> None:
    """Imports the package, or says what is missing."""
    try:
        with quiet():
            try:
                importlib.import_module(package)
            except RuntimeError:  # torchvision's build for GPUs beside torch's for CPUs
                _define_operators()
                importlib.import_module(package)
    except ImportError as error:
        raise ArchitectureError(f"{package}:NAME needs the package {error.name or package}, which is not installed") from None


def _define_operators() -> None:
    """Names the operators that torchvision's own library would bring; making and exporting classifiers needs no more of them."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("timm", "torchvision")]:
        del sys.modules[name]  # they were imported by half
    library = torch.library.Library("torchvision", "FRAGMENT")  # of which there may be several, unlike of whole definitions
    for operator in ("nms", "qnms"):
        with suppress(RuntimeError):  # the process has defined it
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    LIBRARIES.append(library)


def _timm(architecture: str) -> tuple[torch.nn.Module, Path | None]:
    import timm

    if not timm.is_model(architecture):
        raise ArchitectureError(f"timm has no architecture {architecture!r}{_like(architecture, timm.list_models())}")
    made = timm.create_model(architecture, pretrained=False)
    weights = _timm_file(made.pretrained_cfg)
    if weights is not None:
        made = timm.create_model(architecture, pretrained=True, pretrained_cfg_overlay={"file": str(weights)})
    return made, weights


def _timm_file(config: Mapping[str, Any]) -> Path | None:
    """Where an earlier download of pretrained weights lies."""
    if config.get("url"):
        return _downloaded(config["url"])
    if not config.get("hf_hub_id") or importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(config["hf_hub_id"], file) for file in ("model.safetensors", "pytorch_model.bin")]
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _torchvision(architecture: str) -> tuple[torch.nn.Module, Path | None]:
    from torchvision import models

    if architecture not in models.list_models():
        raise ArchitectureError(f"torchvision has no architecture {architecture!r}{_like(architecture, models.list_models())}")
    entry = _weights_of(models, architecture)
    weights = _downloaded(entry.url) if entry is not None else None
    if weights is not None:
        return models.get_model(architecture, weights=entry), weights  # which finds the file where it is
    random = {"weights_backbone": None} if "weights_backbone" in _keywords(models, architecture) else {}
    return models.get_model(architecture, weights=None, **random), None


def _keywords(models: Any, architecture: str) -> set[str]:
    return set(inspect.signature(models.get_model_builder(architecture)).parameters)


def _weights_of(models: Any, architecture: str) -> Any:
    """The first entry of the architecture's pretrained weights, which also says what images it takes; None if it has none."""
    return next(iter(models.get_model_weights(architecture)), None)


def _downloaded(url: str) -> Path | None:
    """The file that torch keeps of an earlier download, if there is one."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    return file if file.is_file() else None


def _like(architecture: str, names: list[str]) -> str:
    """A hint at names that resemble the one given."""
    close = difflib.get_close_matches(architecture, names, 3)
    return f"; it has {', '.join(close)}" if close else ""
