"""Drawings of volumes: sizes that grow with what they show, everything on the page, and nothing on top of another."""

import hashlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from library import names, network
from ruler import SVG, faults, measured
from toys import Add, Concat, Conv, Dense, Flatten, GlobalPool, Pool, Wired, chain

import netdsl
from netdsl.draw import DrawError
from netdsl.draw.options import PIXELS_PER_MM, Options
from netdsl.draw.palette import DARK, LIGHT, PRINT
from netdsl.draw.volumes import draw
from netdsl.draw.volumes.scale import Scale
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType

TIMES = "\N{MULTIPLICATION SIGN}"


def drawn(net: Network, **options: object) -> ET.Element:
    return ET.fromstring(draw(net, Options(**options)))  # type: ignore[arg-type]


def texts(root: ET.Element, kind: str | None = None) -> list[str]:
    return [e.text or "" for e in root.iter(f"{SVG}text") if kind is None or e.get("class") == kind]


def groups(root: ET.Element, kind: str) -> list[ET.Element]:
    return [element for element in root.iter(f"{SVG}g") if element.get("class") == kind]


def titles(root: ET.Element, kind: str) -> list[str]:
    return [group.findtext(f"{SVG}title") or "" for group in groups(root, kind)]


def paths(root: ET.Element, kind: str) -> list[str]:
    return [element.attrib["d"] for element in root.iter(f"{SVG}path") if element.get("class") == kind]


def after(shown: list[str], *wanted: str) -> bool:
    """Whether the wanted texts are there, in this order."""
    rest = iter(shown)
    return all(text in rest for text in wanted)


# ------------------------------------------------------------------------------------------------------------- the page


def test_nothing_of_the_library_is_cut_off_or_overlaps() -> None:
    found = {name: faults(draw(network(name), Options())) for name in names()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "unet", "efficientnet_b0"])
@pytest.mark.parametrize("width", [86, 178])
def test_a_page_of_any_width_is_filled_and_kept(name: str, width: float) -> None:
    text = draw(network(name), Options(width=width))
    assert faults(text) == []
    page = measured(text)
    if match := re.search(r'width="([\d.]+)mm"', text[: text.index(">")]):
        assert float(match[1]) == width
    else:
        assert page.width <= width * PIXELS_PER_MM + 0.01


def test_the_ruler_finds_what_is_wrong() -> None:
    text = draw(network("resnet18"), Options())
    assert faults(text) == []
    assert any("meets" in fault for fault in faults(text.replace('font-size="10"', 'font-size="40"')))
    width = re.search(r'viewBox="0 0 ([\d.]+)', text)
    assert width
    assert any("off the page" in fault for fault in faults(text.replace(width[0], 'viewBox="0 0 500')))
    moved = re.sub(r'(class="front" x=")([\d.]+)', lambda match: f"{match[1]}{float(match[2]) + 60:.2f}", text)
    assert any("meets" in fault for fault in faults(moved))


def test_rows_are_read_from_left_to_right_and_down() -> None:
    root = drawn(network("vgg16"), width=178)
    fronts = [group.find(f"{SVG}rect") for group in groups(root, "volume")]
    corners = [
        (float(f.attrib["x"]), float(f.attrib["y"]) + float(f.attrib["height"])) for f in fronts if f is not None
    ]
    breaks = [at for at in range(1, len(corners)) if corners[at][0] < corners[at - 1][0]]
    assert len(breaks) >= 2
    for at in breaks:
        assert min(y for _, y in corners[at:]) > max(y for _, y in corners[:at]) - 60
    order = [title.partition(":")[0].partition(" ")[0] for title in titles(root, "volume")]
    positions = [list(network("vgg16").table).index(name) for name in order]
    assert positions == sorted(positions)


# ----------------------------------------------------------------------------------------------------------- what it says


