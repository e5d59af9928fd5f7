"""What a graph can be asked for: depth and scopes, figures and heat, themes, sizes, formats; and what is too much."""

import io
import re
import xml.etree.ElementTree as ET

import pytest
from library import network
from PIL import Image

import netdsl
from netdsl.draw import THEMES, DrawError, compare_svg, drawing, svg
from netdsl.draw.fit import fitted_picture
from netdsl.draw.graph.place import placed
from netdsl.draw.graph.plan import plan
from netdsl.draw.options import Options
from netdsl.ir.network import Network

SVG = "{http://www.w3.org/2000/svg}"
TIMES = "\N{MULTIPLICATION SIGN}"


def texts(document: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(document).iter(f"{SVG}text")]


def lanes(count: int) -> Network:
    written = "\n".join(f"  | conv({1 + number % 7}, 3x3, padding = 1)" for number in range(count))
    return netdsl.loads(f"network wide() {{\n  input image: 4x8x8\n  concat {{\n{written}\n  }}\n}}\n").network


def layers(count: int) -> Network:
    written = "\n".join(f"  conv({1 + number % 41 + number // 41 % 3}, 1x1)" for number in range(count))
    return netdsl.loads(f"network long() {{\n  input image: 4x8x8\n{written}\n}}\n").network


# -------------------------------------------------------------------------------------------------- what is drawn of it


def test_bodies_of_a_repeat_are_one() -> None:
    """Simonyan and Zisserman (2014), Table 1, D: 2, 2, 3, 3, 3 convolutions of 64 to 512 filters."""
    found = texts(svg(network("vgg16")))
    heads = [text for text in found if text.startswith("conv ")]
    assert heads == ["conv 3x3, 64", "conv 3x3, 128", "conv 3x3, 256", "conv 3x3, 512", "conv 3x3, 512"]
    times = [text for text in found if re.fullmatch(rf"{TIMES} \d", text)]
    assert times == [f"{TIMES} {number}" for number in (2, 2, 3, 3, 3)]


def test_dense_blocks_are_one_though_their_inputs_grow() -> None:
    """Huang et al. (2016), Table 1: 6, 12, 24, 16 layers, and a growth of 32 from 64, 128, 256 and 512 maps."""
    found = texts(svg(network("densenet121")))
    for number, (count, first, last) in enumerate(
        [(6, 96, 256), (12, 160, 512), (24, 288, 1024), (16, 544, 1024)], start=1
    ):
        assert f"denseblock{number}  {TIMES} {count}" in found
        assert f"{first}\N{HORIZONTAL ELLIPSIS}{last} channels" in found


def test_a_scope_that_is_expanded_stands_by_itself() -> None:
    folded = texts(svg(network("resnet50")))
    opened = texts(svg(network("resnet50"), expand=("layer3.2",)))
    assert f"1\N{HORIZONTAL ELLIPSIS}5  {TIMES} 5" in folded
    assert f"1\N{HORIZONTAL ELLIPSIS}5  {TIMES} 5" not in opened
    # Of blocks 1 to 5, 2 stands alone: 1 before it, 3 to 5 behind it.
    assert f"3\N{HORIZONTAL ELLIPSIS}5  {TIMES} 3" in opened
    closed = texts(svg(network("resnet50"), depth=1, expand=("layer3.2",)))
    assert closed.count("conv3") == 1
    assert {"layer1", "layer2", "layer4"} <= set(closed)


def test_what_cannot_be_expanded() -> None:
    with pytest.raises(DrawError, match="no scope called `layer9`") as error:
        svg(network("resnet50"), expand=("layer9",))
    assert (error.value.code, error.value.help) == ("E0806", "did you mean `layer4`?")
    with pytest.raises(DrawError, match="fc is a layer"):
        svg(network("resnet50"), expand=("fc",))


def test_shortcuts_are_drawn_as_such() -> None:
    """A bottleneck without a projection has one: 3 + 4 + 6 + 3 blocks, less the first of each stage (He et al., 2015)."""
    document = svg(network("resnet50"), fold=False)
    assert document.count('<g class="edge skip">') == 16 - 4
    # U-Net (Ronneberger et al., 2015, Figure 1) has four, each cropped on its way: eight edges.
    assert svg(network("unet")).count('<g class="edge skip">') == 8
    assert 'class="edge skip"' not in svg(network("vgg16"))


def test_every_shape_is_written() -> None:
    for name in ("resnet50", "inception_v3", "shufflenet_v2_x2_0", "densenet121", "unet", "yolo_v2"):
        options = Options()
        planned = plan(fitted_picture(network(name), options), options)
        found = placed(planned, options)
        for link, route in zip(planned.links, found.routes, strict=True):
            assert not link.text or (route is not None and route.text is not None), (name, link.tip)


# ------------------------------------------------------------------------------------------------------ figures, heat


def test_labels_are_published_figures() -> None:
    """LeNet-5's layers: 156, 2,416, 48,120, 10,164 and 850 parameters; 117,600 and 240,000 MACs of the convolutions."""
    found = " ".join(texts(svg(network("lenet5"), labels=("params", "macs", "memory", "receptive"))))
    for figure in (
        "156 params",
        "2.42 K params",
        "48.1 K params",
        "10.2 K params",
        "850 params",
        "118 K MACs",
        "240 K MACs",
    ):
        assert figure in found, figure
    # Two 5x5 convolutions and two pools by 2: 5, 6, 14, 16.
    for field in ("sees 5x5", "sees 6x6 /2", "sees 14x14 /2", "sees 16x16 /4"):
        assert field in found, field


