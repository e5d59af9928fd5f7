"""Drawings: what is in them, that names stay names, and that files are whole or not there."""

import io
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image
from toys import Add, Concat, Conv, Dense, Flatten, GlobalPool, Norm, Pool, Relu, Wired, chain, residual_network

from netdsl.draw import DrawError, dot, render, svg
from netdsl.draw.palette import LIGHT, channels
from netdsl.draw.picture import Box, Frame, Picture, picture
from netdsl.ir.network import Network

TIMES, ELLIPSIS, DOT = "\N{MULTIPLICATION SIGN}", "\N{HORIZONTAL ELLIPSIS}", "\N{MIDDLE DOT}"
SVG = "{http://www.w3.org/2000/svg}"


def drawn(network: Network, **options: object) -> ET.Element:
    return ET.fromstring(svg(network, **options))  # type: ignore[arg-type]


def texts(root: ET.Element) -> list[str]:
    return [" ".join((element.text or "").split()) for element in root.iter(f"{SVG}text")]


def groups(root: ET.Element, kind: str) -> list[ET.Element]:
    return [element for element in root.iter(f"{SVG}g") if element.get("class") == kind]


def small() -> Network:
    return chain("small", (1, 32, 32), Conv(filters=6, kernel=5), Relu(), Pool(kernel=2), Flatten(), Dense(units=10))


def two_headed() -> Network:
    wired = Wired("two_headed", 3, 8, 8)
    wired("stem", Conv(filters=4, kernel=3, padding=1))
    wired("aux.conv", Conv(filters=2, kernel=1), "stem")
    wired("aux.pool", GlobalPool())
    wired.network.auxiliary["aux"] = "aux.pool"
    wired("pool", GlobalPool(), "stem")
    return wired.output("pool", "scores")


# ------------------------------------------------------------------------------------------------ what a picture shows


def lines(part: Box | Frame) -> object:
    """A picture in short: boxes as the names of their layers, frames as name, number and parts."""
    if isinstance(part, Box):
        return "+".join(item.name for item in part.items)
    assert part.item is not None
    times = f" x{part.item.repeats}" if part.item.repeats > 1 else ""
    return [part.item.name + times, *map(lines, part.parts)]


def outline(network: Network, **options: object) -> list[object]:
    return [lines(part) for part in picture(network, **options).root.parts]  # type: ignore[arg-type]


def wires(found: Picture) -> set[tuple[str, str, str]]:
    names = {box.number: box.items[0].name for box in found.boxes()}
    return {(names[wire.source], names[wire.target], str(wire.type)) for wire in found.wires}


def test_followers_share_a_box() -> None:
    assert outline(small()) == ["image", "0+1", "2", "3", "4"]
    assert wires(picture(small())) == {
        ("image", "0", "1x32x32"), ("0", "2", "6x28x28"), ("2", "3", "6x14x14"), ("3", "4", "1176"),
    }  # fmt: skip


def test_what_is_read_twice_ends_its_box() -> None:
    wired = Wired("tapped", 3, 8, 8)
    wired("conv", Conv(filters=3, kernel=1))
    wired("relu", Relu())
    wired("norm", Norm())
    wired("sum", Add(), ["relu", "norm"])
    assert outline(wired.output()) == ["image", "conv+relu", "norm", "sum"]
    wired.network.outputs["early"] = "conv"
    assert outline(wired.network) == ["image", "conv", "relu", "norm", "sum"]


