"""``session.bind``: arrays are checked once, and what is wrong with them is said in one sentence; calls read and write in place."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from test_session import BACKENDS, image, misaligned, needs_native, small_cnn
from thinfer import runtime
from thinfer.formats.graph import Graph, Node, ValueInfo
from thinfer.formats.tensor import EncodedTensor

both = pytest.mark.parametrize("backend", BACKENDS)


def two_in_two_out() -> Graph:
    """y = a + b, z = relu(a) of any length."""
    kind = ("float32", ("N",))
    return Graph((ValueInfo("a", *kind), ValueInfo("b", *kind)), (ValueInfo("y", *kind), ValueInfo("z", *kind)),
                 (Node("Add", ("a", "b"), ("y",)), Node("Relu", ("a",), ("z",))))


@both
def test_each_call_reads_the_inputs_anew_and_writes_in_place(backend: str) -> None:
    session, x, y = runtime.load(small_cnn(), backend=backend), image(2), np.full((2, 10), np.nan, np.float32)
    bound = session.bind({"x": x}, {"y": y})
    for seed in range(3):
        x[...] = image(2, seed)
        assert bound()["y"] is y
        np.testing.assert_array_equal(y, session.run({"x": x})["y"])


@both
def test_outputs_that_are_not_given_are_made_once(backend: str) -> None:
    session = runtime.load(two_in_two_out(), backend=backend)
    a, b, z = np.float32([-1, 2]), np.float32([3, 4]), np.empty(2, np.float32)
    bound = session.bind({"b": b, "a": a}, {"z": z})
    first = bound()
    assert first is bound()
    assert list(first) == ["y", "z"]
    assert first["z"] is z
    np.testing.assert_array_equal(first["y"], [2, 6])
    np.testing.assert_array_equal(z, [0, 2])


@both
@pytest.mark.parametrize(("inputs", "said"), [
    ({"x": [[1.0]]}, "input 'x' must be a NumPy array to be bound, not list"),
    ({"x": np.zeros((1, 3, 17, 17))}, "input 'x' has dtype float64; the model takes float32"),
    ({"x": np.zeros((1, 3, 17, 16), np.float32)}, r"input 'x' has shape \(1, 3, 17, 16\); the model takes \[N, 3, 17, 17\]"),
    ({"x": np.zeros((1, 3, 17, 34), np.float32)[..., ::2]}, "input 'x' is not C-contiguous; bind needs arrays that lie in one piece"),
    ({"x": np.zeros((17, 17, 3, 1), np.float32).T}, "input 'x' is not C-contiguous"),
    ({"x": misaligned(image())}, "input 'x' begins at an address that float32 may not begin at; bind needs aligned arrays"),
    ({}, "the input 'x' is missing"), ({"q": image()}, "there is no input 'q'"), (3, "feeds must be a dict"),
    ({"x": image().astype(">f4")}, "input 'x' has dtype >f4; the model takes float32")])
def test_wrong_inputs(backend: str, inputs: object, said: str) -> None:
    with pytest.raises(runtime.InputError, match=said) as caught:
        runtime.load(small_cnn(), backend=backend).bind(inputs)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@both
@pytest.mark.parametrize(("outputs", "said"), [
    ({"y": np.zeros((1, 10))}, "output 'y' has dtype float64; the model makes float32"),
    ({"y": np.zeros((2, 10), np.float32)}, r"output 'y' has shape \(2, 10\); for these inputs the model makes \[1, 10\]"),
    ({"y": np.zeros((1, 20), np.float32)[:, ::2]}, "output 'y' is not C-contiguous"),
    ({"y": [1.0]}, "output 'y' must be a NumPy array to be bound, not list"),
    ({"z": np.zeros((1, 10), np.float32)}, "there is no output 'z'; the model's outputs are y"),
    ([1], "outputs must be a dict of arrays by output name, or None, not list")])
def test_wrong_outputs(backend: str, outputs: object, said: str) -> None:
    with pytest.raises(runtime.InputError, match=said):
        runtime.load(small_cnn(), backend=backend).bind({"x": image()}, outputs)  # type: ignore[arg-type]


@both
def test_read_only_outputs(backend: str) -> None:
    y = np.zeros((1, 10), np.float32)
    y.flags.writeable = False
    with pytest.raises(runtime.InputError, match="output 'y' is read-only; the model writes into it"):
        runtime.load(small_cnn(), backend=backend).bind({"x": image()}, {"y": y})


@both
def test_read_only_inputs_are_welcome(backend: str) -> None:
    session, x = runtime.load(small_cnn(), backend=backend), image()
    x.flags.writeable = False
    np.testing.assert_array_equal(session.bind({"x": x})()["y"], session.run({"x": x})["y"])


@both
def test_outputs_have_a_memory_of_their_own(backend: str) -> None:
    session, room = runtime.load(two_in_two_out(), backend=backend), np.zeros(12, np.float32)
    a, b = room[:4], np.ones(4, np.float32)
    with pytest.raises(runtime.InputError, match="output 'y' shares memory with input 'a'; bind needs a memory of its own for each output"):
        session.bind({"a": a, "b": b}, {"y": room[2:6]})
    with pytest.raises(runtime.InputError, match="output 'z' shares memory with output 'y'"):
        session.bind({"a": a, "b": b}, {"y": room[4:8], "z": room[7:11]})
    session.bind({"a": a, "b": a}, {"y": room[4:8], "z": room[8:]})()  # inputs may be one array
    np.testing.assert_array_equal(room, 0)


@both
def test_a_shape_that_only_running_tells_cannot_be_bound(backend: str) -> None:
    graph = Graph((ValueInfo("x", "float32", (4,)),), (ValueInfo("y", "int64", (1, "K")),), (Node("NonZero", ("x",), ("y",)),))
    with pytest.raises(runtime.InputError, match="the shape of output 'y' is known only after a run, so it cannot be bound; use run"):
        runtime.load(graph, backend=backend).bind({"x": np.ones(4, np.float32)})


@both
def test_fixed_and_passed_on_outputs(backend: str) -> None:
    """An output that is a constant, and one that is the input itself, are copied to where they were bound."""
    graph = Graph((ValueInfo("x", "float32", (3,)),), (ValueInfo("w", "float32", (3,)), ValueInfo("y", "float32", (3,))),
                  (Node("Identity", ("x",), ("y",)),), {"w": EncodedTensor.dense(np.float32([7, 8, 9]))})
    x = np.float32([1, 2, 3])
    bound = runtime.load(graph, backend=backend).bind({"x": x})
    x[:] = [4, 5, 6]
    found = bound()
    np.testing.assert_array_equal(found["w"], [7, 8, 9])
    np.testing.assert_array_equal(found["y"], [4, 5, 6])


@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_bound_as_there_are_threads(threads: int) -> None:
    session = runtime.load(small_cnn("codebook4"), threads=threads)
    inputs = [image(1 + i % 3, seed=i) for i in range(8)]
    expected = [session.run({"x": x})["y"] for x in inputs]
    bound = [session.bind({"x": x}) for x in inputs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(200):
            if not np.array_equal(bound[i]()["y"], expected[i]):
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@both
def test_a_binding_outlives_what_it_was_made_of(backend: str) -> None:
    """It keeps the arrays and the engine, however many other shapes the session plans and after the session is gone."""
    session, x = runtime.load(small_cnn(), backend=backend), image()
    expected = session.run({"x": x})["y"]
    bound = session.bind({"x": x.copy()})
    for batch in range(2, 14):
        session.run({"x": image(batch)})
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None
    np.testing.assert_array_equal(bound()["y"], expected)


@needs_native
def test_run_takes_the_short_way_only_for_exactly_what_it_knows() -> None:
    """After a run of one shape: other shapes, dtypes, names and containers are checked and answered as at first."""
    session, x = runtime.load(two_in_two_out()), np.float32([1, -2, 3])
    for _ in range(2):
        for feeds in ({"a": x, "b": x}, {"b": x, "a": x}, {"a": x[::-1], "b": x[:]}, {"a": x[:2], "b": x[:2]},
                      {"a": x.tolist() and np.asfortranarray(x), "b": x}):
            found = session.run(feeds)
            assert list(found) == ["y", "z"]
            np.testing.assert_array_equal(found["y"], feeds["a"] + feeds["b"])
            np.testing.assert_array_equal(found["z"], np.maximum(feeds["a"], 0))
        with pytest.raises(runtime.InputError, match="no input 'c'"):
            session.run({"a": x, "b": x, "c": x})
        with pytest.raises(runtime.InputError, match="'b' is missing"):
            session.run({"a": x})
        with pytest.raises(runtime.InputError, match="dtype float64"):
            session.run({"a": x, "b": x.astype(float)})
        with pytest.raises(runtime.InputError, match="N is 3 in another input"):
            session.run({"a": x, "b": x[:1]})


@needs_native
def test_results_of_the_short_way_are_fresh_arrays() -> None:
    session, x = runtime.load(small_cnn()), image()
    first, second = session.run({"x": x})["y"], session.run({"x": x})["y"]
    assert first is not second
    assert first.flags.owndata
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, second)


@needs_native
def test_graph_inputs_that_nothing_reads_are_still_checked() -> None:
    graph = Graph((ValueInfo("x", "float32", (2,)), ValueInfo("unused", "int64", (3,))), (ValueInfo("y", "float32", (2,)),),
                  (Node("Relu", ("x",), ("y",)),))
    session, x = runtime.load(graph), np.float32([-1, 1])
    for _ in range(2):
        np.testing.assert_array_equal(session.run({"x": x, "unused": np.arange(3, dtype=np.int64)})["y"], [0, 1])
        with pytest.raises(runtime.InputError, match="'unused' has dtype float32"):
            session.run({"x": x, "unused": np.zeros(3, np.float32)})
