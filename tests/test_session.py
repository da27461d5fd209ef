"""Sessions: what ``run`` checks, plan cache, threads, allocation, mixed segments, memory of weights."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from graphs import encode, error, reference
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor
from thinfer.kernels import isa

BACKENDS = ["numpy", *(["numba"] if find_spec("numba") else []), *(["native"] if isa.native() else [])]
needs_native = pytest.mark.skipif(isa.native() is None, reason="no compiled kernels in this install")


def dense(*shape: int, seed: int = 0) -> EncodedTensor:
    return EncodedTensor.dense(np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32))


def small_cnn(kind: str = "fp32") -> Graph:
    """Conv, Relu, depthwise Conv, residual Add, pool, Flatten, Gemm, with a symbolic batch."""
    weights = {
        "c1.weight": encode(dense(16, 3, 3, 3).decode(), kind), "c1.bias": dense(16, seed=1), "dw.weight": dense(16, 1, 3, 3, seed=2),
        "c2.weight": encode(dense(16, 16, 1, 1).decode(), kind, seed=3), "fc.weight": encode(dense(10, 16).decode(), kind, seed=4),
        "fc.bias": dense(10, seed=5)}
    pads = {"pads": (1, 1, 1, 1)}
    nodes = (
        Node("Conv", ("x", "c1.weight", "c1.bias"), ("a",), {**pads, "strides": (2, 2)}), Node("Relu", ("a",), ("b",)),
        Node("Conv", ("b", "dw.weight"), ("c",), {**pads, "group": 16}), Node("Conv", ("c", "c2.weight"), ("d",)),
        Node("Add", ("d", "b"), ("e",)), Node("Sigmoid", ("e",), ("f",)), Node("GlobalAveragePool", ("f",), ("g",)),
        Node("Flatten", ("g",), ("h",)), Node("Gemm", ("h", "fc.weight", "fc.bias"), ("y",), {"transB": 1}))
    return Graph((ValueInfo("x", "float32", ("N", 3, 17, 17)),), (ValueInfo("y", "float32", ("N", 10)),), nodes, weights)


def misaligned(array: np.ndarray) -> np.ndarray:
    """The same, one byte behind an address that its elements may begin at."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    memory[:] = array.reshape(-1).view(np.uint8)
    return memory.view(array.dtype).reshape(array.shape)


def image(batch: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(batch, 3, 17, 17)).astype(np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["fp32", "fp16", "codebook4", "sparse fp32", "sparse codebook4", "4:16 codebook4", "4x4 affine4-block", "ternary",
                                  "binary"])
def test_whole_net(backend: str, kind: str) -> None:
    graph = small_cnn(kind)
    session = runtime.load(graph, backend=backend)
    for batch in (1, 3):
        feeds = {"x": image(batch)}
        assert error(session.run(feeds)["y"], reference(graph, feeds)["y"]) < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_ways_to_run(backend: str) -> None:
    session = runtime.load(small_cnn(), backend=backend)
    x = image()
    by_name = session.run({"x": x})["y"]
    np.testing.assert_array_equal(session(x), by_name)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], by_name)
    np.testing.assert_array_equal(session.run(["y"], {"x": x})[0], by_name)
    assert [info.name for info in session.inputs] == ["x"]
    assert session.inputs[0].shape == ("N", 3, 17, 17)


@pytest.mark.parametrize(("feeds", "said"), [
    ({}, "'x' is missing"), ({"z": image()}, "no input 'z'"), ({"x": image().astype(np.float64)}, "float64; the model takes float32"),
    ({"x": image()[0]}, r"shape \(3, 17, 17\); the model takes \[N, 3, 17, 17\]"), ([1], "must be a dict"),
    ({"x": image()[:, :2]}, r"the model takes \[N, 3, 17, 17\]")])
