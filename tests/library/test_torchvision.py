"""All 68 classification networks of torchvision 0.28: names, shapes and types of weights, counts, what training uses.

The figures were read off torchvision itself (`make_torchvision.py`).
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import netdsl
from netdsl.analysis.cost import weights
from netdsl.ir import TensorType

HERE = Path(__file__).parent
FACTS: dict[str, Any] = json.loads(gzip.decompress((HERE / "torchvision_states.json.gz").read_bytes()))
NETWORKS: dict[str, dict[str, Any]] = FACTS["networks"]
NAMES = sorted(NETWORKS)
HEADS = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}

# Where the smallest image that the weights state is due to the arithmetic: one pixel less does not fit.
TIGHT = (
    "alexnet",
    "densenet121",
    "googlenet",
    "inception_v3",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg11",
    "convnext_tiny",
)

# A family's network without a variant is this variant.
DEFAULTS = {
    "convnext": "convnext_tiny",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "efficientnet_v2": "efficientnet_v2_s",
    "mnasnet": "mnasnet1_0",
    "mobilenet_v3": "mobilenet_v3_large",
    "regnet": "regnet_x_400mf",
    "resnet": "resnet50",
    "shufflenet_v2": "shufflenet_v2_x1_0",
    "squeezenet": "squeezenet1_0",
    "vgg": "vgg16",
}

# Parameters of torchvision's networks with another width_mult.
WIDTHS = [
    ("mobilenet_v2", 0.25, 1_519_112),
    ("mobilenet_v2", 0.35, 1_677_128),
    ("mobilenet_v2", 0.5, 1_968_680),
    ("mobilenet_v2", 0.75, 2_636_424),
    ("mobilenet_v2", 1.3, 5_386_792),
    ("mobilenet_v2", 1.4, 6_108_776),
    ("mobilenet_v3_large", 0.35, 997_064),
    ("mobilenet_v3_large", 0.5, 1_734_576),
    ("mobilenet_v3_large", 0.75, 3_377_576),
    ("mobilenet_v3_large", 1.25, 8_164_744),
    ("mobilenet_v3_small", 0.35, 558_744),
    ("mobilenet_v3_small", 0.5, 917_264),
    ("mobilenet_v3_small", 0.75, 1_653_920),
    ("mobilenet_v3_small", 1.25, 3_644_912),
]

State = dict[str, tuple[tuple[int, ...], str, str]]


@cache
def net(name: str) -> netdsl.Net:
    return netdsl.load(name)


def state_here(network: netdsl.Net) -> State:
    """Weight -> shape, dtype, role."""
    return {name: (weight.shape, weight.dtype, weight.role) for name, weight in weights(network.network)}


def state_there(name: str) -> State:
    tensors = [(tuple(shape), dtype, role) for shape, dtype, role in FACTS["tensors"]]
    return {key: tensors[place] for key, place in NETWORKS[name]["state"]}


def differences(here: State, there: State) -> list[str]:
    """One line for each weight that is missing, is too many, or is another."""
    lines = [f"missing: {name} {there[name]}" for name in there if name not in here]
    lines += [f"too many: {name} {here[name]}" for name in here if name not in there]
    lines += [
        f"{name}: {here[name]}, not {there[name]}" for name in there if name in here and here[name] != there[name]
    ]
    return lines


def layers(network: netdsl.Net, kind: str) -> list[Any]:
    return [node.layer for node in network.network.nodes() if node.layer.kind == kind]


def test_there_are_68() -> None:
    assert len(NAMES) == 68


@pytest.mark.parametrize("name", NAMES)
def test_state(name: str) -> None:
    here, there = state_here(net(name)), state_there(name)
    found = differences(here, there)
    assert not found, f"{len(found)} differences\n" + "\n".join(found[:20])


@pytest.mark.parametrize("name", NAMES)
def test_order_of_weights(name: str) -> None:
    """The order is torchvision's too, so that weights with other names can be taken over by position.

    A parameter of a module of its own (ConvNeXt's layer_scale) comes before those of the modules in it there, and where
    it is applied here.
    """
    here = [key for key in state_here(net(name)) if not key.endswith("layer_scale")]
    assert here == [key for key in state_there(name) if not key.endswith("layer_scale")]


@pytest.mark.parametrize("name", NAMES)
def test_counts(name: str) -> None:
    report, facts = net(name).report, NETWORKS[name]
    assert report.parameters == facts["parameters"]
    assert report.trainable_parameters == facts["parameters"]
    assert report.macs == facts["macs"]
    assert report.buffers == facts["buffers"]
    assert report.with_auxiliary.parameters == facts["parameters_with_auxiliary"]


@pytest.mark.parametrize("name", NAMES)
def test_input_and_output(name: str) -> None:
    crop = NETWORKS[name]["crop"]
    assert list(net(name).inputs.values()) == [TensorType((3, crop, crop))]
    assert list(net(name).outputs.values()) == [TensorType((1000,))]


@pytest.mark.parametrize("name", NAMES)
def test_other_number_of_classes(name: str) -> None:
    """Nothing but the classifiers changes, and they make as many numbers as there are classes."""
    before, after = state_here(net(name)), state_here(netdsl.load(name, classes=37))
    changed = {key for key in before if before[key] != after[key]}
    assert before.keys() == after.keys()
    assert {before[key][0][0] for key in changed} == {1000}
    assert {after[key][0][0] for key in changed} == {37}
    assert len(changed) == 2 * (1 + len(HEADS.get(name, ())))


@pytest.mark.parametrize(("family", "variant"), DEFAULTS.items())
def test_a_family_without_a_variant(family: str, variant: str) -> None:
    plain = net(family)
    assert state_here(plain) == state_here(net(variant))
    assert plain.macs == net(variant).macs
    assert plain.network.preprocess == net(variant).network.preprocess
    assert [layer.rate for layer in layers(plain, "dropout")] == NETWORKS[variant]["dropout"]
    rates = [layer.rate for layer in layers(plain, "stochastic_depth")]
    assert rates == pytest.approx(NETWORKS[variant]["stochastic_depth"], abs=1e-12)


@pytest.mark.parametrize(("name", "width", "parameters"), WIDTHS)
def test_other_widths(name: str, width: float, parameters: int) -> None:
    assert netdsl.load(name, width=width).parameters == parameters


@pytest.mark.parametrize("name", sorted(HEADS))
def test_without_auxiliary_heads(name: str) -> None:
    network = netdsl.load(name, auxiliary_heads=False)
    there = {key: value for key, value in state_there(name).items() if not key.startswith(HEADS[name])}
    assert not differences(state_here(network), there)
    assert network.report.with_auxiliary.parameters == network.parameters == NETWORKS[name]["parameters"]
    assert network.macs == NETWORKS[name]["macs"]


@pytest.mark.parametrize(
    ("name", "crop", "macs"),
    [(name, other["crop"], other["macs"]) for name in NAMES for other in NETWORKS[name]["other_crops"]],
)
def test_other_published_crops(name: str, crop: int, macs: int) -> None:
    assert netdsl.load(name, shape=(3, crop, crop)).macs == macs
    assert netdsl.load(name, resolution=crop).macs == macs


@pytest.mark.parametrize("name", NAMES)
def test_smallest_image(name: str) -> None:
    size = NETWORKS[name]["smallest"]
    network = netdsl.load(name, shape=(3, size, size))
    assert network.parameters == NETWORKS[name]["parameters"]
    assert not differences(state_here(network), state_there(name))


@pytest.mark.parametrize("name", TIGHT)
def test_one_pixel_less_does_not_fit(name: str) -> None:
    size = NETWORKS[name]["smallest"] - 1
    with pytest.raises(netdsl.SpecError):
        netdsl.load(name, shape=(3, size, size))


@pytest.mark.parametrize("name", NAMES)
def test_any_size(name: str) -> None:
    """Extents may be left open until an image comes."""
    network = netdsl.load(name, shape="3x?x?", **({"auxiliary_heads": False} if name == "inception_v3" else {}))
    assert network.parameters == NETWORKS[name]["parameters"]
    assert network.macs is None


# ------------------------------------------------------------------------------ what evaluation alone does not show


@pytest.mark.parametrize("name", NAMES)
def test_dropout(name: str) -> None:
    assert sorted(layer.rate for layer in layers(net(name), "dropout")) == NETWORKS[name]["dropout"]


@pytest.mark.parametrize("name", NAMES)
def test_stochastic_depth(name: str) -> None:
    found = layers(net(name), "stochastic_depth")
    assert sorted(layer.rate for layer in found) == pytest.approx(NETWORKS[name]["stochastic_depth"], abs=1e-12)
    assert {layer.mode for layer in found} <= {"row"}


@pytest.mark.parametrize("name", NAMES)
def test_normalization(name: str) -> None:
    batch = [("batch_norm", layer.eps, layer.momentum) for layer in layers(net(name), "batch_norm")]
    layer_norm = [("layer_norm", layer.eps, None) for layer in layers(net(name), "layer_norm")]
    found = sorted([*kind, count] for kind, count in Counter(batch + layer_norm).items())
    assert found == NETWORKS[name]["normalization"]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("convnext")])
def test_layer_scale_starts_near_zero(name: str) -> None:
    found = [weight.initial for key, weight in weights(net(name).network) if key.endswith("layer_scale")]
    assert len(found) == len(NETWORKS[name]["stochastic_depth"])
    assert set(found) == {1e-6}


@pytest.mark.parametrize("name", NAMES)
def test_preprocess(name: str) -> None:
    """That of the default weights. For two networks torchvision's normalizes as ImageNet wants it, and the network then
    changes that to (x - 0.5) / 0.5 when it has published weights; here it is done at once."""
    facts = NETWORKS[name]["preprocess"]
    resize, crop, normalize = net(name).network.preprocess
    assert (resize.kind, resize.size, resize.interpolation) == ("resize", facts["resize"], facts["interpolation"])
    assert (crop.kind, crop.size) == ("center_crop", facts["crop"])
    imagenet = facts["mean"] == [0.485, 0.456, 0.406] and facts["std"] == [0.229, 0.224, 0.225]
    half = facts["mean"] == facts["std"] == [0.5, 0.5, 0.5] or name in HEADS
    assert imagenet or half
    assert (normalize.kind, normalize.statistics) == ("normalize", "inception" if half else "imagenet")
