"""The notation of the board: what is written, as text and as a picture, and that it fits its lines."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from library import names, network
from ruler import SVG, faults, measured
from toys import Add, Concat, Conv, Pool, Wired, chain

import netdsl
from netdsl.cli.main import run
from netdsl.draw import DrawError
from netdsl.draw.board import draw, text
from netdsl.draw.options import Options
from netdsl.ir.network import Network


def body(net: Network, **options: object) -> str:
    """The notation without its title, on one line."""
    return " ".join(text(net, Options(**options)).split("\n\n")[1].split())  # type: ignore[arg-type]


def written(source: str) -> str:
    return body(netdsl.loads("network example {\n" + source + "\n}").network)


def test_lenet_on_the_board() -> None:
    shown = text(network("lenet5"), Options())
    assert shown == (
        "lenet5: 61.7 K parameters, 417 K MACs\n\n"
        "32x32x1 -> CONV 5x5 s1 6 -> TANH -> 28x28x6 -> AVGPOOL 2x2 s2 -> 14x14x6 -> CONV 5x5 s1 16 -> TANH\n"
        "-> 10x10x16 -> AVGPOOL 2x2 s2 -> 5x5x16 -> FLATTEN -> 400 -> FC 120 -> TANH -> 120 -> FC 84 -> TANH\n"
        "-> 84 -> FC 10 -> 10\n"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "input image: 3x32x64\nconv(8, 5x3, stride = 2x1, padding = 1)",
            "32x64x3 -> CONV 5x3 s2x1 p1 8 -> 15x64x8",
        ),
        (
            "input image: 3x9x9\nconv(8, 3x3, padding = half, dilation = 2) -> batch_norm -> relu",
            "9x9x3 -> CONV 3x3 s1 p2 d2 8 -> BN -> RELU -> 9x9x8",
        ),
        (
            "input image: 8x9x9\nconv(16, 3x3, groups = 4) -> depthwise_conv(3x3)",
            "9x9x8 -> CONV 3x3 s1 g4 16 -> 7x7x16 -> DWCONV 3x3 s1 -> 5x5x16",
        ),
        (
            "input signal: 2x40\nconv(4, 5, stride = 2) -> max_pool(2)",
            "40x2 -> CONV k5 s2 4 -> 18x4 -> MAXPOOL k2 s2 -> 9x4",
        ),
        ("input a: 12\ndense(5) -> softmax", "12 -> FC 5 -> SOFTMAX -> 5"),
        ("input image: 3x?x?\nconv(4, 1x1)", "?x?x3 -> CONV 1x1 s1 4 -> ?x?x4"),
        (
            "input image: 4x8x8\nresidual { conv(4, 3x3, padding = 1) -> relu\nconv(4, 3x3, padding = 1) }",
            "8x8x4 -> { CONV 3x3 s1 p1 4 -> RELU -> 8x8x4 -> CONV 3x3 s1 p1 4 -> 8x8x4 | identity } -> ADD -> 8x8x4",
        ),
        (
            "input image: 4x8x8\nconcat {\n| conv(2, 1x1)\n|\n| max_pool(3x3, stride = 1, padding = 1)\n}",
            "8x8x4 -> { CONV 1x1 s1 2 -> 8x8x2 | identity | MAXPOOL 3x3 s1 p1 -> 8x8x4 } -> CONCAT -> 8x8x10",
        ),
        (
            "input a: 4\ninput b: 4\nadd(a, b)",
            "{ a: 4 | b: 4 } -> ADD -> 4",
        ),
        (
            "input image: 4x8x8\nrepeat 3 { conv(4, 3x3, padding = 1) -> relu }",
            "8x8x4 -> [ CONV 3x3 s1 p1 4 -> RELU -> 8x8x4 ] x 3",
        ),
    ],
)
def test_notation(source: str, expected: str) -> None:
    assert written(source) == expected


def test_lanes_that_do_not_fit_a_line_have_one_each() -> None:
    lines = text(network("inception_module"), Options()).splitlines()[2:]
    assert lines[0] == "28x28x192 -> {"
    assert [line.split()[0] for line in lines[1:]] == ["|"] * 4 + ["}"]
    assert all(line.startswith("  ") for line in lines[1:5])
    # Szegedy et al. (2014), table 1, inception (3a): 64, 128, 32 and 32 maps of 28x28.
    assert [line.rpartition("x")[2] for line in lines[1:5]] == ["64", "128", "32", "32"]
    assert lines[5] == "} -> CONCAT -> 28x28x256"


def test_blocks_are_repeated_as_often_as_the_paper_says() -> None:
    # He et al. (2015), table 1: 3, 4, 6 and 3 bottlenecks; the first of each has another shortcut.
    assert re.findall(r"\] x (\d+)", body(network("resnet50"))) == ["2", "3", "5", "2"]
    assert body(network("resnet50"), fold=False).count("ADD") == 16


def test_a_network_that_is_too_long_has_its_blocks_closed() -> None:
    shown = text(network("efficientnet_b7"), Options())
    assert "SQUEEZE EXCITE" in shown
    assert "865 layers: --depth and --expand show what is inside the blocks" in shown
    assert len(shown.splitlines()) < 70
    assert body(network("googlenet"), depth=1).count("INCEPTION") == 9


def test_outputs_heads_and_tangles() -> None:
    assert [line.rpartition("= ")[2] for line in text(network("padding"), Options()).splitlines() if " = " in line] == [
        "valid", "same", "padded",
    ]  # fmt: skip
    assert "aux1: 9 layers in training only -> 1000" in text(network("googlenet"), Options())
    wired = Wired("crossed", 3, 8, 8)
    wired("a", Conv(filters=3, kernel=1), "image")
    wired("b", Conv(filters=3, kernel=3, padding=1), "image")
    wired("c", Add(), ["a", "b"])
    wired("d", Concat(), ["a", "b"])
    wired("e", Concat(), ["c", "d"])
    assert body(wired.output()) == (
        "8x8x3 -> { | (1) from in: CONV 1x1 s1 3 -> 8x8x3 | (2) from in: CONV 3x3 s1 p1 3 -> 8x8x3 "
        "| (3) from (1), (2): ADD -> 8x8x3 | (4) from (1), (2): CONCAT -> 8x8x6 } -> CONCAT -> 8x8x9"
    )


def test_lines_are_as_long_as_they_may_be() -> None:
    for width in (86, 178, 254):
        columns = max(40, int(width / 2.1))
        lines = text(network("resnet18"), Options(width=width)).splitlines()[2:]
        assert max(map(len, lines)) <= columns
    assert faults(draw(network("resnet18"), Options(width=86))) == []


def test_nothing_of_the_library_is_cut_off_or_overlaps() -> None:
    found = {name: faults(draw(network(name), Options())) for name in names()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("name", ["lenet5", "squeezenet1_0", "googlenet"])
def test_picture_and_text_say_the_same(name: str) -> None:
    options = Options(depth=4)
    shapes = measured(draw(network(name), options)).texts
    picture = [shape.text for shape in shapes if shape.kind in ("op", "shape")]
    said = [word for word in re.split(r" -> |[{}|\[\]]|\s+x \d+", body(network(name), depth=4)) if word.strip()]
    assert picture == [word.strip() for word in said]


def test_the_picture_can_be_read_aloud() -> None:
    root = ET.fromstring(draw(network("lenet5"), Options(title="Digits")))
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "Digits"
    assert "61.7 K parameters" in (root.findtext(f"{SVG}desc") or "")


EVIL = "a\"b'c]]>&amp;<script>alert(1)</script>\x00\x1b[31m"


def test_names_stay_names() -> None:
    wired = Wired(EVIL, 3, 8, 8)
    wired(EVIL, Conv(filters=4, kernel=3))
    wired("x" * 3000, Pool(kernel=2))
    wired.network.outputs[EVIL] = EVIL
    net = wired.output("x" * 3000, "o" * 5000)
    picture = draw(net, Options())
    assert faults(picture) == []
    assert {e.tag.removeprefix(SVG) for e in ET.fromstring(picture).iter()} <= {
        "svg", "title", "desc", "rect", "text", "g", "path", "polygon",
    }  # fmt: skip
    shown = text(net, Options())
    assert "\x1b" not in shown
    assert "\x00" not in shown
    assert max(map(len, shown.splitlines())) < 200


def test_very_large_networks() -> None:
    wired = Wired("wide", 4, 8, 8)
    ends = [wired(f"lane{n}", Conv(filters=1 + n % 7, kernel=1), "image") for n in range(1000)]
    wired("all", Concat(), ends)
    assert faults(draw(wired.output(), Options())) == []
    assert len(text(wired.network, Options()).splitlines()) < 30
    long = chain("long", (4, 8, 8), *(Conv(filters=4 + n % 5, kernel=1 + 2 * (n % 3)) for n in range(5)))
    with pytest.raises(DrawError) as error:
        text(long, Options(limit=3, fold=False))
    assert error.value.code == "E0804"


def test_the_command_writes_text_to_a_file_and_to_the_terminal(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "lenet.txt"
    assert run(["draw", "lenet5", "--style", "board", "-o", str(file)]) == 0
    shown = text(network("lenet5"), Options())
    assert file.read_text(encoding="utf-8") == shown
    capfdbinary.readouterr()
    assert run(["draw", "lenet5", "--style", "board", "-o", "-"]) == 0
    assert capfdbinary.readouterr().out.decode() == shown
    assert run(["draw", "lenet5", "--style", "volumes", "-o", "-"]) == 0
    assert ET.fromstring(capfdbinary.readouterr().out).get("role") == "img"
