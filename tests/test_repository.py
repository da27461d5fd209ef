"""The rules that hold the repository together: who may import whom, and what an install looks like."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = ("formats", "kernels", "runtime", "toolchain", "benchmarks")
DEVICE = ("formats", "kernels", "runtime")


def python_files(top: str) -> list[Path]:
    return sorted((ROOT / top).rglob("*.py"))


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import statement of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.level, node.module)] if node.module else [(node.level, alias.name) for alias in node.names]
    return found


def sibling_of(path: Path, level: int, module: str) -> str | None:
    """The top-level folder that a relative import reaches, if it leaves its own."""
    package = path.relative_to(ROOT).parent.parts
    depth = len(package) - (level - 1)
    return module.split(".")[0] if depth == 0 else None


@pytest.mark.parametrize("top", ORDER)
def test_imports_go_one_way(top: str) -> None:
    allowed = set(ORDER[: ORDER.index(top)])
    for path in python_files(top):
        for level, module in imports(path):
            if level and (reached := sibling_of(path, level, module)) is not None:
                assert reached in allowed, f"{path} imports {reached}"


@pytest.mark.parametrize("top", DEVICE)
def test_the_device_needs_numpy_alone(top: str) -> None:
    for path in python_files(top):
        for level, module in imports(path):
            name = module.split(".")[0]
            optional = name == "numba" and "numba" in (path.parent.name, path.stem)  # the files of that backend
            assert level or name == "numpy" or name in sys.stdlib_module_names or optional, f"{path} imports {name}"


def test_running_a_model_imports_numpy_alone() -> None:
    """What a fresh process loads for the runtime, the standard library and Thinfer itself left out."""
    script = ("import sys; before = set(sys.modules); import thinfer.runtime; "
              "print(*{m.split('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names))")
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/").stdout.split()
    assert set(found) <= {"thinfer", "numpy"}


def test_no_second_copy_under_a_bare_name() -> None:
    """From the root, ``import formats`` would silently make a second copy of every class."""
    import thinfer.benchmarks
    import thinfer.runtime
    import thinfer.toolchain  # noqa: F401

    own = {str(path) for top in ORDER for path in (ROOT / top).glob("__init__.py")}
    for name, module in list(sys.modules.items()):
        if name in ORDER:
            assert getattr(module, "__file__", None) not in own, f"{name} was imported without its namespace"


def test_numba_is_imported_only_when_it_is_chosen() -> None:
    code = ("import sys; from thinfer import runtime; from thinfer.formats.graph import Graph, ValueInfo, Node; "
            "x = ValueInfo('x', 'float32', (1,)); y = ValueInfo('y', 'float32', (1,)); "
            "runtime.load(Graph((x,), (y,), (Node('Relu', ('x',), ('y',)),), {})); print('numba' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "False"