def test_residual_blocks_are_folded() -> None:
    network = residual_network("resnet18ish", depths=(2, 3))
    first = ["layer2.0", "layer2.0.conv1+layer2.0.bn1+layer2.0.0", "layer2.0.conv2+layer2.0.bn2+layer2.0.1",
             "layer2.0.conv3+layer2.0.bn3", "layer2.0.downsample.0+layer2.0.downsample.1", "layer2.0.2+layer2.0.3"]  # fmt: skip
    second = ["layer2.1 x2", "layer2.1.conv1+layer2.1.bn1+layer2.1.0", "layer2.1.conv2+layer2.1.bn2+layer2.1.1",
              "layer2.1.conv3+layer2.1.bn3", "layer2.1.2+layer2.1.3"]  # fmt: skip
    assert outline(network)[4] == ["layer2", first, second]
    found = picture(network)
    inside = {wire for wire in wires(found) if wire[1].startswith("layer2.1") or wire[0].startswith("layer2.1")}
    assert inside == {
        ("layer2.0.2", "layer2.1.conv1", "512x28x28"),
        ("layer2.1.conv1", "layer2.1.conv2", "128x28x28"),
        ("layer2.1.conv2", "layer2.1.conv3", "128x28x28"),
        ("layer2.1.conv3", "layer2.1.2", "512x28x28"),
        ("layer2.0.2", "layer2.1.2", "512x28x28"),
        # The last of the folded blocks is drawn as the first.
        ("layer2.1.2", "avgpool", "512x28x28"),
    }
    assert len(outline(network, fold=False)[4]) == 1 + 3  # type: ignore[arg-type]


def test_equal_lanes_are_side_by_side() -> None:
    wired = Wired("lanes", 4, 8, 8)
    ends = []
    for number in range(32):
        wired(f"lane{number}.reduce", Conv(filters=4, kernel=1), "image")
        ends.append(wired(f"lane{number}.conv", Conv(filters=4, kernel=3, padding=1)))
    wired("sum", Add(), ends)
    found = picture(wired.output())
    frame = found.root.parts[1]
    assert isinstance(frame, Frame)
    assert frame.side_by_side
    assert wires(found) == {
        ("image", "lane0.reduce", "4x8x8"), ("lane0.reduce", "lane0.conv", "4x8x8"), ("lane0.conv", "sum", "4x8x8"),
    }  # fmt: skip
    content = texts(drawn(wired.network))
    assert any(text.endswith(f"{TIMES} 32") for text in content)
    assert any("side by side" in text for text in content)


def test_nested_folds() -> None:
    wired = Wired("nested", 4, 8, 8)
    for stage in range(3):
        for block in range(2):
            wired(f"stage{stage}.{block}.a", Conv(filters=4, kernel=3, padding=1))
            wired(f"stage{stage}.{block}.b", Pool(kernel=3, stride=1, padding=1))
    found = picture(wired.output())
    assert [lines(part) for part in found.root.parts] == [
        "image", ["stage0 x3", ["stage0.0 x2", "stage0.0.a", "stage0.0.b"]],
    ]  # fmt: skip
    assert wires(found) == {("image", "stage0.0.a", "4x8x8"), ("stage0.0.a", "stage0.0.b", "4x8x8")}
    assert [end[1] for end in found.ends] == [2]


def test_one_tensor_read_twice_has_two_wires() -> None:
    wired = Wired("doubled", 4, 8, 8)
    wired("sum", Add(), ["image", "image"])
    assert len(picture(wired.output()).wires) == 2


def test_depth_draws_scopes_as_boxes() -> None:
    network = residual_network()
    assert outline(network, depth=1) == [
        "image", "conv1+bn1+relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "flatten", "fc",
    ]  # fmt: skip
    content = texts(drawn(network, depth=1))
    assert f"32 layers {DOT} 216 K params {DOT} 668 M MACs" in content
    assert outline(network, depth=2)[3] == ["layer1", "layer1.0", "layer1.1"]
    content = texts(drawn(network, depth=2))
    assert content[content.index(f"1{ELLIPSIS}2") + 1] == f"{TIMES} 2"


def test_very_deep_scopes_are_boxes_in_the_end() -> None:
    wired = Wired("deep", 4, 8, 8)
    for level in range(1, 200):
        wired(".".join("s" * level) + ".pool", Pool(kernel=1))
    assert 5 < len(groups(drawn(wired.output()), "cluster")) < 20


# ----------------------------------------------------------------------------------------------------- what is written


def test_layers_shapes_scopes_and_ends_are_in_the_picture() -> None:
    network = residual_network()
    root = drawn(network)
    content = texts(root)
    for text in ("resnet", "25.6 M parameters, 4.09 G MACs", "image", "conv 7x7, 64, /2", "batch norm", "relu",
                 "max pool 3x3, /2", "dense 1000", "input", "output", "3x224x224", "64x112x112", "2048x1x1", "layer1",
                 "bottleneck", "downsample.0", "shortcut", "normalization"):  # fmt: skip
        assert text in content, text
    # Four stages of two blocks each: the first, and the others folded.
    assert len(groups(root, "cluster")) == 4 + 8
    titles = [element.findtext(f"{SVG}title") for element in groups(root, "node")]
    assert "conv1: conv 7x7, 64, /2, 9,408 parameters, 118,013,952 MACs, 64x112x112; " in " ".join(
        f"{title} " for title in titles
    )