def test_lenet_is_drawn_as_its_paper_draws_it() -> None:
    # LeCun et al. (1998), figure 2: 32x32, 6@28x28, 6@14x14, 16@10x10, 16@5x5, 120, 84, 10.
    root = drawn(network("lenet5"))
    assert after(texts(root, "op"), "5x5 conv, 6", "5x5 conv, 16", "flatten", "dense 120", "dense 84", "dense 10")
    # Height, width and channels of each, in the order in which they are written; equal sizes are written once.
    assert " ".join(texts(root, "size")) == "32 32 1 28 28 6 14 14 6 10 10 16 5 5 16 400 120 84 10"
    assert texts(root, "name") == ["image"]
    assert "61.7 K parameters, 417 K MACs" in texts(root, "title")


def test_blocks_are_folded_as_often_as_the_paper_says() -> None:
    # He et al. (2015), table 1: 3, 4, 6 and 3 bottlenecks; the first of each has another shortcut.
    root = drawn(network("resnet50"))
    repeats = [text for text in texts(root, "bracket") if TIMES in text]
    assert repeats == [f"bottleneck {TIMES} {times}" for times in (2, 3, 5, 2)]
    assert len(groups(root, "symbol")) == 8
    # Four shortcuts are projections, the others the tensor itself.
    words = " ".join(texts(root, "op"))
    assert all(f"1x1 conv, {width}" in words for width in ("256", "512, /2", "1024, /2", "2048, /2"))
    unfolded = drawn(network("resnet50"), fold=False)
    assert len(groups(unfolded, "symbol")) == 16
    assert not [text for text in texts(unfolded, "bracket") if TIMES in text]


def test_dense_blocks_say_how_their_maps_become_more() -> None:
    # Huang et al. (2016), table 1: 6, 12, 24 and 16 layers of 32 maps; every transition halves what has come together.
    sizes = texts(drawn(network("densenet121")), "size")
    assert [size for size in sizes if "\N{HORIZONTAL ELLIPSIS}" in size] == [
        f"{first}\N{HORIZONTAL ELLIPSIS}{last}" for first, last in ((96, 256), (160, 512), (288, 1024), (544, 1024))
    ]


def test_an_inception_module_has_its_lanes_above_each_other() -> None:
    # Szegedy et al. (2014), table 1, inception (3a): 64 + 128 + 32 + 32 = 256 maps.
    root = drawn(network("inception_module"))
    fronts = {
        (group.findtext(f"{SVG}title") or "").rpartition(", ")[2]: group.find(f"{SVG}rect")
        for group in groups(root, "volume")
    }
    lanes = [fronts[shape] for shape in ("64x28x28", "128x28x28")]
    assert "256x28x28" in fronts
    tops = [float(lane.attrib["y"]) for lane in lanes if lane is not None]
    assert tops[1] - tops[0] > 50
    assert texts(root, "op").count("concat") == 1
    assert faults(draw(network("inception_module"), Options())) == []


def test_skips_that_cross_rows_meet_under_a_letter() -> None:
    root = drawn(network("unet"), width=178)
    letters = [text.partition(":")[0] for text in texts(root, "name") if re.fullmatch(r"[A-Z](: .*)?", text)]
    assert letters
    assert all(letters.count(letter) == 2 for letter in letters)


def test_outputs_and_heads_are_named() -> None:
    assert [text for text in texts(drawn(network("padding")), "name") if text != "image"] == ["valid", "same", "padded"]
    root = drawn(network("googlenet"))
    assert after(texts(root, "name"), "aux1: 9 layers, training only", "aux2: 9 layers, training only")


def test_sequences_blocks_and_unknown_extents() -> None:
    assert texts(drawn(network("convolution_1d")), "size") == ["14", "1", "10", "16", "6", "32"]
    assert texts(drawn(network("convolution_1d")), "op") == ["k=5 conv, 16", "k=5 conv, 32"]
    assert texts(drawn(network("convolution_3d")), "size") == ["14x14x14x1", "10x10x10x16", "6x6x6x32"]
    assert "?" in texts(drawn(network("sobel_vertical")), "size")


