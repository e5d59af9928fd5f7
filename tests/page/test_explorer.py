"""The page in a browser: it opens, folds, searches, shows the right numbers, and runs nothing that a name says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from toys import Conv, Relu, Wired
from visits import MINE, UNIT, Visit, viewing

import netdsl
from netdsl.draw.page import write

Open = Callable[..., Any]
TIMES = "\N{MULTIPLICATION SIGN}"
SVG = "{http://www.w3.org/2000/svg}"


def library(name: str) -> Any:
    return netdsl.load(name).network


def panel(page: Any) -> str:
    """What the panel says, with single spaces."""
    return " ".join(page.inner_text("#panel-layer").split())


def exact(page: Any, cost: str) -> str:
    return str(page.inner_text(f"[data-cost={cost}] .exact"))


# ------------------------------------------------------------------------------------------------------------ numbers


def test_a_layer_shows_its_arithmetic(opened: Open, visit: Visit) -> None:
    page = opened(library("lenet5"))
    assert page.title() == "lenet5" and page.inner_text("#totals") == "61.7 K parameters · 417 K MACs"
    page.click("#stage [data-node] >> text=conv 5x5, 16")
    text = panel(page)
    # 16 filters of 6 x 5 x 5 and a bias each; 10 x 10 positions. LeCun et al. 1998, C3 with all maps connected.
    assert (
        exact(page, "parameters") == "2,416"
        and exact(page, "macs") == "240,000"
        and exact(page, "memory") == "6,400 bytes"
    )
    assert "weight: 16 filters * (6 channels * 5 * 5) = 2,400" in text and "10 * 10 positions" in text
    # Two 5x5 convolutions and a 2x2 pool of step 2: 5 + 1 + 4 * 2 inputs, a step of 2.
    assert "sees 14x14 of 32x32" in text and "neighbours are 2 apart" in text
    assert "conv2.weight 16x6x5x5 2,400" in text
    marked = page.inner_text("#panel-layer .code .here")
    assert "conv2: conv(16, 5x5) -> tanh" in marked
    assert page.url.endswith("#conv2")
    # Everything came from the one file.
    assert {request for request in visit.requests if not request.startswith("data:")} == {page.url.partition("#")[0]}


def test_the_receptive_field_follows_the_pointer(opened: Open) -> None:
    page = opened(library("lenet5"))
    page.click("text=conv 5x5, 16")
    page.hover(".reach", position={"x": 1, "y": 1})
    assert "Position 0, 0 sees 14x14 of 32x32, from 0, 0 on" in panel(page)
    size = page.locator(".reach").bounding_box()
    page.hover(".reach", position={"x": size["width"] - 2, "y": size["height"] - 2})
    # The last of 10 positions: 9 * 2.
    assert "Position 9, 9 sees 14x14 of 32x32, from 18, 18 on" in panel(page)


def test_a_scope_shows_its_sums(opened: Open, visit: Visit) -> None:
    page = opened(library("resnet50"))
    visit.choose("layer4")
    # torchvision's resnet50: the numbers of all parameters of layer4 add up to 14,964,736.
    assert exact(page, "parameters") == "14,964,736"
    assert "scope, 32 layers" in panel(page) and "1024x14x14 → 2048x7x7" in panel(page)


def test_lines_of_the_source_lead_to_layers(opened: Open) -> None:
    page = opened(library("lenet5"))
    page.click("#panel-toggle")
    page.click("#tab-source")
    page.click("#panel-source li:has-text('fc2: dense(84)')")
    assert page.url.endswith("#fc2")
    page.click("#tab-layer")
    assert exact(page, "parameters") == "10,164"


# ------------------------------------------------------------------------------------------------- opening and folding


def status(page: Any) -> str:
    return str(page.inner_text("#status"))


def drawn(page: Any, text: str) -> int:
    """How many boxes that are in sight say this."""
    return int(page.locator("#stage .box", has_text=text).count())


def test_blocks_fold_open_and_close(opened: Open, visit: Visit) -> None:
    page = opened(library("resnet50"))
    # He et al. 2016, table 1: after the first block of each stage 2, 3, 5 and 2 equal ones.
    assert page.locator("#stage .badge text").all_text_contents() == [
        f"{TIMES}2",
        f"{TIMES}3",
        f"{TIMES}5",
        f"{TIMES}2",
    ]
    assert "stand for 176 layers" in status(page)
    before = drawn(page, "conv 3x3, 256")
    page.click("#stage .frame:has-text('layer3') >> nth=0 >> [data-act=toggle] >> nth=0")
    assert drawn(page, "conv 3x3, 256") == before - 2
    closed = page.locator("#stage .box[aria-expanded=false]")
    # Six blocks of ten layers, and the two of the projection.
    assert closed.count() == 1 and "62 layers" in closed.get_attribute("aria-label")
    page.keyboard.press("Enter")
    assert drawn(page, "conv 3x3, 256") == before
    page.click(f"#stage .badge:has-text('{TIMES}5')")
    assert page.locator("#stage .badge text").all_text_contents() == [f"{TIMES}2", f"{TIMES}3", f"{TIMES}2"]
    page.keyboard.press("u")
    assert status(page) == "all 176 layers are shown"
    svg = ET.fromstring(visit.saved())
    shown = [element.text or "" for element in svg.iter(f"{SVG}text")]
    # 1 + 48 convolutions and 4 projections; a fully connected layer.
    assert (
        sum(text.startswith("conv ") for text in shown) == 53 and sum(text.startswith("dense ") for text in shown) == 1
    )
    page.click("#fold")
    assert page.locator("#stage .badge").count() == 4


def test_an_address_opens_what_it_names(opened: Open, visit: Visit) -> None:
    page = opened(library("efficientnet_b7"))
    assert "stand for 865 layers" in status(page)
    visit.choose("features.6.11.block.2.fc1")
    current = page.locator("#stage .box.current")
    assert "fc1" in current.text_content() and current.bounding_box()["x"] > 0
    # Squeeze to a 1/4 of the 384 channels that enter the block (Tan and Le 2019, MBConv6): 2304 -> 96, with a bias.
    assert exact(page, "parameters") == f"{2304 * 96 + 96:,}"


def test_it_opens_as_it_was_asked_to(opened: Open) -> None:
    page = opened(library("resnet50"), depth=1, expand=["layer2.3"], heat="macs", theme="dark")
    assert page.locator("#stage .box[aria-expanded=false]").count() == 6
    # Three other stages, and three blocks of layer2: it is unfolded, for its last block is one of three equal ones.
    assert page.locator("#stage .frame").count() == 2 and page.locator("#stage .badge").count() == 0
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert "MACs" in page.inner_text("#legend")


def test_search_and_keys(opened: Open) -> None:
    page = opened(library("resnet50"), depth=1)
    page.keyboard.press("/")
    page.keyboard.type("layer4 conv2")
    # Three blocks: layers of that name.
    assert page.inner_text("#results .count") == "3 found"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.url.endswith("#layer4.1.conv2")
    # What was found has the focus, and the keys go on from there.
    assert page.evaluate("document.activeElement === document.querySelector('#stage .box.current')")
    for key, name in [
        ("ArrowDown", "layer4.1.bn2"),
        ("ArrowDown", "layer4.1.1"),
        ("ArrowDown", "layer4.1.conv3"),
        ("ArrowUp", "layer4.1.1"),
    ]:
        page.keyboard.press(key)
        assert page.inner_text("#panel h2") == name
    page.keyboard.press("c")
    assert (
        page.inner_text("#panel h2") == "layer4.1"
        and page.locator("#stage .box.current[aria-expanded=false]").count() == 1
    )
    page.keyboard.press("/")
    page.keyboard.type("nothing like it")
    assert page.inner_text("#results .count") == "nothing found"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert page.inner_text("#panel h2") == "resnet50" and "#" not in page.url


def test_heat_and_theme(opened: Open) -> None:
    page = opened(library("lenet5"))

    def fill(text: str) -> str:
        return str(
            page.evaluate(
                "text => [...document.querySelectorAll('#stage .box')].find(box => box.textContent.includes(text)).querySelector('.row').style.fill",
                text,
            )
        )

    assert fill("dense 120") == ""
    page.select_option("#heat", "parameters")
    # 48,120 of 61,706 parameters, and none at all.
    heats = page.evaluate(
        "['--heat-0', '--heat-3'].map(name => getComputedStyle(document.documentElement).getPropertyValue(name))"
    )
    assert [fill("flatten"), fill("dense 120")] == [
        f"rgb({', '.join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))})" for color in heats
    ]
    assert page.inner_text("#legend").split("\n")[-1] == "48.1 K"
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper


def test_panning_and_zooming(opened: Open) -> None:
    page = opened(library("lenet5"))
    place = page.locator("#stage .box", has_text="flatten")
    before = place.bounding_box()
    page.mouse.move(100, 400)
    page.mouse.down()
    page.mouse.move(160, 430, steps=4)
    page.mouse.up()
    page.wait_for_function("x => document.querySelector('#stage .box').getBoundingClientRect().x !== x", arg=0)
    after = place.bounding_box()
    assert (round(after["x"] - before["x"]), round(after["y"] - before["y"])) == (60, 30)
    page.mouse.move(after["x"] + 5, after["y"] + 5)
    page.mouse.wheel(0, -400)
    page.wait_for_function(
        "wide => [...document.querySelectorAll('#stage .box')].some(box => box.getBoundingClientRect().width > 1.5 * wide)",
        arg=before["width"],
    )
    # What lies under the pointer stays there.
    zoomed = place.bounding_box()
    assert abs(zoomed["x"] - after["x"]) < 8 and abs(zoomed["y"] - after["y"]) < 8
    page.keyboard.press("0")
    page.wait_for_function("document.querySelector('#zoom').textContent !== ''")


# ------------------------------------------------------------------------------------------------------------- pictures


class Rect(NamedTuple):
    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: Rect) -> bool:
        return (
            self.x0 < other.x1 - 0.5
            and other.x0 < self.x1 - 0.5
            and self.y0 < other.y1 - 0.5
            and other.y0 < self.y1 - 0.5
        )

    def holds(self, other: Rect) -> bool:
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1


def rects(svg: ET.Element, kind: str, inner: str) -> list[Rect]:
    found = []
    for group in svg.iter(f"{SVG}g"):
        if (group.get("class") or "").split(" ")[0] == kind:
            x, y = map(float, re.findall(r"-?[\d.]+", group.get("transform") or ""))
            (rect,) = [
                each for each in group if each.tag == f"{SVG}rect" and (each.get("class") or "").split(" ")[0] == inner
            ]
            found.append(Rect(x, y, x + float(rect.get("width") or 0), y + float(rect.get("height") or 0)))
    return found


CROSSED = """
boxes => [...document.querySelectorAll('path.wire')].filter(path => {
  const holder = path.hasAttribute('transform') ? path : path.parentNode;
  const [dx, dy] = holder.getAttribute('transform').match(/-?[\\d.]+/g).map(Number);
  const length = path.getTotalLength();
  for (let at = 4; at < length - 4; at += 6) {
    const x = path.getPointAtLength(at).x + dx, y = path.getPointAtLength(at).y + dy;
    if (boxes.some(([x0, y0, x1, y1]) => x0 + 2 < x && x < x1 - 2 && y0 + 2 < y && y < y1 - 2)) return true;
  }
  return false;
}).map(path => path.getAttribute('class'))
"""


@pytest.mark.parametrize("name", ["googlenet", "unet", "shufflenet_v2_x1_0", "densenet121", "inception_v4"])
def test_nothing_overlaps_in_an_exported_view(opened: Open, visit: Visit, tmp_path: Path, name: str) -> None:
    page = opened(library(name))
    page.keyboard.press("u")
    text = visit.saved()
    svg = ET.fromstring(text)
    boxes, frames = rects(svg, "box", "edge"), rects(svg, "frame", "ground")
    assert len(boxes) > 30
    boxes.sort()
    for at, box in enumerate(boxes):
        for other in boxes[at + 1 :]:
            if other.x0 > box.x1:
                break
            assert not box.meets(other)
        assert all(frame.holds(box) or not frame.meets(box) for frame in frames)
    for at, frame in enumerate(frames):
        assert all(frame.holds(other) or other.holds(frame) or not frame.meets(other) for other in frames[at + 1 :])
    left, top, wide, high = map(float, (svg.get("viewBox") or "").split())
    whole = Rect(left, top, left + wide, top + high)
    assert all(whole.holds(rect) for rect in [*boxes, *frames])
    # No wire leads through a box.
    (tmp_path / "saved.svg").write_text(text, encoding="utf-8")
    page.goto((tmp_path / "saved.svg").as_uri())
    assert page.evaluate(CROSSED, boxes) == []
    # It stands alone: for programs that know no variables and run no scripts.
    assert "var(" not in text and "<script" not in text and "data-" not in text


def test_wide_joins_and_thousands_of_layers(opened: Open) -> None:
    network = netdsl.loads(
        "network wide {\n input 4x8x8\n concat {\n"
        + "".join(f"| lane{i}: conv({1 + i % 7}, 1x1)\n" for i in range(1000))
        + "}\n}"
    ).network
    page = opened(network)
    assert status(page) == "all 1,002 layers are shown"
    text = "network deep {\n input 8x8x8\n for i in range(50) { s{i}: { for j in range(25) { u{j}: { conv(8 + (i + j) % 3, 1x1) -> relu\n conv(8, 1x1) -> relu } } } }\n}"
    page = opened(netdsl.loads(text).network)
    assert re.match(r"\d+ boxes stand for 5,001 layers", status(page))
    assert int(status(page).split()[0]) <= 120


# ------------------------------------------------------------------------------------------------------------- hostile

EVIL = [
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 1</script><!--",
    "<img src=x onerror='window.ran = 1'>",
    '"\' onload="window.ran = 1" x=\'',
    "]]></style><svg onload=window.ran=1>",
    "javascript:window.ran=1",
    "a & b &lt; \u2028\u2029 \x07\x1b \u202e ${window.ran=1} {{x}}",
    "x" * 5000,
]


@pytest.mark.parametrize("guarded", [True, False], ids=["policy", "no policy"])
def test_names_with_markup_stay_names(visit: Visit, tmp_path: Path, guarded: bool) -> None:
    wired = Wired(EVIL[1], 3, 8, 8)
    for name in EVIL:
        wired(f"{name}.inner", Conv(filters=2, kernel=1))
        wired(f"{name}.other", Relu())
        wired(f"{name}.last", Conv(filters=3, kernel=1))
    network = wired.output(None, EVIL[0])
    network.doc = EVIL[2]
    text = write(network)
    if not guarded:
        # Without its policy, the page has to be right by itself.
        text = re.sub(r"<meta http-equiv=[^>]+>", "", text)
    path = tmp_path / "evil.html"
    path.write_text(text, encoding="utf-8")
    page = visit.go(path.as_uri())
    page.keyboard.press("u")
    page.keyboard.press("/")
    page.keyboard.type("script")
    assert page.locator("#results .name").first.inner_text().count("script") >= 1
    page.keyboard.press("Enter")
    for name in EVIL[:4]:
        visit.choose(f"{name}.inner")
    page.click("#title")
    svg = visit.saved()
    assert "script" not in {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()}
    assert page.evaluate("window.ran === undefined")
    elements = set(page.evaluate("[...document.querySelectorAll('*')].map(e => e.localName)"))
    assert not elements & {"img", "iframe", "object", "embed"}
    # The picture that was saved is harmless too.
    (tmp_path / "evil.svg").write_text(svg, encoding="utf-8")
    page.goto((tmp_path / "evil.svg").as_uri())
    assert page.evaluate("window.ran === undefined")


# ---------------------------------------------------------------------------------------------------------------- view


def test_view_survives_a_broken_save(visit: Visit, tmp_path: Path) -> None:
    (tmp_path / "unit.net").write_text(UNIT)
    spec = tmp_path / "mine.net"
    spec.write_text(MINE)
    with viewing(tmp_path, "mine.net") as (process, address):
        page = visit.go(address)
        page.wait_for_selector("#live[data-state=good]")
        page.keyboard.press("u")
        assert status(page) == "all 10 layers are shown"
        spec.write_text(MINE.replace("unit(4)", "unti(4)"))
        page.wait_for_selector("#live[data-state=bad]")
        # The diagnostic stands at its line; the picture stays.
        line = page.locator("#panel-source li:has(.note)")
        assert line.get_attribute("data-line") == "5" and "did you mean `unit`?" in line.inner_text()
        assert status(page) == "all 10 layers are shown" and page.locator("#stage .box").count() > 5
        spec.write_text(MINE.replace("repeat 3", "repeat 4"))
        page.wait_for_selector("#live[data-state=good]")
        page.wait_for_function("document.querySelector('#totals').textContent.startsWith('592')")
        assert page.locator("#panel-source .note").count() == 0
        process.kill()
        page.wait_for_selector("#live[data-state=wait]")
    # That the server is gone is no error of the page.
    visit.errors = [error for error in visit.errors if "ERR_" not in error]
