"""Nothing in a graph overlaps, and nothing is cut off: measured in the SVG, text with the font itself.

Of every spec of the library the first and the last network is drawn; with NETDSL_DRAW_EVERYTHING set, every network,
in both directions, folded and unfolded.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import pytest
from library import names, network
from PIL import ImageFont

from netdsl.draw import svg
from netdsl.draw.lettering import FONTS, text_width
from netdsl.elaborate.catalogue import rows

SVG = "{http://www.w3.org/2000/svg}"
SLACK = 0.75
"""Pixels that two things may share: what rounding makes of touching ones."""
EVERYTHING = bool(os.environ.get("NETDSL_DRAW_EVERYTHING"))

Rect = tuple[float, float, float, float]
Point = tuple[float, float]


@cache
def font(bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(
        FONTS / f"Arimo-{'Bold' if bold else 'Regular'}.ttf", 1000, layout_engine=ImageFont.Layout.BASIC
    )


@cache
def inked(text: str, bold: bool) -> float:
    """Width of a text at a font size of 1000, as FreeType sets it."""
    return font(bold).getlength(text)


@dataclass
class Drawing:
    page: Rect
    texts: list[tuple[str, Rect, str]] = field(default_factory=list)
    """Text, box, and the kind of group that it stands in."""
    cards: list[Rect] = field(default_factory=list)
    clusters: list[Rect] = field(default_factory=list)
    lines: list[list[Point]] = field(default_factory=list)
    in_cards: list[tuple[str, Rect, Rect]] = field(default_factory=list)
    """Text, box, and the card that it stands in."""


def read(document: str) -> Drawing:
    root = ET.fromstring(document)
    found = Drawing(tuple(float(part) for part in root.attrib["viewBox"].split()))  # type: ignore[arg-type]
    walk(root, found, (0, 0), "")
    return found


def walk(group: ET.Element, found: Drawing, shift: Point, kind: str) -> None:
    moved = re.fullmatch(r"translate\((\S+) (\S+)\)", group.get("transform", ""))
    if moved:
        shift = (shift[0] + float(moved[1]), shift[1] + float(moved[2]))
    card: Rect | None = None
    for child in group:
        tag = child.tag.removeprefix(SVG)
        if tag == "rect" and child.get("class") == "card":
            card = box(child, shift)
            found.cards.append(card)
        elif tag == "rect" and kind == "cluster":
            found.clusters.append(box(child, shift))
        elif tag == "path" and kind.startswith("edge"):
            found.lines.append(along(child.attrib["d"], shift))
        elif tag == "text":
            place = text_box(child, shift)
            found.texts.append((child.text or "", place, kind))
            if kind == "node":
                assert card is not None
                found.in_cards.append((child.text or "", place, card))
        elif tag == "g":
            walk(child, found, shift, child.get("class", kind))


def box(rect: ET.Element, shift: Point) -> Rect:
    x, y, width, height = (float(rect.get(side, "0")) for side in ("x", "y", "width", "height"))
    return (x + shift[0], y + shift[1], x + shift[0] + width, y + shift[1] + height)


def text_box(text: ET.Element, shift: Point) -> Rect:
    x, y, size = (float(text.attrib[name]) for name in ("x", "y", "font-size"))
    width = inked(text.text or "", text.get("font-weight") == "bold") * size / 1000
    left = x + shift[0] - {"middle": width / 2, "end": width}.get(text.get("text-anchor", ""), 0)
    return (left, y + shift[1] - 0.72 * size, left + width, y + shift[1] + 0.05 * size)


def along(d: str, shift: Point) -> list[Point]:
    """Points on a path of M, L, Q and C: ends, and on curves some between."""
    points: list[Point] = []
    for command, rest in re.findall(r"([MLQC])([^MLQC]*)", d):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", rest)]
        given = [(x + shift[0], y + shift[1]) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
        if command in "ML":
            points += given
            continue
        controls = [points[-1], *given]
        for step in range(1, 9):
            level = controls
            while len(level) > 1:
                level = [tuple(a + (b - a) * step / 8 for a, b in zip(p, q, strict=True)) for p, q in pairwise(level)]  # type: ignore[misc]
            points.append(level[0])
    return points


def meet(a: Rect, b: Rect, room: float = -SLACK) -> bool:
    return a[0] < b[2] + room and b[0] < a[2] + room and a[1] < b[3] + room and b[1] < a[3] + room


def holds(outer: Rect, inner: Rect) -> bool:
    return (
        outer[0] <= inner[0] + SLACK and outer[1] <= inner[1] + SLACK
        and inner[2] <= outer[2] + SLACK and inner[3] <= outer[3] + SLACK
    )  # fmt: skip


def crosses(a: Point, b: Point, rect: Rect) -> bool:
    """Whether a straight piece comes into a rectangle (Liang and Barsky's clipping)."""
    low, high = 0.0, 1.0
    for axis in (0, 1):
        start, step = a[axis], b[axis] - a[axis]
        first, last = rect[axis] + SLACK, rect[axis + 2] - SLACK
        if abs(step) < 1e-9:
            if not first < start < last:
                return False
            continue
        one, two = sorted(((first - start) / step, (last - start) / step))
        low, high = max(low, one), min(high, two)
    return low < high


def pairs_that_meet(rects: list[Rect]) -> list[tuple[int, int]]:
    order = sorted(range(len(rects)), key=lambda at: rects[at][1])
    found, open_ = [], []
    for at in order:
        open_ = [other for other in open_ if rects[other][3] > rects[at][1]]
        found += [(other, at) for other in open_ if meet(rects[other], rects[at])]
        open_.append(at)
    return found


def faults(document: str) -> list[str]:
    drawing = read(document)
    found = []
    for text, place, _ in drawing.texts:
        if not holds(drawing.page, place):
            found.append(f"{text!r} leaves the page")
    for rect in (*drawing.cards, *drawing.clusters):
        if not holds(drawing.page, rect):
            found.append(f"a box leaves the page: {rect}")
    for line in drawing.lines:
        if not all(holds(drawing.page, (x, y, x, y)) for x, y in line):
            found.append(f"a line leaves the page: {line[0]}")
    for text, place, card in drawing.in_cards:
        if not holds(card, place):
            found.append(f"{text!r} leaves its card")
    places = [place for _, place, _ in drawing.texts]
    found += [f"{drawing.texts[a][0]!r} on {drawing.texts[b][0]!r}" for a, b in pairs_that_meet(places)]
    found += [f"cards on each other: {drawing.cards[a]}" for a, b in pairs_that_meet(drawing.cards)]
    for a, b in pairs_that_meet(drawing.clusters):
        first, second = drawing.clusters[a], drawing.clusters[b]
        if not holds(first, second) and not holds(second, first):
            found.append(f"scopes on each other: {first} {second}")
    for card in drawing.cards:
        for cluster in drawing.clusters:
            if meet(card, cluster) and not holds(cluster, card):
                found.append(f"a card half in a scope: {card}")
    outside = [(text, place) for text, place, kind in drawing.texts if kind != "node"]
    for text, place in outside:
        found += [f"{text!r} on a card" for card in drawing.cards if meet(place, card)]
        found += [
            f"{text!r} on the border of a scope"
            for cluster in drawing.clusters
            if meet(place, cluster) and not holds(cluster, place)
        ]
    # Lines pass beside texts, and beside cards but those where they end.
    for line in drawing.lines:
        pieces = list(pairwise(line))
        xs, ys = [x for x, _ in line], [y for _, y in line]
        reach = (min(xs), min(ys), max(xs), max(ys))
        for text, place in outside:
            if meet(reach, place, 1) and any(crosses(a, b, place) for a, b in pieces):
                found.append(f"a line through {text!r}")
        for card in drawing.cards:
            if not meet(reach, card, 1):
                continue
            ends = any(
                holds((card[0] - 8, card[1] - 8, card[2] + 8, card[3] + 8), (*end, *end)) for end in (line[0], line[-1])
            )
            if not ends and any(crosses(a, b, card) for a, b in pieces):
                found.append(f"a line through a card: {card}")
    return found


CASES = list(dict.fromkeys(row["name"] for row in rows())) if EVERYTHING else names()


@pytest.mark.parametrize("name", CASES)
def test_nothing_overlaps_and_nothing_is_cut_off(name: str) -> None:
    assert faults(svg(network(name))) == []


@pytest.mark.parametrize("name", CASES if EVERYTHING else ["resnet50", "googlenet", "unet", "mobilenet_v3_small"])
def test_nothing_overlaps_in_a_graph_that_goes_right(name: str) -> None:
    assert faults(svg(network(name), direction="right", labels=("params", "macs", "memory", "receptive"))) == []


@pytest.mark.parametrize("name", CASES if EVERYTHING else ["densenet121"])
def test_nothing_overlaps_where_nothing_is_folded(name: str) -> None:
    assert faults(svg(network(name), fold=False, limit=10_000)) == []


def test_the_table_of_widths_is_that_of_the_font() -> None:
    for bold in (False, True):
        for text in ("conv 3x3, 64, /2", "\N{MULTIPLICATION SIGN} 12", "1024x14x14", "Größe αβγ Шаг", "{}|<>&\"'@~^"):
            # Kerning brings letters together, never apart by more than a trifle.
            assert inked(text, bold) * 12 / 1000 <= text_width(text, 12, bold) + 0.6
            assert inked(text, bold) * 12 / 1000 >= text_width(text, 12, bold) * 0.94
