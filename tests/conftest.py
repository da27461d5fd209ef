"""Shared by all tests. A run of the whole suite names the lines of kernels.inc that can run here and were part of no engine that a test made;
with THINFER_KERNEL_COVERAGE=1 it fails if there are any."""

from __future__ import annotations

import gc
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

from typing import Any

import numpy as np
import pytest
from kernel_record import recorded, rows

RECORD = pytest.StashKey[Any]()
TESTED = pytest.StashKey[Any]()
UNTESTED = pytest.StashKey[Any]()
STATES = pytest.StashKey[list[tuple[Any, Any]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RECORD] = record = recorded()
    config.stash[TESTED] = record.__enter__()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[RECORD].__exit__(None, None, None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Modules of tests draw from a generator of their own, RNG: what each state is now, every test of theirs begins with."""
    generators = (vars(module).get("RNG") for name, module in list(sys.modules.items()) if name.startswith("test_"))
    gc.freeze()  # thousands of tests, which collections need not look at
    session.config.stash[STATES] = [(one.bit_generator, one.bit_generator.state) for one in generators if isinstance(one, np.random.Generator)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """So that what a test draws does not hang on which tests ran before it in its process."""
    for generator, state in item.config.stash[STATES]:
        generator.state = state


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A process of pytest-xdist has ended."""
    node.config.stash[TESTED].update(map(tuple, getattr(node, "workeroutput", {}).get("kernels", ())))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config, tested = session.config, session.config.stash[TESTED]
    if hasattr(config, "workeroutput"):
        config.workeroutput["kernels"] = sorted(tested)
        return
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword and not config.option.collectonly
    if whole and exitstatus == pytest.ExitCode.OK and (missing := sorted(rows() - tested)):
        config.stash[UNTESTED] = missing
        if os.environ.get("THINFER_KERNEL_COVERAGE") == "1":
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for kernel, level in config.stash.get(UNTESTED, ()):
        terminalreporter.write_line(f"kernels.inc: no test ran {kernel} at {level}", red=True)