def test_heat_is_hottest_where_the_cost_is() -> None:
    theme = THEMES["light"]
    document = svg(network("lenet5"), heat="params")
    root = ET.fromstring(document)
    fills = {}
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == "node":
            words = [element.text for element in group.iter(f"{SVG}text")]
            fills[words[0]] = next(path.get("fill") for path in group.iter(f"{SVG}path"))
    assert fills["dense 120"] == theme.heat(1)
    assert fills["flatten"] == theme.heat(0)
    assert fills["conv 5x5, 16"] == theme.heat((2416 / 48120) ** 0.5)
    assert {"0", "12.0 K", "48.1 K", "Parameters"} <= set(texts(document))


# ---------------------------------------------------------------------------------------------------- pages and files


def test_the_same_bytes_every_time() -> None:
    for form in ("svg", "png", "pdf", "dot"):
        assert drawing(network("resnet18"), form) == drawing(netdsl.load("resnet18").network, form)


def test_it_says_what_it_is() -> None:
    root = ET.fromstring(svg(network("lenet5"), title="A & B"))
    assert (root.get("role"), root.get("aria-label")) == ("img", "A & B")
    assert root.findtext(f"{SVG}title") == "A & B"
    assert "Inputs: image 1x32x32. Outputs: fc3 10." in (root.findtext(f"{SVG}desc") or "")
    said = ET.fromstring(svg(network("lenet5"), description="Seven layers"))
    assert said.findtext(f"{SVG}desc") == "Seven layers"


def test_it_is_no_wider_than_the_page() -> None:
    root = ET.fromstring(svg(network("googlenet"), width=86))
    assert root.get("width") == "86mm"
    _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
    assert float(root.attrib["height"].removesuffix("mm")) == pytest.approx(height / width * 86, abs=0.01)
    # What fits is not blown up.
    assert "mm" not in ET.fromstring(svg(network("lenet5"), width=400)).attrib["width"]


@pytest.mark.parametrize("theme", THEMES)
def test_a_png_has_its_resolution(theme: str) -> None:
    with Image.open(io.BytesIO(drawing(network("lenet5"), "png", theme=theme, dpi=96))) as image:
        size = ET.fromstring(svg(network("lenet5"))).attrib
        assert image.size == (pytest.approx(float(size["width"]), abs=1), pytest.approx(float(size["height"]), abs=1))
        paper = THEMES[theme].paper
        assert image.convert("RGB").getpixel((2, 2)) == tuple(int(paper[at : at + 2], 16) for at in (1, 3, 5))
        if theme == "print":
            # Nothing but greys.
            for _, color in image.convert("RGB").getcolors(1 << 20) or []:
                assert max(color) - min(color) <= 2  # type: ignore[type-var, operator]


def test_a_pdf_holds_text_and_fonts() -> None:
    content = drawing(network("lenet5"), "pdf")
    assert content.startswith(b"%PDF")
    assert b"Arimo" in content
    assert b"/ToUnicode" in content
    assert b"/FontFile2" in content or b"/FontFile3" in content
    assert b"CreationDate" not in content


def test_a_png_of_too_many_pixels_says_what_would_fit() -> None:
    with pytest.raises(DrawError, match="more than 100,000,000") as error:
        drawing(network("googlenet"), "png", dpi=2400)
    assert error.value.code == "E0804"
    fits = int((error.value.help or "").split()[0])
    with Image.open(io.BytesIO(drawing(network("lenet5"), "png", dpi=min(fits, 300)))) as image:
        assert image.width * image.height <= 100_000_000


def test_unknown_styles_and_themes() -> None:
    with pytest.raises(DrawError, match="no style `grpah`") as error:
        svg(network("lenet5"), style="grpah")
    assert error.value.help == "did you mean `graph`?"
    with pytest.raises(DrawError, match="no theme `drak`") as error:
        svg(network("lenet5"), theme="drak")
    assert error.value.help == "did you mean `dark`?"


# ------------------------------------------------------------------------------------------------------------- too much


def test_a_join_of_a_thousand_lanes_shows_a_few() -> None:
    document = svg(lanes(1000))
    assert "993 of the 1,000 lanes of 1000 are drawn as one box" in texts(document)
    assert document.count('class="card"') < 20


def test_five_thousand_layers_show_a_few() -> None:
    document = svg(layers(5000))
    assert any(
        text.endswith("layers in the middle are drawn as one box: --no-fold and --boxes show them")
        for text in texts(document)
    )
    assert document.count('class="card"') < 80


def test_many_scopes_are_closed() -> None:
    blocks = "\n".join(
        f"  s{number}: {{\n" + "\n".join(f"    conv({1 + (number + at) % 29}, 1x1)" for at in range(25)) + "\n  }"
        for number in range(40)
    )
    found = netdsl.loads(f"network deep() {{\n  input image: 4x8x8\n{blocks}\n}}\n").network
    said = texts(svg(found))
    assert any(text.startswith("1,001 layers, drawn to depth 1") for text in said)
    assert sum(text.startswith("25 layers") for text in said) == 40
    assert sum(text.startswith("conv ") for text in texts(svg(found, expand=("s7",), depth=1))) == 25
    with pytest.raises(DrawError, match="more than 500 boxes"):
        svg(found, fold=False, limit=500)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "]]><svg onload='x'>", '"&quot;\\N', "\x00\x1b[2J" * 50, "x" * 9000]
)
def test_hostile_names_in_a_comparison(name: str) -> None:
    found = netdsl.load("lenet5").network
    found.name = name
    document = compare_svg(found, network("lenet5"), title=name)
    root = ET.fromstring(document)
    kinds = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert kinds <= {"svg", "title", "desc", "rect", "g", "path", "polygon", "text", "line"}
    for element in root.iter():
        assert not any(key.startswith("on") or "href" in key for key in element.attrib)
