"""Pruned nets compute what the same nets compute with those channels zeroed, and are smaller by as much as they should be."""

from __future__ import annotations

import copy
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from structural_nets import NETS, Inverted, Plain, conv_bn, import_module, net, settled
from test_passes_structural import assert_equivalent, floats, graph_of, ops_of, snapshot
from thinfer.formats.graph import Graph, Node, verify
from thinfer.formats.tensor import EncodedTensor
from thinfer.formats.tensor import Plain as PlainValues
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain.importers._source import macs
from thinfer.toolchain.passes import drop_identities, fold_batchnorm, prune_channels, zero_channels
from thinfer.toolchain.passes._flow import components
from thinfer.toolchain.passes._importance import CalibrationError
from thinfer.toolchain.passes.prune_channels import PruningError
from torch import nn


def assert_pruned_equals_zeroed(graph: Graph, x: np.ndarray, **arguments: object) -> Graph:
    """Checks the one against the other in float64, and returns the pruned graph."""
    pruned, zeroed = verify(prune_channels(graph, **arguments)), verify(zero_channels(graph, **arguments))
    feeds = {graph.inputs[0].name: x.astype(np.float64)}
    found, expected = evaluate(pruned, feeds), evaluate(zeroed, feeds)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12)
    assert {name: tensor.shape for name, tensor in zeroed.weights.items()} == {name: t.shape for name, t in graph.weights.items()}
    return pruned


@pytest.mark.parametrize("importance", ["l1", "apoz"])
@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", list(NETS))
def test_pruned_nets_equal_zeroed_nets(name: str, fraction: float, scope: str, importance: str) -> None:
    _, graph, x = net(name)
    before = snapshot(graph)
    pruned = assert_pruned_equals_zeroed(graph, x, fraction=fraction, scope=scope, importance=importance,
                                         calibration={"x": x} if importance == "apoz" else None)
    assert sum(tensor.size for tensor in pruned.weights.values()) < sum(tensor.size for tensor in graph.weights.values())
    assert macs(pruned) < macs(graph)
    assert pruned.source == graph.source
    assert snapshot(graph) == before


@pytest.mark.parametrize("name", list(NETS))
def test_the_same_after_folding(name: str) -> None:
    _, graph, x = net(name)
    folded = fold_batchnorm(drop_identities(graph))
    assert "BatchNormalization" not in ops_of(folded)
    assert_pruned_equals_zeroed(folded, x, fraction=0.5)