def test_an_unknown_extent_shrinks_as_the_positions_move_apart() -> None:
    source = "network open {\n input image: 3x?x?\n conv(8, 3x3, padding = 1)\n max_pool(2x2)\n max_pool(2x2)\n}"
    solids = measured(draw(netdsl.loads(source).network, Options())).solids
    heights = [shape.box[3] - shape.box[1] for shape in solids if shape.kind == "front"]
    assert heights[0] == heights[1]
    # Half the extent: sqrt(1/2) of the height.
    assert heights[2] / heights[1] == pytest.approx(0.5**0.5, abs=0.01)
    assert heights[3] / heights[1] == pytest.approx(0.5, abs=0.01)


def test_maps_that_are_not_square_look_it() -> None:
    net = netdsl.load("lenet5", shape=(1, 32, 128)).network
    solids = measured(draw(net, Options())).solids
    front = next(shape for shape in solids if shape.kind == "front")
    group = [shape for shape in solids if shape.group == front.group]
    right = max(shape.box[2] for shape in group)
    square = measured(draw(network("lenet5"), Options())).solids
    assert texts(drawn(net), "size")[:3] == ["32", "128", "1"]
    # 128 wide is the largest extent there is; 32 high is half as high as where it is the largest.
    assert front.box[3] - front.box[1] == pytest.approx((square[2].box[3] - square[2].box[1]) / 2, abs=1)
    assert right - front.box[2] > 35


# ---------------------------------------------------------------------------------------------------------------- scale


extents = st.integers(1, 5000)


@given(extents, extents, extents)
def test_a_larger_extent_is_never_drawn_smaller(first: int, second: int, other: int) -> None:
    scale = Scale([TensorType((3, first, second)), TensorType((other, 7, 7))])
    small, large = sorted((first, second))
    assert scale.extent(small) <= scale.extent(large)
    assert scale.channels(small) <= scale.channels(large)
    assert scale.units(small) <= scale.units(large)
    a, b = scale.solid(TensorType((small, small, small))), scale.solid(TensorType((large, large, large)))
    assert (a.across <= b.across, a.height <= b.height, a.dx <= b.dx, a.dy <= b.dy) == (True,) * 4


@pytest.mark.parametrize("name", ["lenet5", "vgg16", "resnet50", "densenet121", "unet"])
def test_boxes_of_a_drawing_grow_with_their_maps(name: str) -> None:
    root = drawn(network(name))
    seen = []
    for group in groups(root, "volume"):
        shape = (group.findtext(f"{SVG}title") or "").rpartition(", ")[2].split("x")
        front = group.find(f"{SVG}rect")
        assert front is not None
        if len(shape) == 3:
            seen.append((*map(int, shape), float(front.attrib["width"]), float(front.attrib["height"])))
    assert len(seen) > 3
    for by, drawn_as in ((0, 3), (1, 4)):
        ranked = sorted(seen, key=lambda volume: volume[by])
        sizes = [volume[drawn_as] for volume in ranked]
        assert all(a <= b for a, b in pairwise(sizes))
        assert sizes[-1] > sizes[0]


# -------------------------------------------------------------------------------------------------------------- options


