"""The engine and its pool of threads under ThreadSanitizer."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ["tests/native/stress.cpp", "runtime/native/arenas.cpp", "runtime/native/engine.cpp", "runtime/native/pool.cpp"]


def build(target: Path, *flags: str) -> None:
    subprocess.run(["g++", "-std=c++17", "-O1", "-g", "-pthread", *flags, "-I", "kernels/native", *SOURCES, "-o", str(target)], check=True, cwd=ROOT)


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_many_threads_run_one_engine(sanitizer: str, tmp_path: Path) -> None:
    build(tmp_path / "stress", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all")
    done = subprocess.run(["setarch", "-R", str(tmp_path / "stress")], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout.strip() == "no race"


BARRIER = """
void ThreadPool::barrier() {
  const bool is_last = arrived_.fetch_add(1, std::memory_order_relaxed) % threads() == threads() - 1;
  if (is_last) phase_.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace thinfer
"""
SABOTAGE = {  # file → what of it is replaced up to the other end, and by what
    "pool.cpp": ("void ThreadPool::barrier() {", None, BARRIER),
    "engine.cpp": ("if (!apart && ", "steps_.back().waits = false", "if (!steps_.empty() && steps_.back().lane != SHARED) "),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_race_would_be_found(name: str, tmp_path: Path) -> None:
    """The same program with barriers that wait for nobody, or lanes that nobody waits for, must fail, or the test above shows nothing."""
    source = (ROOT / "runtime/native" / name).read_text()
    first, last, instead = SABOTAGE[name]
    start = source.index(first)
    end = source.index(last, start) if last else len(source)
    changed = source[:start] + instead + source[end:]
    (tmp_path / name).write_text(re.sub(r'#include "(\w+\.h)"', rf'#include "{ROOT}/runtime/native/\1"', changed))
    target = tmp_path / "racy"
    sources = [tmp_path / name if source.endswith(name) else ROOT / source for source in SOURCES]
    subprocess.run(["g++", "-std=c++17", "-O1", "-g", "-pthread", "-fsanitize=thread", "-I", "kernels/native", *map(str, sources), "-o", str(target)],
                   check=True, cwd=ROOT)
    done = subprocess.run(["setarch", "-R", str(target)], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "data race" in done.stderr or "wrong results" in done.stdout