def test_zeroing_is_what_masking_activations_does() -> None:
    """An independent look at what zeroed means: torch runs the net with the pruned channels' activations set to zero."""
    module, graph, x = net("plain")
    module = copy.deepcopy(module)
    pruned = prune_channels(graph, fraction=0.5, scope="layer")
    masks = {}
    for name, part in (("conv1", module.conv1), ("conv2", module.conv2), ("fc1", module.fc1)):
        norms = part.weight.detach().abs().flatten(1).sum(1)
        kept = torch.ones_like(norms)
        kept[norms.argsort()[:len(norms) // 2]] = 0
        masks[name] = kept
        part.register_forward_hook(lambda _m, _i, out, kept=kept: out * kept.reshape(1, -1, *(1,) * (out.ndim - 2)))
        assert pruned.weights[f"{name}.weight"].shape[0] == int(kept.sum())
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(evaluate(pruned, {"x": x})["output"], expected, rtol=1e-4, atol=1e-5)


def test_shapes_of_a_plain_net() -> None:
    _, graph, _ = net("plain")
    shapes = {name: tensor.shape for name, tensor in prune_channels(graph, fraction=0.5, scope="layer").weights.items()}
    assert shapes == {"conv1.weight": (3, 1, 3, 3), "conv1.bias": (3,), "conv2.weight": (5, 3, 3, 3), "conv2.bias": (5,),
                      "fc1.weight": (10, 45), "fc1.bias": (10,), "fc2.weight": (7, 10), "fc2.bias": (7,)}


def test_macs_fall_by_the_expected_amount() -> None:
    _, graph, _ = net("plain")
    before, after = macs(graph), macs(prune_channels(graph, fraction=0.5, scope="layer"))

    def linear(conv1: int, conv2: int, fc1: int) -> int:
        return conv1 * 9 * 256 + conv2 * conv1 * 9 * 36 + fc1 * conv2 * 9 + 7 * fc1

    assert (before, after) == (linear(6, 10, 20), linear(3, 5, 10))


def test_residual_channels_go_together() -> None:
    _, graph, _ = net("residual")
    shapes = {name: t.shape for name, t in prune_channels(graph, fraction=0.25, scope="layer").weights.items() if len(t.shape) > 1}
    assert shapes == {"stem.0.weight": (6, 3, 3, 3), "a1.0.weight": (6, 6, 3, 3), "a2.0.weight": (6, 6, 3, 3), "b1.0.weight": (12, 6, 3, 3),
                      "b2.0.weight": (12, 12, 3, 3), "down.0.weight": (12, 6, 1, 1), "fc.weight": (5, 12)}


def test_depthwise_convolutions_keep_one_group_per_channel() -> None:
    _, graph, _ = net("depthwise")
    pruned = prune_channels(graph, fraction=0.5, scope="layer")
    depthwise = [node for node in pruned.nodes if node.attrs.get("group", 1) > 1]
    assert len(depthwise) == 6
    for node in depthwise:
        assert pruned.weights[node.inputs[1]].shape[:2] == (node.attrs["group"], 1)


def test_grouped_convolutions_keep_their_groups_equal() -> None:
    _, graph, _ = net("grouped")
    pruned = prune_channels(graph, fraction=0.4, scope="layer")
    shapes = {name: tensor.shape for name, tensor in pruned.weights.items()}
    assert shapes["a.0.weight"] == (8, 3, 1, 1)  # one of three channels of each group
    assert shapes["g.0.weight"] == (16, 2, 3, 3)  # two of six rows of each group
    assert [node.attrs["group"] for node in pruned.nodes if "group" in node.attrs] == [4]


def test_shared_weights_are_pruned_once() -> None:
    _, graph, _ = net("shared")
    shapes = {name: tensor.shape for name, tensor in prune_channels(graph, fraction=0.5, scope="layer").weights.items()}
    assert shapes["stem.weight"] == (4, 3, 3, 3)
    assert shapes["twice.weight"] == (4, 4, 3, 3)


def test_squeeze_excite_gates_go_with_their_channels() -> None:
    _, graph, _ = net("squeeze_excite")
    shapes = {name: tensor.shape for name, tensor in prune_channels(graph, fraction=0.5, scope="layer").weights.items()}
    assert shapes["stem.0.weight"][0] == shapes["up.weight"][0] == shapes["down.weight"][1] == shapes["out.weight"][1] == 6
    assert shapes["down.weight"][0] == shapes["up.weight"][1] == 3


def test_channels_go_from_stretches_of_a_slice_and_parts_of_a_split() -> None:
    """Of 12, 6, 20 and 8 channels each layer loses half; what no slice takes may go too. Blocks of four channels go together."""
    _, graph, x = net("cut")
    pruned = assert_pruned_equals_zeroed(graph, x, fraction=0.5, scope="layer")
    rows = {name: tensor.shape[0] for name, tensor in pruned.weights.items() if name.endswith("0.weight") or name == "deep.weight"}
    assert rows == {"stem.0.weight": 6, "branch.0.weight": 3, "focus.0.weight": 10, "deep.weight": 4}


def test_inputs_and_outputs_keep_their_shape() -> None:
    for name in NETS:
        _, graph, x = net(name)
        pruned = prune_channels(graph, fraction=0.9, scope="layer")
        assert (pruned.inputs, pruned.outputs) == (graph.inputs, graph.outputs)
        assert evaluate(pruned, {"x": x})["output"].shape == evaluate(graph, {"x": x})["output"].shape


def test_no_group_is_emptied() -> None:
    for name in NETS:
        _, graph, _ = net(name)
        for scope in ("layer", "global"):
            assert all(0 not in tensor.shape for tensor in prune_channels(graph, fraction=0.999, scope=scope).weights.values())


def test_nothing_to_prune_changes_nothing() -> None:
    _, graph, _ = net("residual")
    assert prune_channels(graph, fraction=0.0) is graph
    alone = graph_of([Node("Gemm", ("x", "w"), ("y",))], {"x": ("N", 4)}, {"y": ("N", 3)}, {"w": floats(4, 3)})
    assert prune_channels(alone, fraction=0.5) is alone


def test_exemptions() -> None:
    _, graph, x = net("residual")
    pruned = assert_pruned_equals_zeroed(graph, x, fraction=0.5, scope="layer", exempt=lambda name: name.startswith("stem"))
    assert pruned.weights["stem.0.weight"].shape[0] == 8
    assert pruned.weights["a2.0.weight"].shape[0] == 8  # it is added to what the stem makes
    assert pruned.weights["a1.0.weight"].shape[0] == 4


def test_fractions_by_name() -> None:
    _, graph, x = net("residual")
    for scope in ("layer", "global"):
        pruned = assert_pruned_equals_zeroed(graph, x, fraction=0.0, scope=scope, per_node={"a1*": 0.25, "b1.0.weight": 0.5, "b*": 0.75})
        rows = {name: tensor.shape[0] for name, tensor in pruned.weights.items() if len(tensor.shape) == 4}
        assert rows == {"stem.0.weight": 8, "a1.0.weight": 6, "a2.0.weight": 8, "b1.0.weight": 8, "b2.0.weight": 4, "down.0.weight": 4}


def test_what_is_left_can_be_rounded() -> None:
    _, graph, x = net("plain")
    pruned = assert_pruned_equals_zeroed(graph, x, fraction=0.5, scope="layer", round_to=4)
    assert [pruned.weights[f"{name}.weight"].shape[0] for name in ("conv1", "conv2", "fc1")] == [4, 8, 12]


def test_the_least_important_go_first_over_the_whole_net() -> None:
    torch.manual_seed(0)
    module = Plain()
    with torch.no_grad():
        module.conv2.weight[[1, 4, 7]] *= 1e-3
        module.fc1.weight[5] *= 1e-3
    graph = import_module(module, "N", 1, 16, 16)
    pruned = prune_channels(graph, fraction=4.5 / 36, scope="global")
    assert pruned.weights["conv1.weight"].shape[0] == 6
    np.testing.assert_array_equal(pruned.weights["conv2.weight"].decode(), np.delete(module.conv2.weight.detach().numpy(), [1, 4, 7], 0))
    assert pruned.weights["fc1.weight"].shape == (19, 63)


def test_channels_that_never_fire_go_first() -> None:
    torch.manual_seed(0)
    module = Plain()
    with torch.no_grad():
        module.conv1.weight[2] *= 100
        module.conv1.bias[2] = -1e6
        module.fc1.bias[[3, 8]] = -1e6
    graph = import_module(module, "N", 1, 16, 16)
    x = np.random.default_rng(0).standard_normal((40, 1, 16, 16)).astype(np.float32)
    pruned = prune_channels(graph, fraction=3.5 / 36, importance="apoz", calibration={"x": x})
    np.testing.assert_array_equal(pruned.weights["conv1.weight"].decode(), np.delete(module.conv1.weight.detach().numpy(), 2, 0))
    assert pruned.weights["fc1.weight"].shape == (18, 90)
    np.testing.assert_allclose(evaluate(pruned, {"x": x})["output"], evaluate(graph, {"x": x})["output"], rtol=1e-4, atol=1e-5)


def test_constant_targets_of_reshape_follow() -> None:
    nodes = [Node("Gemm", ("x", "a"), ("h",)), Node("Reshape", ("h", "t"), ("r",)), Node("Relu", ("r",), ("s",)),
             Node("Conv", ("s", "k"), ("c",)), Node("Reshape", ("c", "u"), ("f",)), Node("Gemm", ("f", "b"), ("y",))]
    graph = graph_of(nodes, {"x": ("N", 5)}, {"y": ("N", 3)},
                     {"a": floats(5, 6 * 4), "t": np.array([-1, 6, 2, 2]), "k": floats(8, 6, 1, 1), "u": np.array([0, 32]),
                      "b": floats(32, 3)})
    pruned = assert_pruned_equals_zeroed(graph, floats(3, 5), fraction=0.5, scope="layer")
    assert pruned.weights["a"].shape == (5, 12)
    assert pruned.weights["t"].decode().tolist() == [-1, 3, 2, 2]
    assert pruned.weights["u"].decode().tolist() == [0, 16]


def test_axes_that_no_flow_speaks_of_are_left_alone() -> None:
    nodes = [Node("Gemm", ("x", "a"), ("h",)), Node("Softmax", ("h",), ("s",)), Node("Gemm", ("s", "b"), ("y",))]
    graph = graph_of(nodes, {"x": ("N", 5)}, {"y": ("N", 3)}, {"a": floats(5, 8), "b": floats(8, 3)})
    assert prune_channels(graph, fraction=0.5) is graph


def test_compressed_weights_are_left_alone() -> None:
    _, graph, x = net("plain")
    half = graph.weights["conv2.weight"]
    packed = EncodedTensor(half.shape, "float32", PlainValues(half.decode().astype(np.float16).ravel()))
    pruned = assert_pruned_equals_zeroed(replace(graph, weights={**graph.weights, "conv2.weight": packed}), x, fraction=0.5, scope="layer")
    assert pruned.weights["conv2.weight"] is packed
    assert pruned.weights["fc1.weight"].shape == (10, 90)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"fraction": 1.0}, r"the fraction of channels to prune is 1\.0; it must be at least 0 and below 1"),
    ({"fraction": 0.5, "per_node": {"conv*": -0.1}}, r"the fraction for 'conv\*' of channels to prune is -0\.1"),
    ({"fraction": 0.5, "scope": "net"}, "there is no scope 'net'; there are global, layer"),
    ({"fraction": 0.5, "importance": "l2"}, "there is no importance 'l2'; there are l1, apoz"),
    ({"fraction": 0.5, "round_to": 0}, "round_to is 0"),
    ({"fraction": 0.5, "per_node": {"head*": 0.1}},
     r"the pattern 'head\*' matches nothing that can be pruned; there are conv1, conv1\.weight, "),
])
def test_senseless_arguments(arguments: dict, message: str) -> None:
    _, graph, _ = net("plain")
    with pytest.raises(PruningError, match=message):
        prune_channels(graph, **arguments)


