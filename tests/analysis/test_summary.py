"""The summary: its tree, its tables and its plain data."""

import csv
import io
import json
import time
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console
from toys import Add, Concat, Conv, Dense, Flatten, GlobalPool, Input, Norm, Pool, Relu, Wired, chain, residual_network

import netdsl
from netdsl.analysis.cost import measure
from netdsl.analysis.notation import byte_size, caption, scaled
from netdsl.analysis.summary import Summary, summary_json
from netdsl.analysis.terminal import show
from netdsl.analysis.tree import Item, tree, walk
from netdsl.ir.network import Network


def items(network: Network, fold: bool = True) -> tuple[Item, ...]:
    return tree(network, measure(network).rows, fold)


def outline(network: Network, depth: int | None = None, fold: bool = True) -> list[str]:
    found = []
    for level, item, _ in walk(items(network, fold), depth):
        times = f" x{item.repeats}" if item.repeats > 1 else ""
        found.append("  " * level + (item.name if item.name == item.last else f"{item.name}..{item.last}") + times)
    return found


# --------------------------------------------------------------------------------------------------------------- tree


def test_the_tree_of_resnet50() -> None:
    network = residual_network()
    assert outline(network, depth=2) == [
        "image", "conv1", "bn1", "relu", "maxpool",
        "layer1", "  layer1.0", "  layer1.1..layer1.2 x2",
        "layer2", "  layer2.0", "  layer2.1..layer2.3 x3",
        "layer3", "  layer3.0", "  layer3.1..layer3.5 x5",
        "layer4", "  layer4.0", "  layer4.1..layer4.2 x2",
        "avgpool", "flatten", "fc",
    ]  # fmt: skip
    assert outline(network, depth=2, fold=False)[5:9] == ["layer1", "  layer1.0", "  layer1.1", "  layer1.2"]
    assert outline(network, depth=0) == []


def test_what_stands_at_one_level_adds_up_to_the_network() -> None:
    network = residual_network()
    report = measure(network)
    for depth in (1, 2, 3, None):
        for figure in ("parameters", "trainable_parameters", "buffers", "macs", "other_flops", "activation_bytes"):
            lines = [item for _, item, is_open in walk(items(network), depth) if not is_open]
            weights = {id(item): 1 for item in lines}
            if depth is None:
                # Inside a fold, one of the equal ones is shown.
                weights = dict.fromkeys(weights, 1)
                continue
            if depth == 3:
                continue
            assert sum(getattr(item.totals, figure) for item in lines) == getattr(report, figure)