def test_the_same_spec_gives_the_same_bytes() -> None:
    script = (
        "import netdsl, hashlib\n"
        "from netdsl.draw.options import Options\n"
        "from netdsl.draw.volumes import draw\n"
        "net = netdsl.load('googlenet').network\n"
        "print(hashlib.sha256(draw(net, Options()).encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == hashlib.sha256(draw(network("googlenet"), Options()).encode()).hexdigest()


@pytest.mark.parametrize("theme", [LIGHT, DARK, PRINT], ids=lambda theme: theme.name)
def test_themes_change_colours_alone(theme: object) -> None:
    net = network("resnet18")
    text = draw(net, Options(theme=theme))  # type: ignore[arg-type]
    assert faults(text) == []
    assert measured(text).texts == measured(draw(net, Options())).texts
    dashed = [
        e for e in ET.fromstring(text).iter(f"{SVG}path") if e.get("class") == "skip" and "stroke-dasharray" in e.attrib
    ]
    assert bool(dashed) == (theme is PRINT)


def test_labels_and_heat() -> None:
    root = drawn(network("lenet5"), labels=("params",), heat="params")
    # 5 * 5 * 1 * 6 + 6 and 400 * 120 + 120.
    assert after(texts(root, "note"), "156 params", "48.1 K params")
    fills = {
        (group.findtext(f"{SVG}title") or "").partition(":")[0]: group.find(f"{SVG}rect").attrib["fill"]  # type: ignore[union-attr]
        for group in groups(root, "volume")
    }
    assert fills["fc1"] == LIGHT.heat(1.0)
    assert fills["1"] == LIGHT.heat(0.0)
    assert faults(draw(network("resnet50"), Options(labels=("params", "macs", "memory", "receptive")))) == []


def test_closed_blocks_are_said_to_be_closed() -> None:
    root = drawn(network("googlenet"), depth=1)
    assert texts(root, "op").count("inception") == 9
    assert "concat" not in texts(root, "op")
    opened = drawn(network("googlenet"), depth=1, expand=("inception3a",))
    assert texts(opened, "op").count("inception") == 8
    assert texts(opened, "op").count("concat") == 1
    alone = drawn(network("googlenet"), expand=("inception3a",))
    assert (texts(alone, "op").count("inception"), texts(alone, "op").count("concat")) == (8, 1)
    described = drawn(network("efficientnet_b7")).findtext(f"{SVG}desc") or ""
    assert "865 layers" in described


def test_it_can_be_read_aloud() -> None:
    root = drawn(network("lenet5"))
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "lenet5"
    described = root.findtext(f"{SVG}desc") or ""
    assert "image 1x32x32" in described
    assert "61.7 K parameters" in described
    own = drawn(network("lenet5"), title="Digits", description="How a cheque is read.")
    assert (own.findtext(f"{SVG}title"), own.findtext(f"{SVG}desc")) == ("Digits", "How a cheque is read.")


# -------------------------------------------------------------------------------------------------------------- hostile


EVIL = "a\"b'c]]>&amp;<script>alert(1)</script>\x00\x1b[31m"


def test_names_stay_names() -> None:
    wired = Wired(EVIL, 3, 8, 8)
    wired(EVIL, Conv(filters=4, kernel=3))
    wired(f"{'x' * 3000}.conv", Conv(filters=4, kernel=1))
    wired(f"{'x' * 3000}.pool", Pool(kernel=2))
    wired(f"{'x' * 3000}.other", Pool(kernel=2))
    wired.network.outputs[EVIL] = EVIL
    text = draw(wired.output(f"{'x' * 3000}.other", "o" * 5000), Options())
    assert faults(text) == []
    root = ET.fromstring(text)
    allowed = {"svg", "title", "desc", "rect", "text", "g", "path", "polygon", "line", "defs", "pattern"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]
    assert any("<script>" in shown for shown in texts(root))
    assert len(text) < 40_000


def test_a_thousand_lanes_and_five_thousand_layers() -> None:
    wired = Wired("wide", 4, 8, 8)
    ends = [wired(f"lane{n}", Conv(filters=1 + n % 7, kernel=1), "image") for n in range(1000)]
    wired("all", Concat(), ends)
    text = draw(wired.output(), Options())
    assert faults(text) == []
    assert len(groups(ET.fromstring(text), "volume")) < 30
    layers = [Conv(filters=4 + n % 5, kernel=1 + 2 * (n % 3), padding=n % 3) for n in range(5000)]
    long = chain("long", (4, 8, 8), *layers)
    assert faults(draw(long, Options())) == []
    with pytest.raises(DrawError) as error:
        draw(long, Options(fold=False))
    assert error.value.code == "E0804"


def test_towers_that_are_wider_than_the_page_follow_each_other() -> None:
    wired = Wired("towers", 3, 64, 64)
    ends = []
    for tower in range(2):
        name = "image"
        for layer in range(9):
            name = wired(f"tower{tower}.{layer}", Conv(filters=8 + 8 * layer + tower, kernel=3, padding=1), name)
        ends.append(name)
    wired("sum", Add(), ends)
    wired("pool", GlobalPool())
    wired("flat", Flatten())
    wired("fc", Dense(units=10))
    text = draw(wired.output(), Options(width=178, depth=2))
    assert faults(text) == []
    assert 'mm"' not in text[: text.index(">")]
    assert len(groups(ET.fromstring(text), "volume")) == 1 + 18 + 2
