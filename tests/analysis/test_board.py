"""The board: what stands behind an equals sign is what stands in front of it, and it says what the lecture says."""

import json
import re
from math import ceil, floor

import pytest
from toys import Add, Conv, Gain, Upsample, Wired, chain

import netdsl
from netdsl.analysis.board import Explanation, explain_layer


def board(text: str, name: str) -> Explanation:
    return explain_layer(netdsl.loads(text).network, name)


def one(layer: str, shape: str = "3x224x224") -> dict[str, list[str]]:
    """The steps for a network of one layer."""
    explanation = board(f"network one {{\n input image: {shape}\n it: {layer}\n}}", "it")
    return {step.title: list(step.lines) for step in explanation.steps}


def test_the_first_convolution_of_resnet() -> None:
    steps = one("conv(64, 7x7, stride = 2, padding = 3, bias = false)")
    assert steps == {
        "Attributes": ["filters = 64, kernel = 7x7, stride = 2, padding = 3, bias = false"],
        "Input": ["image: 3x224x224"],
        "Output": [
            "channels = filters = 64",
            "height = width = floor((224 + 2 * 3 - 7) / 2) + 1 = floor(111.5) + 1 = 112",
            "64x112x112",
        ],
        "Parameters": ["weight: 64 filters * (3 channels * 7 * 7) = 9,408", "no bias"],
        "MACs": ["112 * 112 positions * 64 filters * (3 channels * 7 * 7) = 118,013,952"],
        "Other FLOPs": ["0"],
        "FLOPs": ["2 * 118,013,952 + 0 = 236,027,904"],
        "Receptive field": ["sees 1 + (7 - 1) * 1 = 7 inputs, a step of 2 * 1 = 2, the first from 0 - 3 * 1 = -3"],
        "Memory": [
            "output: 64 * 112 * 112 numbers * 4 bytes = 3,211,264 bytes (3.06 MiB)",
            "parameters: 9,408 * 4 bytes = 37,632 bytes (36.8 KiB)",
        ],
    }


def test_biases_are_added_up() -> None:
    # Ng, one layer of a convolutional network: ten filters of 3x3x3 have 280 parameters.
    assert one("conv(10, 3x3)", "3x32x32")["Parameters"] == [
        "weight: 10 filters * (3 channels * 3 * 3) = 270",
        "bias: 10",
        "270 + 10 = 280",
    ]


@pytest.mark.parametrize(
    ("layer", "shape", "line"),
    [
        ("conv(8, 3x5, padding = (1, 2))", "3x10x20", "height = floor((10 + 2 * 1 - 3) / 1) + 1 = 10"),
        ("conv(8, 3x5, padding = (1, 2))", "3x10x20", "width = floor((20 + 2 * 2 - 5) / 1) + 1 = 20"),
        ("conv(8, 3x3, stride = 2, padding = same)", "3x224x224", "floor((224 + 0 + 1 - 3) / 2) + 1 = 112"),
        ("conv(8, 3x3, dilation = 2)", "3x10x10", "the kernel spans 2 * (3 - 1) + 1 = 5"),
        ("conv(8, 3)", "3x100", "length = floor((100 - 3) / 1) + 1 = 98"),
        ("conv(8, 3x3)", "3x?x?", "height = width = floor((? - 3) / 1) + 1"),
        ("max_pool(3x3, stride = 2, ceil_mode = true)", "64x112x112", "ceil((112 - 3) / 2) + 1 = ceil(54.5) + 1 = 56"),
        # PyTorch leaves a window out that would begin in the padding behind.
        ("max_pool(2x2, stride = 2, padding = 1, ceil_mode = true)", "1x3x3", "of which the last would begin behind the input: 2"),
        ("avg_pool(2x2)", "6x28x28", "height = width = floor((28 - 2) / 2) + 1 = 14"),
        ("global_avg_pool", "512x7x7", "one number for each map of 7 * 7 = 49"),
        ("adaptive_avg_pool(4)", "512x14x14", "window i goes from floor(i * 14 / 4) to ceil((i + 1) * 14 / 4)"),
        ("flatten", "16x5x5", "16 * 5 * 5 = 400"),
        ("conv_transpose(8, 4x4, stride = 2, padding = 1)", "3x7x7", "height = width = (7 - 1) * 2 + 4 - 2 * 1 = 14"),
        ("conv_transpose(8, 3x3, stride = 2, padding = 1, output_padding = 1)", "3x7x7", "(7 - 1) * 2 + 3 - 2 * 1 + 1 = 14"),
        ("relu", "3x4x4", "the shape of its input"),
        ("subsample", "6x28x28", "height = width = floor((28 - 2) / 2) + 1 = 14"),
    ],
)  # fmt: skip
def test_output_sizes(layer: str, shape: str, line: str) -> None:
    assert any(line in found for found in one(layer, shape)["Output"]), one(layer, shape)["Output"]


