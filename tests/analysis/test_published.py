"""The figures of networks in the library, against what is published about them."""

import subprocess
import sys

import pytest

import netdsl
from netdsl.analysis.receptive import Field, receptive_fields
from netdsl.analysis.summary import summary_json


def test_googlenet_with_and_without_its_heads() -> None:
    data = summary_json(netdsl.load("googlenet").network)
    assert (data["parameters"], data["macs"], data["buffers"]) == (6_624_904, 1_498_376_192, 171)
    assert data["with_auxiliary"]["parameters"] == 13_004_888  # type: ignore[index]


def test_lenet_of_1998() -> None:
    data = summary_json(netdsl.load("lenet5_1998").network)
    assert (data["parameters"], data["connections"]) == (60_000, 340_908)


@pytest.mark.parametrize(
    ("spec", "before", "size", "stride"),
    [
        # Araujo et al. 2019: VGG-16 up to pool5.
        ("vgg16", "avgpool", 212, 32),
        # The same equations by hand: torchvision steps in the first block of a stage, where the article's network steps
        # in the last and sees 483.
        ("resnet50", "layer4", 427, 32),
        ("resnet18", "layer4", 435, 32),
    ],
)
def test_receptive_fields(spec: str, before: str, size: int, stride: int) -> None:
    network = netdsl.load(spec).network
    name = network.resolve(before)
    if before == "avgpool":
        (name,) = network.node(name).inputs
    field = receptive_fields(network)[name]
    assert isinstance(field, Field)
    assert [(axis.size, axis.stride) for axis in field.axes] == [(size, stride)] * 2


def test_a_summary_needs_neither_graph_nor_array_library() -> None:
    code = (
        "import sys, netdsl; net = netdsl.load('resnet18'); str(net.summary()); net.summary().json(); "
        "net.explain('conv1'); "
        "print(sorted({'numpy', 'networkx', 'graphviz', 'pygraphviz', 'PIL', 'rich'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