def test_a_difference_anywhere_inside_keeps_neighbours_apart() -> None:
    wired = Wired("nearly", 4, 8, 8)
    for number, kernel in enumerate((3, 3, 1)):
        wired(f"{number}.conv", Conv(filters=4, kernel=kernel, padding=kernel // 2))
        wired(f"{number}.relu", Relu())
    assert outline(wired.output(), depth=1) == ["image", "0..1 x2", "2"]


def test_a_difference_in_wiring_keeps_neighbours_apart() -> None:
    wired = Wired("wiring", 4, 8, 8)
    previous = "image"
    for number in range(3):
        first = wired(f"{number}.a", Relu(), previous)
        second = wired(f"{number}.b", Relu(), first if number < 2 else previous)
        previous = wired(f"{number}.sum", Add(), [first, second])
    assert outline(wired.output(), depth=1) == ["image", "0..1 x2", "2"]


def test_shared_weights_keep_neighbours_apart() -> None:
    wired = Wired("shared", 4, 8, 8)
    for number in range(3):
        wired(f"{number}.conv", Conv(filters=4, kernel=1), address="0.conv" if number == 1 else "")
    assert outline(wired.output(), depth=1) == ["image", "0", "1", "2"]


def test_equal_lanes_side_by_side_are_folded() -> None:
    wired = Wired("split_transform_merge", 4, 8, 8)
    lanes = [wired(f"lane{number}.conv", Conv(filters=4, kernel=1), "image") for number in range(32)]
    wired("sum", Add(), lanes)
    assert outline(wired.output(), depth=1) == ["image", "lane0..lane31 x32", "sum"]


def test_long_repetitions_without_scopes_are_folded() -> None:
    layers = [Conv(filters=8, kernel=3, padding=1), Relu()]
    network = chain("flat", (8, 8, 8), *layers * 50)
    assert outline(network) == ["image", "0..99 x50", "  0", "  1"]
    assert items(network)[1].totals.parameters == 50 * (8 * 72 + 8)
    assert len(outline(chain("short", (8, 8, 8), *layers * 4))) == 9


def test_scopes_that_come_back_stay_one() -> None:
    wired = Wired("interleaved", 4, 8, 8)
    wired("a.0", Relu())
    wired("b.0", Relu())
    wired("a.1", Relu())
    assert outline(wired.output()) == ["image", "a", "  a.0", "  a.1", "b", "  b.0"]


def test_the_table_of_twenty_thousand_layers() -> None:
    network = chain("deep", (8, 8, 8), *[Conv(filters=8, kernel=3, padding=1), Relu()] * 10_000)
    start = time.perf_counter()
    text = Summary(network).text()
    assert time.perf_counter() - start < 5
    assert "x 10,000" in text
    assert len(text) < 3000


def test_very_deep_scopes() -> None:
    wired = Wired("deep", 4, 8, 8)
    wired(".".join("a" * 3000), Relu())
    assert len(outline(wired.output())) == 3001
    assert "a.a" in Summary(wired.network, depth=2).text()


# -------------------------------------------------------------------------------------------------------------- tables


def test_the_text_table() -> None:
    text = Summary(residual_network(), depth=1).text()
    lines = text.splitlines()
    assert lines[0] == "resnet: image 3x224x224"
    (conv1,) = [line.split() for line in lines if line.startswith("conv1")]
    assert conv1 == ["conv1", "conv", "7x7,", "64,", "/2", "64x112x112", "9,408", "118,013,952", "-", "7x7", "/2"]
    assert "Parameters   25,557,032 (25.6 M)" in lines
    assert "MACs         4,089,184,256 (4.09 G)" in lines
    assert any("Buffers" in line and "159 tensors" in line for line in lines)
    assert "1 MAC = 2 FLOPs" in text
    assert "one image" in text
    assert "\x1b" not in text
    assert {len(line) for line in lines[2:4]} == {len(lines[3])}


def test_repeats_are_written_out() -> None:
    text = Summary(residual_network(), depth=2).text()
    assert "  layer3.1 ... layer3.5" in text
    assert "x 5" in text
    # Five blocks of 1,117,184 parameters.
    assert "5,585,920" in text


def test_auxiliary_heads_are_marked_and_totalled_apart() -> None:
    wired = Wired("two_headed", 3, 8, 8)
    wired("stem", Conv(filters=4, kernel=3, padding=1))
    wired("aux.fc", Conv(filters=2, kernel=1), "stem")
    wired.network.auxiliary["aux"] = "aux.fc"
    wired("pool", GlobalPool(), "stem")
    text = Summary(wired.output()).text()
    assert "(training only)" in text
    assert "Parameters                       112" in text
    assert "Parameters with auxiliary heads  122" in text


def test_unknown_extents_are_explained() -> None:
    summary = Summary(chain("any_size", (3, None, None), Conv(filters=8, kernel=3)))
    assert "8x?x?" in summary.text()
    assert "is only known when the network runs" in summary.text()
    data = summary.json()
    assert data["macs"] is None
    assert data["input"] == [3, None, None]
    assert "unknown" in data


def test_csv_has_a_line_for_each_layer() -> None:
    network = residual_network()
    rows = list(csv.DictReader(io.StringIO(Summary(network, depth=1).csv())))
    assert len(rows) == len(network.table)
    assert sum(int(row["parameters"]) for row in rows) == 25_557_032
    assert sum(int(row["macs"]) for row in rows) == 4_089_184_256
    assert rows[1]["output_shape"] == "64x112x112"
    assert rows[-1]["inputs"] == "flatten"


def test_markdown_is_a_table() -> None:
    lines = Summary(residual_network(), depth=1).markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 12
    assert len({line.count("|") for line in table}) == 1
    assert "| **layer1** |" in lines[9]


HOSTILE = "<script>alert('x')</script>|`*\x1b[31m\n&[bold]"


def test_hostile_names_stay_names() -> None:
    wired = Wired(HOSTILE, 3, 8, 8)
    wired(HOSTILE, Relu())
    summary = Summary(wired.output())
    text = summary.text()
    assert "\x1b" not in text
    assert "<script>" in text
    assert len(text.splitlines()) == len(Summary(chain("plain", (3, 8, 8), Relu())).text().splitlines())
    markdown = summary.markdown()
    assert "<script>" not in markdown.replace("\\<script\\>", "")
    assert "\\|\\`\\*" in markdown
    page = summary.html()
    assert "<script>" not in page
    assert "alert(&#x27;x&#x27;)" in page
    console = Console(width=200, file=io.StringIO(), force_terminal=True)
    show(summary, console)
    assert "[bold]" in console.file.getvalue()  # type: ignore[attr-defined]
    rows = list(csv.reader(io.StringIO(summary.csv())))
    assert rows[2][0] == HOSTILE
    assert json.loads(json.dumps(summary.json()))["name"] == HOSTILE


def test_html_is_well_formed() -> None:
    page = Summary(residual_network(), depth=2).html()
    root = ET.fromstring(f"<div>{page.replace('<br>', '<br/>')}</div>")
    assert len(root.findall(".//tbody/tr")) == 20
    assert root.findtext(".//caption") == "resnet: image 3x224x224"
    assert Summary(residual_network())._repr_html_()


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_a_terminal_of_any_width(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=True)
    show(Summary(residual_network(), depth=2), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "25,557,032" in text
    assert ("Other FLOPs" in text) == (width >= 96)
    assert "\x1b[" in text


# ---------------------------------------------------------------------------------------------------------- plain data


def test_the_json_of_resnet50() -> None:
    data = json.loads(json.dumps(summary_json(residual_network())))
    assert data["name"] == "resnet"
    assert data["input"] == [3, 224, 224]
    assert data["output"] == [1000]
    assert data["inputs"] == {"image": [3, 224, 224]}
    assert (data["parameters"], data["macs"], data["buffers"]) == (25_557_032, 4_089_184_256, 159)
    assert data["flops"] == 2 * data["macs"] + data["other_flops"]
    assert data["parameter_bytes"] == 4 * 25_557_032
    layers = {layer["name"]: layer for layer in data["layers"]}
    conv1 = layers["conv1"]
    assert (conv1["kind"], conv1["inputs"], conv1["output_shape"]) == ("conv", ["image"], [64, 112, 112])
    assert (conv1["parameters"], conv1["macs"]) == (9408, 118_013_952)
    assert layers["layer4.2.3"]["receptive_field"]["size"] == [427, 427]
    assert layers["layer1.0.2"]["inputs"] == ["layer1.0.bn3", "layer1.0.downsample.1"]
    for figure in ("parameters", "macs", "other_flops", "flops", "buffers", "activation_bytes", "connections"):
        assert sum(layer[figure] for layer in data["layers"]) == data[figure]
    weights = {weight["name"]: weight for weight in data["weights"]}
    assert len(weights) == 161 + 159
    assert weights["layer1.0.conv1.weight"] == {
        "name": "layer1.0.conv1.weight", "shape": [64, 64, 1, 1], "trainable": True, "role": "parameter",
        "dtype": "float32",
    }  # fmt: skip
    assert weights["bn1.num_batches_tracked"] == {
        "name": "bn1.num_batches_tracked", "shape": [], "trainable": False, "role": "buffer", "dtype": "int64",
    }  # fmt: skip


def test_several_inputs_and_outputs_have_names() -> None:
    wired = Wired("two", left=(1, 8, 8), right=(2, 8, 8))
    wired("both", Concat(), ["left", "right"])
    wired("pooled", GlobalPool())
    network = wired.output("both", "map")
    network.outputs["score"] = "pooled"
    data = summary_json(network)
    assert data["input"] == data["inputs"] == {"left": [1, 8, 8], "right": [2, 8, 8]}
    assert data["output"] == data["outputs"] == {"map": [3, 8, 8], "score": [3, 1, 1]}


def test_auxiliary_heads_in_json() -> None:
    wired = Wired("two_headed", 3, 8, 8)
    wired("stem", Norm())
    wired("head", Norm(), "stem")
    wired.network.auxiliary["aux"] = "head"
    data = summary_json(wired.output("stem"))
    assert (data["parameters"], data["buffers"]) == (6, 3)
    assert data["with_auxiliary"]["parameters"] == 12  # type: ignore[index]
    assert data["with_auxiliary"]["buffers"] == 6  # type: ignore[index]
    assert data["auxiliary_outputs"] == {"aux": [3, 8, 8]}
    assert [layer["auxiliary"] for layer in data["layers"]] == [False, False, True]  # type: ignore[attr-defined]
    assert len(data["weights"]) == 10  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------ notation


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 K"), (25_557_032, "25.6 M"), (4_089_184_256, "4.09 G"), (999_999, "1.00 M"),
     (999_400, "999 K"), (9_996_000, "10.0 M"), (10**17, "100 P"), (10**18, "1000 P"), (None, "?")],
)  # fmt: skip
def test_scaled_numbers(number: int | None, text: str) -> None:
    assert scaled(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (102_228_128, "97.5 MiB"), (2**30, "1.00 GiB"), (None, "?")],
)
def test_byte_sizes(number: int | None, text: str) -> None:
    assert byte_size(number) == text


