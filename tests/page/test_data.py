"""What the page knows of a network: facts of the papers, and that nothing is lost or counted twice."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from toys import Add, Conv, Norm, Relu, Wired

import netdsl
from netdsl.draw import DrawError
from netdsl.draw.page.data import page_data


@cache
def data(name: str) -> dict[str, Any]:
    """As the page reads it: through JSON."""
    found: dict[str, Any] = json.loads(json.dumps(page_data(netdsl.load(name).network)))
    return found


def line(name: str, layer: str) -> dict[str, Any]:
    nodes = data(name)["nodes"]
    number = nodes["name"].index(layer)
    return {column: values[number] for column, values in nodes.items()}


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    # torchvision 0.28, meta["num_params"]; multiply-accumulates of convolutions and dense layers by fvcore.
    [("resnet50", 25_557_032, 4_089_184_256), ("efficientnet_b0", 5_288_548, 385_814_752)],
)
def test_columns_add_up_to_the_published_counts(name: str, parameters: int, macs: int) -> None:
    nodes = data(name)["nodes"]
    assert sum(nodes["parameters"]) == parameters == data(name)["totals"]["parameters"]
    assert sum(nodes["macs"]) == macs == data(name)["totals"]["macs"]


@pytest.mark.parametrize("name", ["lenet5", "resnet50", "googlenet", "efficientnet_b7", "unet", "inception_v4"])
def test_scopes_hold_every_layer_once_and_wires_lead_forward(name: str) -> None:
    """In Inception v4 some joins are called like the scope that their lanes stand in."""
    found = data(name)
    nodes, scopes = found["nodes"], found["scopes"]
    parts = [part for scope in scopes for part in scope["parts"]]
    assert sorted(part for part in parts if part >= 0) == list(range(len(nodes["name"])))
    assert sorted(-1 - part for part in parts if part < 0) == list(range(1, len(scopes)))
    for number, scope in enumerate(scopes):
        inside = f"{scope['name']}." if scope["name"] else ""
        for part in scope["parts"]:
            assert (nodes["name"][part] if part >= 0 else scopes[-1 - part]["name"]).startswith(inside)
            # A scope comes before those inside it, so that no walk goes in a circle.
            assert part >= 0 or -1 - part > number
    assert all(source < number for number, sources in enumerate(nodes["inputs"]) for source in sources)


def test_all_columns_have_a_line_for_each_layer_and_numbers_name_something() -> None:
    found = data("googlenet")
    nodes = found["nodes"]
    assert {len(column) for column in nodes.values()} == {len(nodes["name"])}
    for column in ("kind", "category", "caption", "about", "type", "address"):
        assert all(found["texts"][number] for number in nodes[column])
    assert max(nodes["board"]) < len(found["boards"]) and max(nodes["weights"]) < len(found["weights"])
    assert max(nodes["span"]) < len(found["spans"]) and max(nodes["reach"]) < len(found["reaches"])
    # Both auxiliary heads of the paper run in training only.
    assert sorted(name for name, _, training in found["outputs"] if training) == ["aux1", "aux2"]


def test_equal_blocks_fold_as_the_paper_counts_them() -> None:
    """He et al. 2016, table 1: stages of 3, 4, 6 and 3 blocks; the first of each changes the shape."""
    scopes = {scope["name"]: scope for scope in data("resnet50")["scopes"]}
    assert [scopes[f"layer{stage}"]["folds"] for stage in (1, 2, 3, 4)] == [[[1, 1, n - 1]] for n in (3, 4, 6, 3)]
    assert all(not scope["folds"] for scope in page_data(netdsl.load("resnet50").network, fold=False)["scopes"])  # type: ignore[attr-defined]


def test_what_is_equal_inside_equal_scopes_folds_in_each_of_them() -> None:
    net = netdsl.loads("network n {\n input 8x4x4\n outer: for i in range(3) { g{i}: { repeat 9 { conv(8, 1x1) } } } }")
    scopes = {scope["name"]: scope for scope in page_data(net.network)["scopes"]}  # type: ignore[attr-defined]
    assert scopes["outer"]["folds"] == [[0, 1, 3]]
    assert [scopes[f"outer.g{i}"]["folds"] for i in range(3)] == [[[0, 1, 9]]] * 3


def test_runs_fold_with_their_length() -> None:
    net = netdsl.loads("network n {\n input 8x4x4\n repeat 10 { conv(8, 1x1) -> relu }\n}")
    (root,) = page_data(net.network)["scopes"]  # type: ignore[misc]
    # The input comes first.
    assert root["folds"] == [[1, 2, 10]] and len(root["parts"]) == 21


def test_a_normalization_and_an_activation_share_the_box_of_their_convolution() -> None:
    follows = {
        name: line("resnet50", name)["follows"] for name in ("conv1", "bn1", "0", "maxpool", "layer1.0.2", "layer1.0.3")
    }
    assert follows == {"conv1": 0, "bn1": 1, "0": 1, "maxpool": 0, "layer1.0.2": 0, "layer1.0.3": 1}


def test_whoever_is_read_twice_ends_the_box() -> None:
    wired = Wired("n", 4, 8, 8)
    wired("conv", Conv(filters=4, kernel=1))
    wired("norm", Norm(), "conv")
    wired("relu", Relu(), "norm")
    wired("add", Add(), ["relu", "norm"])
    nodes: Any = page_data(wired.output())["nodes"]
    assert dict(zip(nodes["name"], nodes["follows"], strict=True)) == {
        "image": 0,
        "conv": 0,
        "norm": 1,
        "relu": 0,
        "add": 0,
    }


def test_receptive_field_of_vgg16() -> None:
    """Araujo et al. 2019, table of networks: 212 inputs, a step of 32, padding 90."""
    pools = [
        name
        for name, kind in zip(data("vgg16")["nodes"]["name"], data("vgg16")["nodes"]["kind"], strict=True)
        if data("vgg16")["texts"][kind] == "max_pool"
    ]
    source, axes = data("vgg16")["reaches"][line("vgg16", pools[-1])["reach"]]
    assert (source, axes) == (0, [[-90, 32, 212]] * 2)


def test_arithmetic_is_what_explain_shows() -> None:
    from netdsl.analysis.board import explain_layer

    for name in ("conv1", "layer2.0.downsample.0", "fc", "maxpool"):
        found = data("resnet50")
        shown = [
            [found["texts"][title], [found["texts"][text] for text in lines]]
            for title, lines in found["boards"][line("resnet50", name)["board"]]
        ]
        steps = explain_layer(netdsl.load("resnet50").network, name).steps
        assert shown == [[step.title, list(step.lines)] for step in steps if step.title != "Input"]


def test_layers_know_their_lines_and_the_calls_that_led_there() -> None:
    found = data("resnet50")
    row = line("resnet50", "layer1.0.conv2")
    file, first, _, last, _ = found["spans"][row["span"]]
    text = found["files"][file]["text"].splitlines()
    assert "conv2: conv(width, 3x3" in text[first - 1] and first == last
    ((block, scope, span),) = found["chains"][row["chain"]]
    assert (block, scope) == ("bottleneck", "layer1.0")
    assert "unit(64 * 2 ** i" in text[found["spans"][span][1] - 1]


def test_the_file_of_the_network_comes_first() -> None:
    assert data("googlenet")["files"][0]["name"] == "specs/googlenet.net"


def test_shared_weights_are_counted_once_and_name_their_owner() -> None:
    wired = Wired("n", 4, 8, 8)
    wired("a", Conv(filters=4, kernel=1))
    node = wired.network.node("a")
    wired.network.add(node._replace(name="b", inputs=("a",)))
    found: Any = page_data(wired.network)
    nodes = found["nodes"]
    assert nodes["parameters"] == [0, 20, 0] and [found["texts"][number] for number in nodes["address"]][1:] == [
        "a",
        "a",
    ]


def test_unknown_extents_are_null() -> None:
    found = data("edges")
    assert (
        None in found["nodes"]["macs"]
        and found["totals"]["macs"] is None
        and "only known when the network runs" in found["unknown"]
    )


def test_more_layers_than_the_limit() -> None:
    with pytest.raises(DrawError, match="13 layers, more than 12") as error:
        page_data(netdsl.load("lenet5").network, limit=12)
    assert error.value.code == "E0804"


def test_scopes_may_nest_deeper_than_python_calls() -> None:
    wired = Wired("deep", 4, 8, 8)
    wired(".".join(["s"] * 3000) + ".conv", Conv(filters=4, kernel=1))
    assert len(page_data(wired.output())["scopes"]) == 3001  # type: ignore[arg-type]