@pytest.mark.parametrize(
    ("layer", "shape", "title", "line"),
    [
        ("depthwise_conv(3x3)", "32x112x112", "Parameters", "weight: 32 filters * (32 / 32 channels * 3 * 3) = 288"),
        ("conv(64, 3x3, groups = 4)", "32x8x8", "MACs", "6 * 6 positions * 64 filters * (32 / 4 channels * 3 * 3) = 165,888"),
        ("conv(2, 5x5, connections = [[0, 1, 2], [1]])", "6x14x14", "Parameters", "weight: 4 kernels * 5 * 5 = 100"),
        ("dense(120)", "400", "MACs", "120 units * 400 inputs = 48,000"),
        ("dense(8, axis = channels)", "16x4x4", "MACs", "8 * 4 * 4 outputs * 16 inputs = 2,048"),
        ("conv_transpose(8, 4x4, stride = 2)", "3x7x7", "MACs", "3 * 7 * 7 inputs, each times 8 * 4 * 4 weights = 18,816"),
        ("batch_norm", "64x8x8", "Parameters", "64 + 64 = 128"),
        ("batch_norm", "64x8x8", "Buffers", "num_batches_tracked: 1"),
        ("batch_norm", "64x8x8", "Other FLOPs", "2 for each of 4,096 outputs = 8,192"),
        ("max_pool(2x2)", "6x28x28", "Other FLOPs", "3 for each of 1,176 outputs = 3,528"),
        ("conv(4, 3x3)", "3x?x?", "FLOPs", "not known: an extent is only known when the network runs"),
        ("conv(4, 3x3)", "3x?x?", "Memory", "output: 4 * ? * ? numbers"),
        ("dense(10)", "400", "Receptive field", "every output sees the whole input"),
        ("global_avg_pool", "8x7x9", "Receptive field", "every output sees the whole input, 7x9"),
        ("conv(4, 1x1, weight = 1, trainable = false)", "1x8x8", "Parameters", "not trained: weight, bias"),
    ],
)  # fmt: skip
def test_lines(layer: str, shape: str, title: str, line: str) -> None:
    assert line in one(layer, shape)[title]


def test_joins() -> None:
    text = """
    network joined {
      input image: 3x32x32
      both: concat {
        | conv(8, 3x3, padding = 1)
        | conv(4, 5x5, padding = 2) -> conv(4, 3x3, padding = 1)
      }
      residual { conv(12, 1x1) }
    }
    """
    both = {step.title: step.lines for step in board(text, "both").steps}
    assert both["Output"] == ("channels = 8 + 4 = 12", "12x32x32")
    assert both["Receptive field"] == (
        "sees what its inputs see together, -1 to 1 and -3 to 3: 7, a step of 1, the first from -3",
    )
    assert len(both["Input"]) == 2