def test_captions() -> None:
    x = Input(shape=(32, 8, 8)).infer()
    assert caption(Conv(filters=64, kernel=7, stride=2, padding=3, bias=False), [x]) == "conv 7x7, 64, /2"
    assert caption(Conv(filters=64, kernel=3, groups=4), [x]) == "conv 3x3, 64, 4 groups"
    assert caption(Conv(filters=32, kernel=3, groups=32), [x]) == "depthwise conv 3x3, 32"
    assert caption(Conv(filters=4, kernel=1, trainable=False), [x]) == "conv 1x1, 4, fixed"
    assert caption(Pool(kernel=2), [x]) == "max pool 2x2, /2"
    assert caption(Pool(kernel=3, stride=2), [x]) == "max pool 3x3, /2"
    assert caption(Dense(units=10), [Flatten().infer(x)]) == "dense 10"
    assert caption(Relu(), [x]) == "relu"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("conv(8, 3x5, stride = (1, 2), padding = half, dilation = 2)", "conv 3x5, 8, /1x2, dilation 2"),
        ("depthwise_conv(3x3, stride = 2)", "depthwise conv 3x3, /2"),
        ("conv_transpose(8, 2x2, stride = 2)", "conv transpose 2x2, 8, x2"),
        ("avg_pool(3x3, stride = 1, padding = 1)", "avg pool 3x3"),
        ("adaptive_avg_pool(4x4)", "adaptive avg pool 4x4"),
        ("slice(2, 4)", "slice 2:4"),
        ("slice(stop = 2)", "slice 0:2"),
        ("channel_shuffle(2)", "channel shuffle, 2 groups"),
        ("dropout(0.2)", "dropout, p = 0.2"),
        ("stochastic_depth(0.0235294)", "stochastic depth, p = 0.0235"),
        ("leaky_relu(0.1)", "leaky relu, slope 0.1"),
        ("batch_norm(eps = 0.001)", "batch norm"),
        ("conv(4, 1x1, connections = [[0], [1], [2], [3]])", "conv 1x1, 4, connections"),
        ("conv(1, 3x3, weight = 1, trainable = false, flip_kernel = true)", "conv 3x3, 1, flip kernel, fixed"),
        ("global_avg_pool", "global avg pool"),
        ("pad(1)", "pad 1"),
    ],
)
def test_captions_of_the_vocabulary(written: str, text: str) -> None:
    network = netdsl.loads(f"network one {{\n input image: 4x8x8\n it: {written}\n}}").network
    assert caption(network.node("it").layer, network.types_of(("image",))) == text
