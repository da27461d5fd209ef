"""Recipes: strict reading, who gets which settings, and the pipeline that follows them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from thinfer.formats.graph import Graph, Node, ValueInfo, verify
from thinfer.formats.tensor import Binary, Codebook, Dense, EncodedTensor, Plain, Sparse
from thinfer.formats.writer import to_bytes
from thinfer.runtime.interpreter import evaluate
from thinfer.toolchain import recipe as recipes
from thinfer.toolchain.passes.cluster import Clustering
from thinfer.toolchain.passes.prune_weights import Pruning
from thinfer.toolchain.pipeline import compress
from thinfer.toolchain.recipe import RecipeError, parse


def convnet(seed: int = 0) -> Graph:
    """Conv, BatchNormalization, depthwise Conv, Conv 1×1, pooling, Gemm."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> EncodedTensor:
        return EncodedTensor.dense(rng.standard_normal(shape, dtype=np.float32))

    weights = {"stem.weight": weight(16, 3, 3, 3), "bn.scale": weight(16), "bn.shift": weight(16), "bn.mean": weight(16),
               "bn.var": EncodedTensor.dense(np.ones(16, np.float32)), "dw.weight": weight(16, 1, 3, 3), "pw.weight": weight(64, 16, 1, 1),
               "pw.bias": weight(64), "fc.weight": weight(40, 64), "fc.bias": weight(40)}
    nodes = (
        Node("Conv", ("x", "stem.weight"), ("a",), {"pads": (1, 1, 1, 1)}, "stem"),
        Node("BatchNormalization", ("a", "bn.scale", "bn.shift", "bn.mean", "bn.var"), ("b",), {}, "bn"),
        Node("Conv", ("b", "dw.weight"), ("c",), {"group": 16, "pads": (1, 1, 1, 1)}, "dw"),
        Node("Relu", ("c",), ("d",)),
        Node("Conv", ("d", "pw.weight", "pw.bias"), ("e",), {}, "pw"),
        Node("GlobalAveragePool", ("e",), ("f",)),
        Node("Flatten", ("f",), ("g",)),
        Node("Gemm", ("g", "fc.weight", "fc.bias"), ("y",), {"transB": 1}, "fc"))
    return verify(Graph((ValueInfo("x", "float32", ("N", 3, 8, 8)),), (ValueInfo("y", "float32", ("N", 40)),), nodes, weights))


def folded(text: str) -> Graph:
    return compress(convnet(), parse(text))


# ---------------------------------------------------------------- reading