def test_dot_is_the_same_every_time_and_holds_clusters() -> None:
    source = dot(residual_network())
    assert source == dot(residual_network())
    assert source.startswith("digraph")
    assert source.count("subgraph cluster_") == 12
    assert "rankdir=LR" in dot(small(), direction="right")


def test_auxiliary_heads_are_dashed() -> None:
    root = drawn(two_headed())
    dashed = [edge for edge in groups(root, "edge") if edge.find(f"{SVG}path").get("stroke-dasharray")]  # type: ignore[union-attr]
    assert len(dashed) == 3
    content = texts(root)
    # Over the scope, on the output, and in the legend.
    assert content.count("training only") == 3
    assert {"scores", "aux"} <= set(content)


def test_several_inputs_and_outputs() -> None:
    wired = Wired("siamese", left=(1, 8, 8), right=(1, 8, 8))
    wired("both", Concat(), ["left", "right"])
    network = wired.output("both", "map")
    network.outputs["again"] = "left"
    assert {"left", "right", "map", "again"} <= set(texts(drawn(network)))


def test_unknown_extents_are_drawn() -> None:
    assert "8x?x?" in texts(drawn(chain("any", (3, None, None), Conv(filters=8, kernel=3))))


def test_a_network_without_layers() -> None:
    assert "image" in texts(drawn(Wired("bare", 3, 8, 8).output()))
    assert dot(Network("empty")).startswith("digraph")


# ------------------------------------------------------------------------------------------------------- hostile names

