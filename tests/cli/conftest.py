"""A small net, the same packed, and inputs for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import small_net, works


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_net(tmp_path_factory.mktemp("nets"))


@pytest.fixture(scope="module")
def thin(net: Path) -> Path:
    path = net.with_name("packed.thin")
    recipe = net.with_name("packed.yaml")
    recipe.write_text("prune_weights: {quality: 0.8}\nvalues: {kind: codebook, bits: 4}\ncoder: huffman\nbiases: {values: fp16}\n")
    works("pack", net, "-o", path, "--recipe", recipe)
    return path


@pytest.fixture(scope="module")
def images(net: Path) -> Path:
    path = net.with_name("images.npz")
    np.savez(path, image=np.random.default_rng(5).standard_normal((40, 3, 16, 16), dtype=np.float32))
    return path
