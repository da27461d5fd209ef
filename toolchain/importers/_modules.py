"""torch modules out of files: pickled ones, TorchScript, state dicts as pickles or safetensors with an architecture of the user's."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...formats.errors import ThinferError
from ..errors import described, first_line
from . import _zoo
from ._errors import ArchitectureError, UnreadableModel, UnsupportedModel, UntrustedModel
from ._files import entries, first_bytes, is_name, is_safetensors, refuse_arch
from ._quiet import quiet

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which checkpoints keep their state dict."""

DAMAGED = "it is truncated or damaged, or a pickle of something else"

@contextlib.contextmanager
def _current_directory_importable() -> Iterator[None]:
    """Lets a model's own code be imported from where the user stands."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def read_module(file: Path, trust_pickle: bool, arch: str | None) -> torch.nn.Module:
    """The module in eval mode that the file holds, that ``arch`` makes for its state dict, or that has its name. Raises ModelError."""
    if is_name(file):
        refuse_arch(file, arch, "an architecture's name")
        return _zoo.module(str(file)).eval()
    start = first_bytes(file)
    if start.startswith(b"PK") and is_torchscript(file):
        refuse_arch(file, arch, "a TorchScript archive")
        return _scripted(file).eval()
    found = _safetensors(file) if is_safetensors(start) else _unpickled(file, trust_pickle)
    if isinstance(found, Mapping):
        found = next((found[key] for key in WRAPPERS if isinstance(found.get(key), (Mapping, torch.nn.Module))), found)
    if isinstance(found, Mapping):
        return _with_state(found, file, arch).eval()
    if not isinstance(found, torch.nn.Module):
        raise UnsupportedModel(f"{file} holds a {type(found).__name__}, neither a torch module nor a state dict")
    refuse_arch(file, arch, "a whole module")
    return found.eval()


def is_torchscript(file: Path) -> bool:
    """Whether the archive holds a program of TorchScript, and is none of torch.export."""
    found = entries(file)
    return any(name.startswith("code/") for name in found) and "archive_format" not in found


def _scripted(file: Path) -> torch.nn.Module:
    try:
        with quiet():
            found: torch.nn.Module = torch.jit.load(file, map_location="cpu")
    except Exception:  # torch raises many kinds here, which speak of its own insides
        raise UnreadableModel(f"{file} is no whole TorchScript archive: it is truncated or damaged, or of another version of torch") from None
    return found


def _safetensors(file: Path) -> dict[str, torch.Tensor]:
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise UnreadableModel(f"{file} is no whole safetensors file: {first_line(error)}") from None


def _unpickled(file: Path, trust_pickle: bool) -> Any:
    try:
        with quiet():
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" not in str(error).lower() and "class" not in str(error).lower():
            raise UnreadableModel(f"{file} is no whole torch file: {DAMAGED}") from None
        if not trust_pickle:
            raise UntrustedModel(f"{file} is a pickle with more than tensors in it, so that loading it runs code from it; "
                                 "if you trust where it comes from, allow that with --trust-pickle") from None
    except Exception:  # a damaged archive can fail in any way
        raise UnreadableModel(f"{file} is no whole torch file: {DAMAGED}") from None
    try:
        with quiet(), _current_directory_importable():
            return torch.load(file, map_location="cpu", weights_only=False)
    except (Exception, SystemExit) as error:  # unpickling runs any code
        raise UnreadableModel(f"{file} cannot be unpickled: {described(error)}") from None


def _with_state(state: Mapping[str, Any], file: Path, arch: str | None) -> torch.nn.Module:
    """The module that ``arch`` makes, with the weights of ``state``."""
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UnsupportedModel(f"{file} holds a dictionary, but not one of tensors only as a state dict is")
    if arch is None:
        raise ArchitectureError(f"{file} is a state dict, which has weights but no architecture; "
                                "name a function that makes the module with --arch package.module:factory")
    module = _made_by(arch)
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    own = module.state_dict()
    given = {key[len(prefix):]: value for key, value in state.items()}
    wrong = ([f"{key} is lacking" for key in own if key not in given and not key.endswith("num_batches_tracked")]
             + [f"{key} is not in it" for key in given if key not in own]
             + [f"{key} is {tuple(value.shape)} instead of {tuple(own[key].shape)}" for key, value in given.items()
                if key in own and own[key].shape != value.shape])
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ArchitectureError(f"the state dict in {file} does not fit {arch}: {', '.join(wrong[:3])}{more}")
    module.load_state_dict(given, strict=False)
    return module


def _made_by(arch: str) -> torch.nn.Module:
    module_name, colon, factory_name = arch.partition(":")
    if not (module_name and colon and factory_name):
        raise ArchitectureError(f"the architecture {arch!r} does not have the form package.module:factory")
    try:
        with quiet(), _current_directory_importable():
            factory = getattr(importlib.import_module(module_name), factory_name, None)
            if factory is None:
                raise ArchitectureError(f"the architecture's module {module_name} has no {factory_name!r}")
            made = factory()
    except ThinferError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code
        raise ArchitectureError(f"the architecture {arch} cannot be made: {described(error)}") from None
    if not isinstance(made, torch.nn.Module):
        raise ArchitectureError(f"the architecture {arch} makes a {type(made).__name__}, not a torch module")
    return made