WRONG = {
    "bits: 4": "there is no key 'bits'; the valid keys are activations, biases, coder, correct_biases, depthwise, exempt, min_size, "
               "overrides, prune_channels, prune_weights, small, sparsify, values",
    "values: {kind: codebook, bit: 4}": "there is no key 'bit' in values; the valid keys are bits, entries, groups, kind, scale",
    "values: {kind: fp16, bits: 4}": "there is no key 'bits' in values; the valid keys are kind",
    "values: {kind: int4}": "values.kind is 'int4'; it must be one of fp32, fp16, codebook, affine, binary, ternary",
    "values: int4": "values.kind is 'int4'",
    "values: affine": "values lacks bits, a whole number from 2 to 8",
    "values: {kind: affine, bits: 1}": "values.bits is 1; it must be a whole number from 2 to 8",
    "values: {kind: affine, bits: 4, scale: row}": "values.scale is 'row'; it must be one of tensor, channel, block",
    "values: {kind: affine, bits: 4, block: 32}": "values has a block, but its scale is 'channel'",
    "values: {kind: affine, bits: 4, groups: 2}": "there is no key 'groups' in values",
    "values: {kind: ternary, bits: 2}": "there is no key 'bits' in values",
    "prune_weights: {structure: rows}": "prune_weights.structure is 'rows'; it must be one of any, windowed, blocks",
    "prune_weights: {structure: windowed, n: 8}": "prune_weights lacks m",
    "prune_weights: {structure: windowed, n: 8, m: 24}": "prune_weights.m is 24; it must be one of 16, 32, 64",
    "prune_weights: {structure: windowed, n: 17, m: 16}": "prune_weights.n is 17; it must be a whole number from 1 to 16",
    "prune_weights: {structure: windowed, n: 8, m: 32, sparsity: 0.5}": "there is no key 'sparsity' in prune_weights",
    "prune_weights: {structure: blocks, sparsity: 0.5}": "prune_weights lacks shape, which blocks need",
    "prune_weights: {structure: blocks, shape: 4x1}": "prune_weights lacks sparsity",
    "prune_weights: {structure: blocks, shape: 2x2, sparsity: 0.5}": "prune_weights.shape is '2x2'; it must be one of 1x4, 4x1, 4x4",
    "values: 4": "values is 4; it must have a kind",
    "values: {bits: 4}": "it must have a kind",
    "values: {kind: codebook}": "values lacks bits",
    "values: {kind: codebook, bits: 9}": "values.bits is 9; it must be a whole number from 1 to 8",
    "values: {kind: codebook, bits: 0}": "values.bits is 0;",
    "values: {kind: codebook, bits: true}": "values.bits is True;",
    "values: {kind: codebook, bits: four}": "values.bits is 'four';",
    "values: {kind: codebook, bits: 4, groups: 0}": "values.groups is 0; it must be a whole number of at least 1",
    "values: {kind: codebook, bits: 4, entries: bf16}": "values.entries is 'bf16'; it must be one of float32, float16, bfloat16, int8",
    "values: {kind: codebook, bits: 4, scale: row}": "values.scale is 'row'; it must be one of none, channel",
    "coder: zip": "coder is 'zip'; it must be one of raw, huffman, rans, arithmetic, smallest, auto",
    "prune_weights: {sparsity: 1}": "prune_weights.sparsity is 1; it must be a number of at least 0 and below 1",
    "prune_weights: {sparsity: -0.1}": "prune_weights.sparsity is -0.1",
    "prune_weights: {sparsity: .nan}": "prune_weights.sparsity is nan",
    "prune_weights: {quality: .inf}": "prune_weights.quality is inf",
    "prune_weights: {}": "prune_weights must have one of sparsity and quality",
    "prune_weights: {sparsity: 0.5, quality: 1}": "prune_weights must have one of sparsity and quality",
    "prune_weights: {quality: 1, scope: global}": "prune_weights.scope is 'global'; with quality every tensor has its own threshold",
    "prune_weights: {sparsity: 0.5, scope: layer}": "prune_weights.scope is 'layer'; it must be one of tensor, global",
    "prune_weights: 0.5": "prune_weights is 0.5; it must be a mapping with keys of quality, scope, sparsity",
    "prune_channels: {fraction: 2}": "prune_channels.fraction is 2",
    "prune_channels: {fraction: 0.2, importance: l2}": "prune_channels.importance is 'l2'; it must be one of l1, apoz",
    "prune_channels: {fraction: 0.2, scope: tensor}": "prune_channels.scope is 'tensor'; it must be one of global, layer",
    "exempt: {first: 1}": "exempt.first is 1; it must be true or false",
    "exempt: [first]": "exempt is ['first']; it must be a mapping with keys of biases, first, last",
    "exempt: {bias: true}": "there is no key 'bias' in exempt; the valid keys are biases, first, last",
    "min_size: -1": "min_size is -1; it must be a whole number of at least 0",
    "sparsify: true": "sparsify is True; it must be a number",
    "depthwise: {bits: 8}": "there is no key 'bits' in depthwise; the valid keys are coder, prune_weights, sparsify, values",
    "small: {values: fp16}": "small lacks below",
    "overrides: {match: a}": "overrides is {'match': 'a'}; it must be a list",
    "overrides: [{values: fp16}]": "overrides[0] lacks match",
    "overrides: [{match: a}, {match: b, bits: 3}]": "there is no key 'bits' in overrides[1]; the valid keys are coder, match, prune_channels, "
                                                    "prune_weights, sparsify, values",
    "overrides: [{match: a}, {match: b, values: {kind: codebook, bits: 10}}]": "overrides[1].values.bits is 10",
    "overrides: [{match: ''}]": "overrides[0].match is ''; it must be text",
    "coder: raw\ncoder: huffman": "the key 'coder' is given twice",
    "[dense]": "a recipe is ['dense']; it must be a mapping",
    "values: {kind: fp16": "is not YAML",
    "values: !!python/object/apply:os.system [id]": "is not YAML",
}


@pytest.mark.parametrize("text", WRONG)
def test_whatever_is_wrong_is_said_with_its_place(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text, "recipe mine.yaml")
    message = str(caught.value)
    assert message.startswith("recipe mine.yaml")
    assert WRONG[text] in message
    assert "\n" not in message


def test_every_preset_is_a_recipe() -> None:
    names = {"dense", "fp16", "sparse", "codebook-8", "codebook-4", "codebook-3", "codebook-2", "deep-compression", "binary", "affine-4", "ternary",
             "windowed", "int8", "codebook-4-int8", "codebook-3-int8", "codebook-2-int8", "xnor"}
    assert set(recipes.presets()) == names
    for name in names:
        verify(compress(convnet(), recipes.load(name)))


