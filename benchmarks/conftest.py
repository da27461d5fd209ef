"""Says in pytest-benchmark's JSON what it was measured on."""

from __future__ import annotations

from typing import Any

import pytest
from thinfer.benchmarks.environment import describe


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["thinfer"] = describe() | {"command": "pytest benchmarks"}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Without every single run's time, of which there are millions."""
    for entry in output_json["benchmarks"]:
        entry["stats"].pop("data", None)
