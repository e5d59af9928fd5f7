"""Each pass on the networks that its docstring names: where it is legal, and where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import assert_close, inputs_of, reference, values_of

import netdsl
from netdsl.passes import PIPELINE, Bound, Fused, bind, run, verify


def bound_of(body: str, outputs: dict[str, str] | None = None) -> Bound:
    network = netdsl.loads(f"network n() {{\n  input x: 4x9x9\n{body}\n}}").network
    return bind(network, values_of(network), outputs)


def kinds(bound: Bound) -> list[str]:
    """What the nodes compute, e.g. `conv+residual+relu`."""
    found = []
    for node in bound.network.nodes():
        layer = node.layer
        if isinstance(layer, Fused):
            parts = [layer.core.kind, *["residual"] * layer.residual]
            found.append("+".join([*parts, *([layer.activation.kind] if layer.activation else [])]))
        elif node.inputs:
            found.append(layer.kind)
    return found


CASES = [
    ("a lone bn is an affine", "max_pool(3) -> batch_norm", ["max_pool", "affine"]),
    ("conv, bn, relu", "conv(8, 3x3) -> batch_norm -> relu", ["conv+relu"]),
    ("dropout between", "conv(8, 3x3) -> dropout(0.5) -> batch_norm -> dropout(0.1) -> relu", ["conv+relu"]),
    ("several scales", "conv(8, 3x3) -> batch_norm -> scale(2) -> shift(1) -> affine -> relu", ["conv+relu"]),
    ("depthwise", "depthwise_conv(3x3) -> batch_norm -> relu6", ["depthwise_conv+relu6"]),
    ("groups of one channel", "conv(8, 3x3, groups = 4)", ["depthwise_conv"]),
    ("transposed", "conv_transpose(6, 3x3, groups = 2) -> batch_norm -> silu", ["conv_transpose+silu"]),
    ("zeros around", "pad((0, 1, 2, 1)) -> conv(4, 3x3, padding = 1)", ["conv"]),
    ("ones around", "pad(1, value = 1.0) -> conv(4, 3x3)", ["pad", "conv"]),
    ("a mirror around", "pad(1, mode = reflect) -> conv(4, 3x3)", ["pad", "conv"]),
    ("a mirror of a convolution", "conv(4, 3x3, padding = 1, padding_mode = reflect)", ["pad", "conv"]),
    ("prelu has weights", "conv(4, 3x3) -> prelu", ["conv", "prelu"]),
    ("softmax is not of one element", "conv(4, 3x3) -> softmax", ["conv", "softmax"]),
    ("one activation only", "conv(4, 3x3) -> relu -> tanh", ["conv+relu", "tanh"]),
    ("bn behind relu", "conv(4, 3x3) -> relu -> batch_norm", ["conv+relu", "affine"]),
    ("dense over a map", "flatten -> dense(5) -> relu -> dense(3)", ["conv+relu", "flatten", "dense"]),
    ("dense over one position", "global_avg_pool -> flatten -> dense(5)", ["global_avg_pool", "flatten", "dense"]),
    ("dense, bn", "flatten -> dense(5) -> batch_norm", ["conv", "flatten"]),
    ("no pooling", "adaptive_avg_pool(9) -> relu", ["relu"]),
    ("nothing", "pad(0) -> scale(1) -> identity -> decimate(1) -> relu", ["relu"]),
    ("a kernel turned around", "conv(4, 2x3, flip_kernel = true)", ["conv"]),
    (
        "standardised weights",
        "std_conv(4, 3x3, groups = 2) -> scaled_std_conv(6, 3x3, bias = true) -> relu",
        ["conv", "conv+relu"],
    ),
    ("bn before conv", "relu -> batch_norm -> conv(4, 3x3)", ["relu", "conv"]),
    (
        "bn before groups",
        "relu -> batch_norm -> conv(4, 3x3, groups = 2) -> relu -> affine -> depthwise_conv(3x3, multiplier = 2)",
        ["relu", "conv+relu", "depthwise_conv"],
    ),
    ("bn before dense", "flatten -> relu -> batch_norm -> dense(3, bias = false)", ["flatten", "relu", "dense"]),
    ("bn before padding", "relu -> batch_norm -> conv(4, 3x3, padding = 1)", ["relu", "affine", "conv"]),
    ("a scale before padding", "relu -> scale(2) -> conv(4, 3x3, padding = 1)", ["relu", "conv"]),
    ("padding, bn, conv", "relu -> pad(1) -> batch_norm -> conv(4, 3x3)", ["relu", "conv"]),
    (
        "bn read twice",
        "relu -> bn: batch_norm -> c: conv(4, 1x1)\nadd {\n| from bn\n| from c\n}",
        ["relu", "affine", "conv+residual"],
    ),
    ("a table", "conv(2, 3x3, connections = [[0, 2], [1]]) -> batch_norm", ["conv"]),
    (
        "residual",
        "a: conv(4, 3x3, padding = 1) -> bn: batch_norm\nadd {\n| from x\n| from bn\n} -> relu",
        ["conv+residual+relu"],
    ),
    (
        "the later lane takes the earlier one in",
        "a: conv(4, 1x1)\nb: from x -> conv(4, 3x3, padding = 1)\nadd {\n| from a\n| from b\n} -> relu",
        ["conv", "conv+residual+relu"],
    ),
    (
        "a lane that repeats is no residual",
        "a: conv(4, 1x1)\nb: from x -> global_avg_pool\nadd {\n| from a\n| from b\n} -> relu",
        ["conv", "global_avg_pool", "add+relu"],
    ),
    (
        "what is read twice stays",
        "a: conv(4, 1x1)\nb: from a -> batch_norm\nconcat {\n| from a\n| from b\n}",
        ["conv", "affine", "concat"],
    ),
    (
        "computed twice",
        "a: max_pool(3)\nb: from x -> max_pool(3)\nc: from x -> max_pool(3, padding = 1)\nd: add {\n| from a\n| from b\n}\ne: from c -> relu\nf: concat {\n| from d\n| from d\n}",
        ["max_pool", "add", "concat"],
    ),
    (
        "equal layers with weights of their own",
        "a: conv(4, 1x1)\nb: from x -> conv(4, 1x1)\nconcat {\n| from a\n| from b\n}",
        ["conv", "conv", "concat"],
    ),
]


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_left(body: str, expected: list[str]) -> None:
    bound = bound_of(body)
    passed = run(bound)
    assert kinds(passed) == expected
    inputs = inputs_of(bound.network)
    before, after = reference(bound, inputs), reference(passed, inputs)
    for name, array in before.items():
        assert_close(after[name], array)


def test_an_output_is_not_fused_away() -> None:
    bound = bound_of("a: conv(4, 3x3)\nb: batch_norm\nc: relu", {"a": "a", "b": "b", "c": "c"})
    assert kinds(run(bound)) == ["conv", "affine", "relu"]
    inputs = inputs_of(bound.network)
    for name, array in reference(bound, inputs).items():
        assert_close(reference(run(bound), inputs)[name], array)


def test_folded_weights_are_scale_times_weight() -> None:
    """weight' = weight * gamma / sqrt(var + eps), bias' = beta - mean * gamma / sqrt(var + eps)."""
    bound = bound_of("c: conv(2, 1x1, bias = false)\nn: batch_norm(eps = 0.25)")
    values = dict(bound.values)
    values["n.running_var"] = np.array([0.75, 3.75], np.float32)
    values["n.running_mean"] = np.array([1, 2], np.float32)
    values["n.weight"] = np.array([2, 4], np.float32)
    values["n.bias"] = np.array([10, 20], np.float32)
    passed = run(Bound(bound.network, values))
    (node,) = (node for node in passed.network.nodes() if node.inputs)
    weights = passed.weights(node)
    factors = np.array([2, 2], np.float32)
    np.testing.assert_allclose(weights["weight"], values["c.weight"] * factors[:, None, None, None], rtol=1e-6)
    np.testing.assert_allclose(weights["bias"], [10 - 1 * 2, 20 - 2 * 2], rtol=1e-6)


def test_heads_that_run_in_training_only_are_left_out() -> None:
    net = netdsl.load("googlenet", shape="3x64x64")
    bound = bind(net.network, values_of(net.network))
    assert set(bound.network.outputs) == set(net.network.outputs)
    assert not any(name.startswith("aux") for name in (*bound.network.table, *bound.values))


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("resnet18", 20 + 2 + 1 + 1),  # convolutions, pools, flatten, classifier
        ("vgg16", 13 + 5 + 1 + 1 + 2),  # the first of three dense layers is a convolution; no pooling of 7x7 to 7x7
        ("mobilenet_v2", 52 + 1 + 1 + 1),
    ],
)
def test_published_networks_come_down_to_their_convolutions(name: str, nodes: int) -> None:
    network = netdsl.load(name, shape="3x224x224").network
    passed = run(bind(network, values_of(network)))
    assert len([node for node in passed.network.nodes() if node.inputs]) == nodes


def test_extents_that_are_not_known_yet() -> None:
    network = netdsl.loads(
        "network n() {\n  input x: 3x?x?\n  conv(4, 3x3, padding = same) -> batch_norm -> relu\n"
        "  global_avg_pool -> flatten -> dense(2)\n}"
    ).network
    passed = run(bind(network, values_of(network)))
    assert kinds(passed) == ["conv+relu", "global_avg_pool", "flatten", "dense"]


def test_each_pass_has_a_name_of_its_own_and_says_when_it_is_legal() -> None:
    assert len({each.name for each in PIPELINE}) == len(PIPELINE)
    for each in PIPELINE:
        assert each.__doc__ and ("legal" in each.__doc__ or "1." in each.__doc__), each.name


def test_an_unknown_pass_is_refused() -> None:
    with pytest.raises(KeyError):
        run(bound_of("relu"), "fuse")


def test_verify_finds_what_is_wrong() -> None:
    bound = bound_of("c: conv(4, 3x3)\nr: relu")
    verify(bound)
    node = bound.network.node("r")
    wrong = node._replace(type=bound.network.type_of("x"))
    with pytest.raises(ValueError, match="stored type"):
        verify(bound.with_nodes([bound.network.node("x"), bound.network.node("c"), wrong]))
    with pytest.raises(ValueError, match="has no values"):
        verify(Bound(bound.network, {"c.bias": bound.values["c.bias"]}))
    with pytest.raises(ValueError, match="has shape"):
        verify(Bound(bound.network, {**bound.values, "c.bias": np.zeros(3, np.float32)}))