def test_unknown_recipes_list_the_presets(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'densest': it is no file, and the presets are affine-4, binary, codebook-2, .*sparse"):
        recipes.load("densest")
    with pytest.raises(RecipeError, match="no recipe"):
        recipes.load(str(tmp_path))


def test_a_recipe_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("values: fp16\ncoder: huffman\n")
    assert recipes.load(str(file)).settings == recipes.Settings(values="fp16", coder="huffman")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is no text"):
        recipes.load(str(file))


def test_an_empty_recipe_is_dense() -> None:
    assert parse("") == parse("# nothing") == recipes.load("dense") == recipes.Recipe()


# ---------------------------------------------------------------- who gets what


def settings_of(text: str) -> dict[str, recipes.Settings]:
    return parse(text).resolve(compress(convnet(), recipes.load("dense")))


def test_biases_are_exempt_unless_asked_for() -> None:
    found = settings_of("values: fp16")
    assert {name for name, s in found.items() if s.values == "fp32"} == {"stem.bias", "pw.bias", "fc.bias"}
    assert all(s.values == "fp16" for s in settings_of("values: fp16\nexempt: {biases: false}").values())
    assert settings_of("biases: {values: fp16}")["pw.bias"].values == "fp16"
    assert settings_of("biases: {values: fp16}")["pw.weight"].values == "fp32"


def test_biases_are_never_pruned_along() -> None:
    assert settings_of("prune_weights: {sparsity: 0.5}\nexempt: {biases: false}")["pw.bias"].prune_weights is None


def test_first_and_last_can_be_exempt() -> None:
    found = settings_of("values: binary\nexempt: {first: true, last: true}")
    assert [name for name, s in found.items() if s.values == "binary"] == ["dw.weight", "pw.weight"]


def test_depthwise_weights_have_their_own_section_and_are_not_pruned() -> None:
    found = settings_of("prune_weights: {sparsity: 0.5}\nvalues: binary\ndepthwise: {values: fp16}")
    assert found["dw.weight"] == recipes.Settings(values="fp16")
    assert found["pw.weight"] == recipes.Settings(prune_weights=Pruning(0.5), values="binary")
    pruned = settings_of("prune_weights: {sparsity: 0.5}\ndepthwise: {prune_weights: {sparsity: 0.2}}")
    assert pruned["dw.weight"].prune_weights == Pruning(0.2)


def test_small_weights_have_their_own_section() -> None:
    found = settings_of("prune_weights: {quality: 1}\nsmall: {below: 0.2, prune_weights: {quality: 0.5}}")
    total = 432 + 144 + 1024 + 2560
    assert found["stem.weight"].prune_weights == Pruning(quality=0.5)
    assert 432 < 0.2 * total < 1024
    assert found["pw.weight"].prune_weights == Pruning(quality=1.0)
    assert found["dw.weight"].prune_weights is None


def test_min_size() -> None:
    found = settings_of("values: fp16\nmin_size: 1000\noverrides: [{match: dw, values: fp16}]")
    assert [name for name, s in found.items() if s.values == "fp16"] == ["dw.weight", "pw.weight", "fc.weight"]


def test_the_last_matching_override_counts_key_by_key() -> None:
    found = settings_of("""
values: {kind: codebook, bits: 4}
coder: huffman
exempt: {last: true}
overrides:
- {match: "*.weight", values: {kind: codebook, bits: 5}, prune_weights: {sparsity: 0.5}}
- {match: pw, values: binary}
- {match: "stem*", prune_weights: null}
""")
    assert found["fc.weight"] == recipes.Settings(Pruning(0.5), None, Clustering(5), "raw")  # exempt, but the override asks
    assert found["pw.weight"] == recipes.Settings(Pruning(0.5), None, "binary", "huffman")
    assert found["pw.bias"].values == "binary"  # the pattern is the node's label
    assert found["stem.weight"].prune_weights is None


def test_an_override_that_matches_nothing_lists_the_names() -> None:
    with pytest.raises(RecipeError, match=r"overrides\[1\]\.match 'conv\*' matches nothing; the model has stem.weight, stem, "):
        folded("overrides: [{match: pw, values: fp16}, {match: 'conv*', values: fp16}]")


# ---------------------------------------------------------------- pipeline


def test_every_preset_makes_what_it_says() -> None:
    graph = {name: compress(convnet(), recipes.load(name)) for name in recipes.presets()}
    kinds = {name: [type(t.values).__name__ for t in g.weights.values() if len(t.shape) > 1] for name, g in graph.items()}
    assert kinds["dense"] == kinds["sparse"] == ["Plain"] * 4
    assert all(t.values.data.dtype == np.float16 for t in graph["fp16"].weights.values() if isinstance(t.values, Plain) and len(t.shape) > 1)
    for bits in (2, 3, 4):
        pw = graph[f"codebook-{bits}"].weights["pw.weight"].values
        assert isinstance(pw, Codebook)
        assert pw.bits == bits
    assert kinds["binary"] == ["Plain", "Plain", "Binary", "Plain"]
    assert isinstance(graph["binary"].weights["pw.weight"].values, Binary)
    deep = graph["deep-compression"].weights["fc.weight"]
    assert isinstance(deep.structure, Sparse)
    assert isinstance(deep.values, Codebook)
    assert deep.coder == "auto"


def test_dense_changes_nothing_but_folding() -> None:
    before = convnet()
    after = compress(before, recipes.load("dense"))
    assert [node.op for node in after.nodes] == ["Conv", "Conv", "Relu", "Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    x = np.random.default_rng(1).standard_normal((3, 3, 8, 8))
    expected, found = evaluate(before, {"x": x})["y"], evaluate(after, {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_sparse_stores_the_zeros_that_are_there() -> None:
    graph = convnet()
    w = graph.weights["fc.weight"].decode()
    w[np.abs(w) < 1] = 0
    weights = {**graph.weights, "fc.weight": EncodedTensor.dense(w)}
    after = compress(Graph(graph.inputs, graph.outputs, graph.nodes, weights), recipes.load("sparse"))
    assert isinstance(after.weights["fc.weight"].structure, Sparse)
    assert isinstance(after.weights["pw.weight"].structure, Dense)
    np.testing.assert_array_equal(after.weights["fc.weight"].decode(), w)


def test_channels_go_before_weights() -> None:
    after = folded("""
prune_channels: {fraction: 0.25, scope: layer}
prune_weights: {sparsity: 0.5}
values: {kind: codebook, bits: 3}
overrides: [{match: pw, prune_channels: {fraction: 0.5}}]
""")
    assert after.weights["stem.weight"].shape == (12, 3, 3, 3)
    assert after.weights["dw.weight"].shape == (12, 1, 3, 3)
    assert after.weights["pw.weight"].shape == (32, 12, 1, 1)
    assert after.weights["fc.weight"].shape == (40, 32)
    assert after.weights["pw.weight"].held == 32 * 12 // 2
    assert evaluate(after, {"x": np.ones((2, 3, 8, 8), np.float32)})["y"].shape == (2, 40)


def test_exempt_layers_keep_their_channels() -> None:
    after = folded("prune_channels: {fraction: 0.5, scope: layer}\nexempt: {first: true}")
    assert after.weights["stem.weight"].shape[0] == 16
    assert after.weights["pw.weight"].shape[:2] == (32, 16)


def test_progress_counts_the_weights() -> None:
    seen: list[tuple[str, int, int]] = []
    compress(convnet(), recipes.load("codebook-4"), progress=lambda *step: seen.append(step))
    assert seen[0] == ("clustering", 0, 2)
    assert seen[-1] == ("clustering", 2, 2)


def test_compress_changes_nothing_that_it_is_given() -> None:
    graph = convnet()
    before = {name: t.decode().copy() for name, t in graph.weights.items()}
    compress(graph, recipes.load("deep-compression"))
    assert list(graph.weights) == list(before)
    for name, array in before.items():
        np.testing.assert_array_equal(graph.weights[name].decode(), array)


@pytest.mark.parametrize("preset", ["deep-compression", "codebook-4", "binary"])
def test_same_model_and_recipe_same_bytes_on_any_cpu(preset: str) -> None:
    """NumPy chooses its own code by CPU; with its choices switched off the file is the same."""
    script = ("import sys, zlib; sys.path.insert(0, sys.argv[2]); import test_recipes as t; "
              "print(zlib.crc32(t.to_bytes(t.compress(t.convnet(), t.recipes.load(sys.argv[1])))))")
    plain = {**os.environ, "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL X86_V3 X86_V4",
             "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "2"}
    found = subprocess.run([sys.executable, "-c", script, preset, str(Path(__file__).parent)], env=plain, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    import zlib

    assert int(found.stdout) == zlib.crc32(to_bytes(compress(convnet(), recipes.load(preset))))


def test_the_documented_recipe_and_all_keys() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "recipes.md").read_text("utf-8")
    (example,) = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]
    found = parse(example)
    assert found.small.below == 0.01
    assert [override.match for override in found.overrides] == ["features.0*", "classifier.1.weight"]
    with pytest.raises(RecipeError) as caught:
        parse("none: 1")
    keys = str(caught.value).split("valid keys are ")[1].split(", ")
    assert sorted(keys) == sorted(line.split("`")[1] for line in page.splitlines() if line.startswith("| `"))