def test_wrong_feeds_say_what_was_expected(feeds: object, said: str) -> None:
    with pytest.raises(runtime.InputError, match=said):
        runtime.load(small_cnn()).run(feeds)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_feeds_may_begin_at_any_address(backend: str) -> None:
    session, x = runtime.load(small_cnn(), backend=backend), image()
    np.testing.assert_array_equal(session.run({"x": misaligned(x)})["y"], session.run({"x": x})["y"])


def test_wrong_output_backend_and_threads() -> None:
    session = runtime.load(small_cnn())
    with pytest.raises(runtime.InputError, match="no output 'q'; the model's outputs are y"):
        session.run(["q"], {"x": image()})
    with pytest.raises(runtime.BackendError, match="no backend 'cuda'; there are native, numba, numpy"):
        runtime.load(small_cnn(), backend="cuda")
    with pytest.raises(runtime.BackendError, match="whole number from 1"):
        runtime.load(small_cnn(), threads=0)


@pytest.mark.parametrize("model", [None, 3, b"THIN"])
def test_no_model_at_all(model: object) -> None:
    with pytest.raises(TypeError, match=rf"path of a \.thin file or a Graph, not {type(model).__name__}"):
        runtime.load(model)  # type: ignore[arg-type]


def test_all_unsupported_operators_at_once() -> None:
    graph = Graph((ValueInfo("x", "float32", (1,)),), (ValueInfo("z", "float32", (1,)),),
                  (Node("Frob", ("x",), ("y",), name="first"), Node("Grok", ("y",), ("z",), name="second")))
    with pytest.raises(runtime.UnsupportedOps, match=r"2 operators are not supported: Frob \(first\); Grok \(second\)"):
        runtime.load(graph)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("op", "dtype"), [("Identity", "float32"), ("Identity", "int64"), ("Flatten", "float32"), ("Flatten", "int64")])
def test_outputs_are_the_callers_own(backend: str, op: str, dtype: str) -> None:
    graph = Graph((ValueInfo("x", dtype, (2, 3)),), (ValueInfo("y", dtype, (2, 3)), ValueInfo("z", dtype, (2, 3))),
                  (Node(op, ("x",), ("y",)), Node(op, ("y",), ("z",))))
    x = np.arange(6).reshape(2, 3).astype(dtype)
    got = runtime.load(graph, backend=backend).run({"x": x})
    for array in got.values():
        np.testing.assert_array_equal(array, x)
        assert not np.shares_memory(array, x)


@needs_native
def test_one_native_segment() -> None:
    """The planner finds a native kernel for all of the net, and the Relu is no step of its own."""
    session = runtime.load(small_cnn(), backend="native")
    plan = session._plan(((1, 3, 17, 17),))
    assert len(plan.stages) == 1
    segment = plan.segments[0]
    assert "Relu" not in [unit.site.node.op for unit in segment.units]  # type: ignore[union-attr]


@needs_native
def test_mixed_segments() -> None:
    """Nodes without a native kernel (here: float64 in the middle) run in NumPy between native segments."""
    nodes = (Node("Relu", ("x",), ("a",)), Node("Cast", ("a",), ("b",), {"to": 11}), Node("Tanh", ("b",), ("c",)),
             Node("Cast", ("c",), ("d",), {"to": 1}), Node("Sigmoid", ("d",), ("y",)))
    graph = Graph((ValueInfo("x", "float32", (2, 5)),), (ValueInfo("y", "float32", (2, 5)), ValueInfo("a", "float32", (2, 5))), nodes)
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)}
    got = runtime.load(graph, backend="native").run(feeds)
    expected = runtime.load(graph, backend="numpy").run(feeds)
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-6)