def test_lacking_calibration_data() -> None:
    _, graph, x = net("plain")
    with pytest.raises(CalibrationError, match="importance 'apoz' needs calibration data"):
        prune_channels(graph, fraction=0.5, importance="apoz")
    with pytest.raises(CalibrationError, match="the calibration data lacks the input 'x'; it has image"):
        prune_channels(graph, fraction=0.5, importance="apoz", calibration={"image": x})


def test_components_of_random_graphs() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 5, 40, 200):
        for edges in (0, count // 3, count, 3 * count):
            a, b = rng.integers(0, count, (2, edges))
            label = list(range(count))
            for _ in range(count):
                for i, j in zip(a, b):
                    label[i] = label[j] = min(label[i], label[j])
            np.testing.assert_array_equal(components(count, a, b), label)
    chain = np.arange(9999)
    assert not components(10000, chain, chain + 1).any()


class Full(nn.Module):
    """MobileNetV2's widths and depth, for the time it takes."""

    def __init__(self) -> None:
        super().__init__()
        blocks, inputs = [conv_bn(3, 32, 3, 2, act=nn.ReLU6)], 32
        for t, c, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            for k in range(n):
                blocks.append(Inverted(inputs, c, s if k == 0 else 1, t))
                inputs = c
        self.features = nn.Sequential(*blocks, conv_bn(inputs, 1280, 1, act=nn.ReLU6))
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).mean([2, 3]))


def test_a_whole_mobilenet_takes_seconds() -> None:
    graph = import_module(settled(Full(), 3, 64, 64), "N", 3, 64, 64)
    started = time.perf_counter()
    pruned = prune_channels(graph, fraction=0.2)
    assert time.perf_counter() - started < 20
    assert macs(pruned) < macs(graph)
    assert_equivalent(zero_channels(graph, fraction=0.2), pruned, batch=1, rtol=1e-3)
