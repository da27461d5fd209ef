"""The engine and its pool of threads under ThreadSanitizer."""

from __future__ import annotations

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


def test_a_race_would_be_found(tmp_path: Path) -> None:
    """The same program with barriers that wait for nobody must fail, or the test above shows nothing."""
    source = (ROOT / "runtime/native/pool.cpp").read_text()
    start = source.index("void ThreadPool::barrier() {")
    (tmp_path / "pool.cpp").write_text(source[:start].replace('"pool.h"', f'"{ROOT}/runtime/native/pool.h"') + """
void ThreadPool::barrier() {
  const bool is_last = arrived_.fetch_add(1, std::memory_order_relaxed) % threads() == threads() - 1;
  if (is_last) phase_.fetch_add(1, std::memory_order_relaxed);
}
}  // namespace thinfer
""")
    target = tmp_path / "racy"
    sources = [tmp_path / "pool.cpp" if name.endswith("pool.cpp") else ROOT / name for name in SOURCES]
    subprocess.run(["g++", "-std=c++17", "-O1", "-g", "-pthread", "-fsanitize=thread", "-I", "kernels/native", *map(str, sources), "-o", str(target)],
                   check=True, cwd=ROOT)
    done = subprocess.run(["setarch", "-R", str(target)], capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "data race" in done.stderr or "wrong results" in done.stdout