def test_plans_are_bounded_and_share_weights() -> None:
    session = runtime.load(small_cnn("codebook4"))
    before = session.weight_memory()
    for batch in range(1, 30):
        session.run({"x": image(batch)})
    assert len(session._plans) <= 8
    assert {name: entry["nbytes"] for name, entry in session.weight_memory().items()} == {
        name: entry["nbytes"] for name, entry in before.items()}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_session_from_several_threads(threads: int) -> None:
    session = runtime.load(small_cnn("codebook4"), threads=threads)
    batches = [image(1 + i % 3, seed=i) for i in range(12)]
    expected = [session.run({"x": x})["y"] for x in batches]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            for i, x in enumerate(batches):
                if not np.array_equal(session.run({"x": x})["y"], expected[i]):
                    wrong.append(i)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_sessions_in_several_threads_agree() -> None:
    graph, x = small_cnn("sparse fp32"), image()
    expected = runtime.load(graph)(x)
    results: list[np.ndarray] = []
    workers = [threading.Thread(target=lambda: results.append(runtime.load(graph, threads=2)(x))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, expected)


@needs_native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_can_run() -> None:
    """The child has none of the pool's threads and must not wait for them."""
    session, x = runtime.load(small_cnn(), threads=2), image()
    expected = session(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(session(x), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


@needs_native
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_can_drop_the_session() -> None:
    """In a process of its own, so that a child that hangs is found by the clock."""
    script = ("import gc, os, sys; sys.path.insert(0, sys.argv[1]); from test_session import image, runtime, small_cnn; "
              "held = [runtime.load(small_cnn(), threads=4)]; held[0](image()); child = os.fork()\n"
              "if child == 0:\n  held.clear(); gc.collect(); os._exit(0)\n"
              "sys.exit(os.waitpid(child, 0)[1])")
    subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent)], check=True, timeout=60)


def one_node(op: str, x: tuple[str, tuple[object, ...]], y: tuple[str, tuple[object, ...]], weights: dict[str, np.ndarray], **attrs: object) -> Graph:
    """x and constants through one operator to y."""
    return Graph((ValueInfo("x", *x),), (ValueInfo("y", *y),), (Node(op, ("x", *weights), ("y",), attrs),),  # type: ignore[arg-type]
                 {name: EncodedTensor.dense(array) for name, array in weights.items()})


@pytest.mark.parametrize("rank", range(7, 16))
def test_values_of_any_rank(rank: int) -> None:
    """Kernels walk a bounded number of axes; beyond it NumPy runs the node."""
    pads = np.array([1] * rank + [0] * rank)
    graph = one_node("Pad", ("float32", (2,) * rank), ("float32", (3,) * rank), {"pads": pads})
    x = np.random.default_rng(0).normal(size=(2,) * rank).astype(np.float32)
    np.testing.assert_array_equal(runtime.load(graph)(x), np.pad(x, [(1, 0)] * rank))


@pytest.mark.parametrize("backend", BACKENDS)
def test_symbolic_lengths_that_cannot_be_one(backend: str) -> None:
    w = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    graph = one_node("Conv", ("float32", (1, 3, "H", "W")), ("float32", (1, 4, "h", "w")), {"w": w})
    session = runtime.load(graph, backend=backend)
    for size in (7, 12):
        feeds = {"x": np.random.default_rng(1).normal(size=(1, 3, size, size)).astype(np.float32)}
        assert error(session.run(feeds)["y"], reference(graph, feeds)["y"]) < 1e-5
    with pytest.raises(ValueError, match=r"3.3 of an input"):
        session.run({"x": np.zeros((1, 3, 2, 2), np.float32)})


@pytest.mark.parametrize("backend", BACKENDS)
def test_writing_into_outputs_changes_nothing(backend: str) -> None:
    graph = Graph((ValueInfo("x", "float32", (2, 3)),), tuple(ValueInfo(n, "float32", s) for n, s in (("y", (2, 3)), ("w", (6,)), ("z", (2, 3)))),
                  (Node("Relu", ("x",), ("y",)), Node("Reshape", ("w", "shape"), ("z",))),
                  {"w": EncodedTensor.dense(np.ones(6, np.float32)), "shape": EncodedTensor.dense(np.array([2, 3]))})
    session, feeds = runtime.load(graph, backend=backend), {"x": np.ones((2, 3), np.float32)}
    for array in session.run(feeds).values():
        array[:] = 9
    for array in session.run(feeds).values():
        np.testing.assert_array_equal(array, np.ones(array.shape))
    np.testing.assert_array_equal(graph.weights["w"].decode(), np.ones(6))


