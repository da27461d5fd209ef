"""Real weights from a file to answers, with NumPy alone: LeNet-5 of examples/lenet, packed once (``toolchain pack examples/lenet/lenet5.pt2
--recipe RECIPE``, calibrated on digits 500 to 699), on digits that its training has not seen. Runs on every board (tools/arm/test.sh)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from thinfer import runtime
from thinfer.kernels import isa

TESTS = Path(__file__).resolve().parent
DIGITS = TESTS.parent / "examples/lenet/digits.npz"
COUNT = 100
WRONG = {"deep-compression": 0, "codebook-4-int8": 0}
"""Of the first 100 digits."""


@pytest.mark.parametrize("recipe", WRONG)
def test_lenet5_reads_digits(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(DIGITS, allow_pickle=False) as file:
        feeds, labels = {"image": file["images"][:COUNT, None].astype(np.float32) / 255}, file["labels"][:COUNT]
    path = TESTS / f"golden/digits-{recipe}.thin"
    (expected,) = runtime.load(path, backend="numpy").run(feeds).values()
    assert (expected.argmax(1) != labels).sum() == WRONG[recipe]
    for level in isa.levels():
        monkeypatch.setenv("THINFER_ISA", level)
        for threads in (1, 2):
            (found,) = runtime.load(path, backend="native", threads=threads).run(feeds).values()
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()), err_msg=level)