def test_shared_weights_say_where_they_are_counted() -> None:
    wired = Wired("shared", 3, 8, 8)
    conv = Conv(filters=3, kernel=1)
    wired("first", conv)
    wired("second", conv, address="first")
    wired("gain", Gain())
    network = wired.output()
    lines = [line for step in explain_layer(network, "second").steps for line in step.lines]
    assert "shared: they are counted where first.weight is applied first" in lines
    gain = {step.title: step.lines for step in explain_layer(network, "gain").steps}
    assert gain["Parameters"] == ("3 * 1 * 1 = 3",)


def test_the_input_is_given() -> None:
    explanation = explain_layer(chain("plain", (3, 8, 8), Conv(filters=1, kernel=1)), "image")
    assert "given when the network runs" in str(explanation)


def test_names_of_scopes_and_unknown_names() -> None:
    network = netdsl.load("resnet18").network
    assert (
        explain_layer(network, "layer1").name == "layer1.1.2" or explain_layer(network, "layer1").name in network.table
    )
    with pytest.raises(KeyError):
        explain_layer(network, "layer9")


def test_text_and_json() -> None:
    explanation = explain_layer(chain("plain", (3, 8, 8), Conv(filters=4, kernel=3)), "0")
    text = str(explanation)
    assert text.startswith("0: conv 3x3, 4\nSquare windows; one number for kernel, stride and padding.\n")
    assert "\nParameters       weight: 4 * 3 * 3 * 3 = 108\n" in text
    data = json.loads(json.dumps(explanation.json()))
    assert data["kind"] == "conv"
    assert {"title": "MACs", "lines": ["3,888"]} in data["steps"]


def test_upsampled_fields_are_fractions() -> None:
    network = chain("up", (3, 8, 8), Upsample(factor=2), Conv(filters=4, kernel=3, padding=1))
    lines = {step.title: step.lines for step in explain_layer(network, "1").steps}["Receptive field"]
    assert lines == ("sees 1 + (3 - 1) * 1/2 = 2 inputs, a step of 1 * 1/2 = 1/2, the first from 0 - 1 * 1/2 = -1/2",)


def test_a_hostile_name_cannot_speak_to_the_terminal() -> None:
    wired = Wired("hostile", 3, 8, 8)
    wired("evil\x1b[2J", Add(), ["image", "image"])
    assert "\x1b" not in str(explain_layer(wired.output(), "evil\x1b[2J"))


def values(line: str) -> list[float]:
    """The numbers that the sides of the equations in a line come to, computed from what is written."""
    found = []
    for side in line.split(" = "):
        side = (
            re.sub(r"\(\d[\d.]* [KMG]?i?B\)", "", side).replace(" for each of ", " * ").replace(", each times ", " * ")
        )
        side = re.sub(r"(?<=\d),(?=\d{3})", "", side.partition(": ")[2] or side)
        side = re.sub(r"\b(?!floor\b|ceil\b)[A-Za-z_]\w*", " ", side)
        if re.search(r"\d", side):
            found.append(eval(side, {"floor": floor, "ceil": ceil}))
    return found


@pytest.mark.parametrize(
    "spec", ["lenet5", "lenet5_1998", "googlenet", "mobilenet_v2", "resnext50_32x4d", "inception_v3", "unet"]
)
def test_every_equation_holds(spec: str) -> None:
    network = netdsl.load(spec).network
    checked = 0
    kinds: dict[object, str] = {}
    for node in network.nodes():
        kinds.setdefault((node.layer, network.types_of(node.inputs)), node.name)
    for name in list(kinds.values())[:60]:
        for step in explain_layer(network, name).steps:
            for line in step.lines if step.title not in ("Attributes", "Input") else ():
                for equation in re.split(r", (?!each)", line):
                    sides = values(equation) if " = " in equation and "window i" not in equation else []
                    assert len(set(sides)) <= 1, (name, line)
                    checked += len(sides) > 1
    assert checked > 20