def test_many_inputs_and_outputs() -> None:
    names = [f"v{i}" for i in range(100)]
    graph = Graph(tuple(ValueInfo(n, "float32", (3,)) for n in names), tuple(ValueInfo(n + "y", "float32", (3,)) for n in names),
                  tuple(Node("Relu", (n,), (n + "y",)) for n in names))
    feeds = {name: np.full(3, i, np.float32) for i, name in enumerate(names)}
    for name, array in runtime.load(graph).run(feeds).items():
        np.testing.assert_array_equal(array, feeds[name[:-1]])


def test_bounds_of_one_element() -> None:
    graph = Graph((ValueInfo("x", "float32", (4,)),), (ValueInfo("y", "float32", (4,)),),
                  (Node("Add", ("x", "x"), ("a",)), Node("Clip", ("a", "low"), ("y",))), {"low": EncodedTensor.dense(np.zeros(1, np.float32))})
    np.testing.assert_array_equal(runtime.load(graph)(np.array([-1, 0, 1, 2], np.float32)), [0, 0, 2, 4])


@needs_native
def test_the_choice_of_kernels_does_not_depend_on_threads() -> None:
    for size in (5, 17, 40):
        graph = one_node("Conv", ("float32", (1, 8, size, size)), ("float32", (1, 8, size - 2, size - 2)), {"w": dense(8, 1, 3, 3).decode()}, group=8)
        plans = [runtime.load(graph, threads=threads)._plan(((1, 8, size, size),)) for threads in (1, 2, 3, 8)]
        assert len({plan.stages[0].program.steps[0].kernel for plan in plans}) == 1  # type: ignore[union-attr]


def test_output_names_are_a_list() -> None:
    with pytest.raises(runtime.InputError, match="a list or None"):
        runtime.load(small_cnn()).run("y", {"x": image()})