HOSTILE = [
    "<script>alert('x')</script>",
    "<b>bold</b>",
    "a & b &amp; &lt;",
    'quote" ]; evil [label="',
    "back\\slash \\N \\G \\",
    "<img src='/etc/hostname'/>",
    "line\nbreak\x00\x1b[31m\x07",
    "]]> --> */ //",
    "}{|<port>",
    "日本語 ünïcödé",
    "%3Cscript%3E",
    "html: <",
    ">",
    "\ufffe\ud800"[0],
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(name: str) -> None:
    wired = Wired(name, 3, 8, 8)
    wired(f"{name}.scope.{name}", Pool(kernel=2))
    wired(f"{name}.scope.second", Conv(filters=2, kernel=1))
    network = wired.output()
    network.outputs = {name: wired.last}
    plain = Wired("x", 3, 8, 8)
    plain("x.scope.x", Pool(kernel=2))
    plain("x.scope.second", Conv(filters=2, kernel=1))
    expected = drawn(plain.output())
    found = drawn(network)
    # The same elements as for a harmless name: nothing was added, and nothing is missing.
    assert [element.tag for element in found.iter() if "text" not in element.tag] == [
        element.tag for element in expected.iter() if "text" not in element.tag
    ]
    assert "script" not in {element.tag.rpartition("}")[2] for element in found.iter()}
    shown = "".join(character if character.isprintable() else "\ufffd" for character in name)
    assert " ".join(shown.split()) in texts(found)


def test_long_names_lose_their_middle() -> None:
    name = "begin" + "x" * 5000 + "end"
    wired = Wired(name, 3, 8, 8)
    wired(name, Conv(filters=2, kernel=1))
    content = texts(drawn(wired.output()))
    assert max(map(len, content)) < 100
    assert any(text.startswith("begin") and text.endswith("end") and ELLIPSIS in text for text in content)


# --------------------------------------------------------------------------------------------------------------- files


def test_formats(tmp_path: Path) -> None:
    for ending in (".svg", ".png", ".pdf", ".dot", ".gv", ".SVG"):
        path = tmp_path / f"net{ending}"
        render(small(), path)
        content = path.read_bytes()
        if ending.lower() == ".svg":
            assert ET.fromstring(content).tag == f"{SVG}svg"
        elif ending == ".png":
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                assert image.width > 200
                colors = {color for _, color in image.convert("RGB").getcolors(1 << 20)}
            fills = {channels(LIGHT.paint(kind).fill) for kind in ("conv", "activation", "pool", "dense")}
            assert fills <= colors
        elif ending == ".pdf":
            assert content.startswith(b"%PDF")
        else:
            assert content.decode("utf-8") == dot(small())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net.SVG", "net.dot", "net.gv", "net.pdf", "net.png", "net.svg",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["net.jpg", "net", "net.svgz", "net.pnf", "net.htm.l"])
def test_unknown_endings_list_the_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(DrawError, match=re.escape(".svg, .png, .pdf, .html, .dot, .gv, .txt")) as error:
        render(small(), tmp_path / name)
    assert error.value.code == "E0802"
    assert not list(tmp_path.iterdir())


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DrawError, match="cannot write") as error:
        render(small(), tmp_path / "nowhere" / "net.svg")
    assert error.value.code == "E0803"


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.svg"
    path.write_text("old")

    def broken(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(DrawError, match="No space left"):
        render(small(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_too_many_boxes() -> None:
    network = chain("many", (4, 8, 8), *(Pool(kernel=1 + 2 * (n % 2), stride=1, padding=n % 2) for n in range(60)))
    with pytest.raises(DrawError, match="more than 50 boxes") as error:
        dot(network, fold=False, limit=50)
    assert error.value.code == "E0804"
    assert dot(network, limit=50)


# ------------------------------------------------------------------------------------------------------------- engines


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where pygraphviz is not installed."""
    monkeypatch.setitem(sys.modules, "pygraphviz", None)


@pytest.mark.usefixtures("no_wheel")
def test_without_graphviz_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DrawError) as error:
        render(small(), tmp_path / "net.svg")
    assert error.value.code == "E0801"
    assert "\n" not in error.value.message
    assert "pip install pygraphviz" in (error.value.help or "")
    assert not list(tmp_path.iterdir())
    render(small(), tmp_path / "net.dot")
    assert (tmp_path / "net.dot").read_text().startswith("digraph")


def test_without_typst_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    for name in ("net.png", "net.pdf"):
        with pytest.raises(DrawError, match="no Typst") as error:
            render(small(), tmp_path / name)
        assert (error.value.code, error.value.help) == ("E0801", "`pip install typst`; .svg needs none")
    assert not list(tmp_path.iterdir())
    render(small(), tmp_path / "net.svg")


def executable(folder: Path, script: str) -> None:
    path = folder / "dot"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("no_wheel")
def test_a_dot_on_the_path_serves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = '{"bb": "0,0,100,300", "objects": [' + ", ".join(
        f'{{"name": "{name}", "pos": "50,{280 - 50 * at}"}}' for at, name in enumerate(["n0", "n1", "n2", "n3", "n4", "o0"])
    ) + '], "edges": [' + ", ".join(
        f'{{"id": "e{at}", "pos": "e,50,{245 - 50 * at} 50,{265 - 50 * at} 50,260 50,255 50,{250 - 50 * at}"}}' for at in range(5)
    ) + "]}"  # fmt: skip
    executable(
        tmp_path, f"cat > {tmp_path}/asked; echo \"$*\" > {tmp_path}/how; echo '{places}'; echo 'some warning' >&2"
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "conv 5x5, 6" in texts(drawn(small()))
    assert (tmp_path / "how").read_text() == "-Kdot -Tjson0\n"
    assert (tmp_path / "asked").read_text().startswith("digraph {")


@pytest.mark.usefixtures("no_wheel")
def test_what_is_no_graphviz_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path, "cat > /dev/null; echo '<svg/>'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DrawError, match="no layout") as error:
        svg(small())
    assert error.value.code == "E0805"


@pytest.mark.usefixtures("no_wheel")
def test_a_dot_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable(tmp_path, "cat > /dev/null; echo 'Error: no layout' >&2; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DrawError, match="no layout") as error:
        svg(small())
    assert error.value.code == "E0805"


def test_nothing_is_said_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    svg(small())
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_bad_source_is_reported() -> None:
    from netdsl.draw import engines

    with pytest.raises(DrawError, match="Graphviz failed"):
        engines.draw("digraph { a [label=<<b>>] ", "svg")
