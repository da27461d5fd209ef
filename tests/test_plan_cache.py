"""Kept plans: the same bits as plans that are made, and whatever is wrong with a cache file is as if there were none."""

from __future__ import annotations

import gc
import json
import marshal
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from test_session import image, needs_native, small_cnn
from thinfer import runtime
from thinfer.formats.checksum import crc32
from thinfer.formats.errors import ThinferError
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.formats.writer import write
from thinfer.kernels import isa
from thinfer.runtime import plan_cache, shapes, stage
from thinfer.runtime.model_file import ModelFile
from thinfer.toolchain import recipe as recipes
from thinfer.toolchain.pipeline import compress

pytestmark = needs_native


def feeds_of(graph: Graph, **lengths: int) -> dict[str, np.ndarray]:
    """Random, the same for the same graph and lengths."""
    rng = np.random.default_rng(3)
    return {info.name: rng.standard_normal([lengths.get(dim, 1) if isinstance(dim, str) else dim for dim in info.shape]).astype(info.dtype)
            for info in graph.inputs}


def is_kept(session: runtime.Session) -> bool:
    return all(isinstance(plan, stage.KeptPlan) for plan in session._plans.values()) and len(session._plans) > 0


def assert_same(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes(), name


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.thin"
    write(small_cnn(), path)
    return path


def only_file(folder: Path) -> Path:
    path, = folder.iterdir()
    return path


def mlp(length: int | str = "rows") -> Graph:
    """Two products of fp32 with what lies between them; its input has a length of its own."""
    rng = np.random.default_rng(1)
    weights = {"w": EncodedTensor.dense(rng.standard_normal((24, 40)).astype(np.float32)),
               "v": EncodedTensor.dense(rng.standard_normal((40, 7)).astype(np.float32))}
    nodes = (Node("MatMul", ("x", "w"), ("a",)), Node("Relu", ("a",), ("b",)), Node("MatMul", ("b", "v"), ("y",)))
    return Graph((ValueInfo("x", "float32", (length, 24)),), (ValueInfo("y", "float32", (length, 7)),), nodes, weights)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("recipe", ["dense", "codebook-4", "windowed", "int8"])
def test_the_same_bits_for_every_encoding(recipe: str, threads: int, tmp_path: Path) -> None:
    pytest.importorskip("yaml")  # recipes are written in it
    graph = small_cnn()
    path, cache = tmp_path / "model.thin", tmp_path / "plans"
    write(compress(graph, recipes.load(recipe), calibration={"x": image(8)}), path)
    feeds = feeds_of(graph)
    wanted = runtime.load(path, threads=threads).run(feeds)
    first = runtime.load(path, threads=threads, cache=cache)
    assert not is_kept(first)
    assert_same(first.run(feeds), wanted)
    kept = runtime.load(path, threads=threads, cache=cache)
    assert is_kept(kept)
    for _ in range(2):
        assert_same(kept.run(feeds), wanted)
    assert_same(kept.bind(feeds)(), wanted)
    assert kept.weight_memory() == first.weight_memory()
    assert (kept.inputs, kept.outputs) == (first.inputs, first.outputs)
    assert [row.kernels for row in kept.profile(feeds)] == [row.kernels for row in first.profile(feeds)]


def test_what_plans_is_not_imported(model: Path, tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys, numpy as np
        from thinfer import runtime
        session = runtime.load(sys.argv[1], cache=sys.argv[2])
        session.run({"x": np.zeros((1, 3, 17, 17), np.float32)})
        print(not sys.modules.keys().isdisjoint(["thinfer.runtime.plan", "thinfer.kernels.ops", "thinfer.formats.reader"]))
    """)
    said = [subprocess.run([sys.executable, "-c", code, model, tmp_path / "plans"], check=True, capture_output=True, text=True).stdout.strip()
            for _ in range(2)]
    assert said == ["True", "False"]


def test_sessions_are_freed_without_looking_for_cycles(model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        session = runtime.load(model, cache=tmp_path / "plans")
        session.run({"x": image()})
        held = weakref.ref(session._weights)
        gc.collect()
        gc.disable()
        try:
            del session
            assert held() is None
        finally:
            gc.enable()


def test_the_folder_that_the_environment_names(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.load(model)
    assert [path.name for path in tmp_path.iterdir()] == ["model.thin"]  # off unless asked for
    monkeypatch.setenv("THINFER_PLANS", str(tmp_path / "a/b"))
    runtime.load(model)
    assert is_kept(runtime.load(model))
    runtime.load(model, backend="numpy")
    assert only_file(tmp_path / "a/b").suffix == ".plans"


def test_files_are_their_owners(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "plans"
    runtime.load(model, cache=cache)
    assert cache.stat().st_mode & 0o777 == 0o700
    path = only_file(cache)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o620)  # somebody else may have written it
    assert not is_kept(runtime.load(model, cache=cache))
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_kept(runtime.load(model, cache=cache))


def test_damage_in_every_region(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "plans"
    feeds = feeds_of(small_cnn())
    wanted = runtime.load(model, cache=cache).run(feeds)
    path = only_file(cache)
    whole = path.read_bytes()
    length, settings = int.from_bytes(whole[12:16], "little"), f"{isa.selected()}; 1 threads; costs []"
    assert plan_cache.PlanCache(cache, ModelFile(model), settings).plans
    places = {*range(24), *range(24, 24 + length, 97), *range(24 + length, len(whole), 911), len(whole) - 1}
    for place in sorted(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert not plan_cache.PlanCache(cache, ModelFile(model), settings).plans, place
    for cut in (0, 1, 23, 24, 24 + length // 2, 24 + length, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        session = runtime.load(model, cache=cache)
        assert not is_kept(session)
        assert_same(session.run(feeds), wanted)
        assert path.read_bytes() == whole  # replaced
    path.write_bytes(whole + b"\0")
    assert not is_kept(runtime.load(model, cache=cache))
    assert is_kept(runtime.load(model, cache=cache))


def described(whole: bytes, change: Mapping[str, object]) -> bytes:
    """The cache file with another description and sums that are right."""
    length = int.from_bytes(whole[12:16], "little")
    start = -(-(24 + length) // 64) * 64
    description = marshal.dumps(marshal.loads(whole[24:24 + length]) | change, 2)
    rest = description + bytes(-(24 + len(description)) % 64) + whole[start:]
    tail = len(description).to_bytes(4, "little") + (24 + len(rest)).to_bytes(8, "little") + rest
    return whole[:8] + crc32(tail).to_bytes(4, "little") + tail


def test_descriptions_that_are_foreign(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "plans"
    wanted = runtime.load(model, cache=cache).run(feeds_of(small_cnn()))
    path = only_file(cache)
    whole = path.read_bytes()
    found = marshal.loads(whole[24:24 + int.from_bytes(whole[12:16], "little")])
    path.write_bytes(described(whole, {}))
    assert is_kept(runtime.load(model, cache=cache))  # so it is the change that counts
    used = dict(found["files"])
    used[next(iter(used))] = [1, 1]
    plan = found["plans"][0]
    changes: list[dict[str, object]] = [
        {"settings": "another"}, {"nbytes": 1}, {"files": used}, {"files": {str(tmp_path / "gone.py"): [1, 1]}}, {"files": None}, {"arrays": []},
        {"arrays": [[0, 1 << 60]] * len(found["arrays"])}, {"arrays": [[-5, 5]] * len(found["arrays"])}, {"inputs": 3}, {"inputs": [["x"]]},
        {"plans": [{**plan, "weights": [10 ** 9]}]}, {"plans": [{**plan, "kernels": ["no_such"] * len(plan["kernels"])}]},
        {"plans": [{**plan, "arena_bytes": -1}]}, {"plans": [{**plan, "arena_bytes": 0}]}, {"plans": [{**plan, "outputs": []}]},
        {"plans": [{**plan, "code": plan["weights"][0]}]}, {"plans": [{**plan, "weights": []}]}, {"plans": [{**plan, "more": 1}]}, {"plans": [{}]},
    ]
    for change in changes:
        path.write_bytes(described(whole, change))
        session = runtime.load(model, cache=cache)
        assert not is_kept(session), change
        assert_same(session.run(feeds_of(small_cnn())), wanted)
        assert is_kept(runtime.load(model, cache=cache)), change  # it was replaced


def test_a_changed_model_under_the_same_name(tmp_path: Path) -> None:
    path, cache = tmp_path / "model.thin", tmp_path / "plans"
    graph = mlp(3)
    feeds = feeds_of(graph)
    seen = []
    for factor in (1.0, 2.0):
        weights = {name: EncodedTensor.dense(tensor.decode() * np.float32(factor)) for name, tensor in graph.weights.items()}
        write(Graph(graph.inputs, graph.outputs, graph.nodes, weights), path)
        for kept in (False, True):
            session = runtime.load(path, cache=cache)
            assert is_kept(session) == kept
            seen.append(session.run(feeds)["y"])
    assert (seen[0] == seen[1]).all()
    assert (seen[2] == 4 * seen[0]).all()
    assert (seen[3] == seen[2]).all()


def test_another_way_of_running_has_plans_of_its_own(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, feeds = tmp_path / "plans", feeds_of(small_cnn())
    ways = [(level, threads) for level in isa.levels() for threads in (1, 2)]
    for level, threads in ways:
        monkeypatch.setenv("THINFER_ISA", level)
        wanted = runtime.load(model, threads=threads).run(feeds)
        for kept in (False, True):
            session = runtime.load(model, threads=threads, cache=cache)
            assert is_kept(session) == kept
            assert session.isa == level
            assert_same(session.run(feeds), wanted)
    assert len(list(cache.iterdir())) == len(ways)
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({"thinfer costs": 0, "isa": isa.selected(), "device": "", "factors": {"gemm_f32": 2.0}}))
    assert not is_kept(runtime.load(model, threads=2, costs=costs, cache=cache))
    assert is_kept(runtime.load(model, threads=2, costs=costs, cache=cache))


def test_several_shapes(tmp_path: Path) -> None:
    path, cache = tmp_path / "model.thin", tmp_path / "plans"
    graph = mlp()
    write(graph, path)
    wanted = {n: runtime.load(path).run(feeds_of(graph, rows=n)) for n in range(1, 14)}
    session = runtime.load(path, cache=cache)
    for n in (5, 1, 12, 5):
        assert_same(session.run(feeds_of(graph, rows=n)), wanted[n])
    again = runtime.load(path, cache=cache)
    for n in (12, 1, 5):
        assert_same(again.run(feeds_of(graph, rows=n)), wanted[n])
        assert is_kept(again)
    for n in range(1, 14):
        assert_same(again.run(feeds_of(graph, rows=n)), wanted[n])
    last = runtime.load(path, cache=cache)
    assert len(last._planner._cache.plans) == plan_cache.MOST_PLANS  # type: ignore[union-attr]
    size = only_file(cache).stat().st_size
    weights = sum(entry["nbytes"] for entry in last.weight_memory().values())
    assert size < 2 * weights + 300_000  # which all plans share
    with pytest.raises(runtime.InputError):
        last.run({"x": np.zeros((2, 23), np.float32)})


def test_nets_with_steps_in_python_are_planned_anew(tmp_path: Path) -> None:
    """Plans of more than one native segment are not kept, and run all the same."""
    path, cache = tmp_path / "model.thin", tmp_path / "plans"
    graph = mlp(3)
    nodes = (*graph.nodes[:2], Node("Det", ("d",), ("e",)), Node("MatMul", ("b", "v"), ("y",)))
    mixed = Graph((*graph.inputs, ValueInfo("d", "float32", (4, 4))), (*graph.outputs, ValueInfo("e", "float32", ())), nodes, graph.weights)
    write(mixed, path)
    wanted = runtime.load(path).run(feeds_of(mixed))
    for _ in range(2):
        session = runtime.load(path, cache=cache)
        assert not is_kept(session)
        assert_same(session.run(feeds_of(mixed)), wanted)
    assert not cache.exists()


def test_folders_that_cannot_be_written_are_no_error(model: Path, tmp_path: Path) -> None:
    feeds = feeds_of(small_cnn())
    wanted = runtime.load(model).run(feeds)
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    for folder in (blocked, blocked / "below", Path("/proc/plans")):
        assert_same(runtime.load(model, cache=folder).run(feeds), wanted)
    assert blocked.read_bytes() == b""


def test_files_that_went_away_are_no_error(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade may remove a module that runs, and an application in one file has none."""
    monkeypatch.setattr(shapes, "__file__", str(tmp_path / "gone.py"))
    feeds = feeds_of(small_cnn())
    assert_same(runtime.load(model, cache=tmp_path / "plans").run(feeds), runtime.load(model).run(feeds))
    assert not (tmp_path / "plans").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_the_place_of_the_file_is_ignored(model: Path, tmp_path: Path) -> None:
    cache, feeds = tmp_path / "plans", feeds_of(small_cnn())
    runtime.load(model, cache=cache).run(feeds)
    path = only_file(cache)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert not is_kept(runtime.load(model, cache=cache))


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root may become somebody else")
def test_what_another_user_wrote_is_ignored(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "plans"
    runtime.load(model, cache=cache)
    os.chown(only_file(cache), 12345, 12345)
    assert not is_kept(runtime.load(model, cache=cache))


def test_a_damaged_model_is_found_where_its_plan_is_not_kept(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "plans"
    damaged = bytearray(model.read_bytes())
    damaged[-1] ^= 1
    path = tmp_path / "damaged.thin"
    path.write_bytes(damaged)
    with pytest.raises(ThinferError, match="CRC-32"):
        runtime.load(path, cache=cache)
    assert not cache.exists()
    path.write_bytes(model.read_bytes()[:-1])
    runtime.load(model, cache=cache)
    with pytest.raises(ThinferError, match="ends too early"):  # its size is another
        runtime.load(path, cache=cache)


def test_processes_that_write_at_once(model: Path, tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys, numpy as np
        from thinfer import runtime
        for _ in range(20):
            session = runtime.load(sys.argv[1], cache=sys.argv[2])
            path = session._planner._cache.path
            session.run({"x": np.ones((1, 3, 17, 17), np.float32)})
            session._planner._cache._write()
    """)
    cache = tmp_path / "plans"
    running = [subprocess.Popen([sys.executable, "-c", code, model, cache]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert only_file(cache).suffix == ".plans"  # and nothing half-written
    assert is_kept(runtime.load(model, cache=cache))