COUNTER = """
#include <stdlib.h>
static long calls;
long malloc_calls(void) { return calls; }
extern void* __libc_malloc(size_t); extern void* __libc_calloc(size_t, size_t); extern void* __libc_realloc(void*, size_t);
extern void* __libc_memalign(size_t, size_t);
void* malloc(size_t n) { calls++; return __libc_malloc(n); }
void* calloc(size_t n, size_t m) { calls++; return __libc_calloc(n, m); }
void* realloc(void* p, size_t n) { calls++; return __libc_realloc(p, n); }
void* aligned_alloc(size_t a, size_t n) { calls++; return __libc_memalign(a, n); }
"""
COUNTING = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_session import image, small_cnn
from thinfer import runtime
count = ctypes.CDLL(None).malloc_calls
session = runtime.load(small_cnn(sys.argv[2]), backend="native", threads=int(sys.argv[3]))
stage, = session._plan(((1, 3, 17, 17),)).stages
inputs, outputs = (image(),), (np.empty((1, 10), np.float32),)
run = stage._engine.run
for _ in range(10): run(inputs, outputs)
before = count()
for _ in range(1000): run(inputs, outputs)
print(count() - before, before)
"""


@needs_native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts through glibc's malloc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["fp32", "codebook4", "sparse fp32", "1:32 affine4-block"])
def test_a_run_allocates_nothing(tmp_path: Path, kind: str, threads: int) -> None:
    """1,000 engine calls under a malloc that counts: not one allocation."""
    (tmp_path / "counter.c").write_text(COUNTER)
    library = tmp_path / "counter.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", str(library), str(tmp_path / "counter.c")], check=True)
    done = subprocess.run([sys.executable, "-c", COUNTING, str(Path(__file__).parent), kind, str(threads)], capture_output=True, text=True,
                          env={**os.environ, "LD_PRELOAD": str(library), "PYTHONMALLOC": "pymalloc"})
    assert done.returncode == 0, done.stderr
    during, before = map(int, done.stdout.split())
    assert before > 0, "the counter saw no allocation at all, so it counts nothing"
    assert during == 0


PLACE = {"numpy": 0, "numba": 2, "native": 1}
"""Bytes that a backend holds for each weight to tell where it is: columns, or places in windows, which blocks have at one row of x, too."""


def test_weights_stay_encoded_in_ram() -> None:
    """4096 × 4096: codebook-4 in about an eighth of fp32, codebook-2 a sixteenth, 95 % sparse in less than a fifth."""
    for kind, most in (("codebook4", 0.13), ("codebook2", 0.07), ("binary", 0.04), ("fp16", 0.51), ("affine4-block-symmetric", 0.17),
                       ("ternary", 0.07), ("4:16 codebook4", 0.07), ("4x4 fp32", 0.35), ("1:32 affine4-block-symmetric", 0.05)):
        weight = encode(np.zeros((1024, 2048), np.float32), kind)
        graph = Graph((ValueInfo("x", "float32", (1, 2048)),), (ValueInfo("y", "float32", (1, 1024)),),
                      (Node("Gemm", ("x", "w"), ("y",), {"transB": 1}),), {"w": weight})
        for backend in BACKENDS:
            memory = runtime.load(graph, backend=backend).weight_memory()
            placed = weight.structure.name == "blocks" or (weight.structure.name != "dense" and backend == "numba")
            places = weight.held * PLACE[backend] if placed else 0
            if kind == "4:16 codebook4" and backend == "native" and isa.selected() in isa.ARM_LEVELS:
                places = weight.held // 2  # a byte each, where x86 has half of one (kernels/sparse/README.md)
            assert memory["w"]["nbytes"] <= most * weight.nbytes_dense + places, (backend, kind)


GROWTH = """
import sys
from thinfer import runtime
def mapped():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssFile"))
before = mapped()
session = runtime.load(sys.argv[1], backend="native")
print(mapped() - before)
"""


@needs_native
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_file_leaves_ram_once_its_weights_are_packed(tmp_path: Path) -> None:
    """A dense layer of 16 MB: the mapped file does not stay beside the packed weights."""
    from thinfer.formats.writer import write

    graph = one_node("MatMul", ("float32", (1, 2048)), ("float32", (1, 2048)), {"w": dense(2048, 2048).decode()})
    write(graph, tmp_path / "big.thin")
    done = subprocess.run([sys.executable, "-c", GROWTH, str(tmp_path / "big.thin")], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 12_000  # KB; the libraries' own pages are a few thousand


def test_loading_leaves_cycles_to_later_searches_and_frozen_objects_frozen(tmp_path: Path) -> None:
    from thinfer.formats.writer import write

    path = tmp_path / "net.thin"
    write(small_cnn(), path)
    program = ("import gc, sys\nfrom thinfer import runtime\nfrom thinfer.runtime import session\nsearches = []\n"
               "session.MANY = 1000\n"  # as many as this net makes
               "gc.collect()\ngc.callbacks.append(lambda phase, info: searches.append(info))\n"
               "held = runtime.load(sys.argv[1])\nprint(len(searches), gc.isenabled(), gc.get_freeze_count())\n"
               "gc.freeze()\nbefore = gc.get_freeze_count()\nheld = runtime.load(sys.argv[1])\n"
               "print(gc.isenabled(), 0 < before < 2 * gc.get_freeze_count())\n"
               "gc.unfreeze()\ngc.disable()\nruntime.load(sys.argv[1])\nprint(gc.isenabled(), gc.get_freeze_count())")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["0 True 0", "True True", "False 0"], done.stderr
