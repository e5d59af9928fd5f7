"""Measures a drawing: where its texts, boxes and lines are, whether any of them meet, and whether all are on the page.

It reads the SVG document alone. A text is as wide as its `textLength` says; lines are the straight pieces of the paths.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

SVG = "{http://www.w3.org/2000/svg}"
_SLACK = 0.6
"""Pixels that two things may share: what rounding and the thickness of lines make."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A convex outline, and what it is."""

    points: tuple[Point, ...]
    kind: str
    text: str = ""
    group: int = 0

    @property
    def box(self) -> tuple[float, float, float, float]:
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        return min(xs), min(ys), max(xs), max(ys)


@dataclass
class Measured:
    width: float
    height: float
    texts: list[Shape] = field(default_factory=list)
    solids: list[Shape] = field(default_factory=list)
    lines: list[Shape] = field(default_factory=list)


def measured(svg: str) -> Measured:
    root = ET.fromstring(svg)
    _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
    found = Measured(width, height)
    _walk(root, found, "", 0, [0])
    return found


def _walk(element: ET.Element, found: Measured, kind: str, group: int, count: list[int]) -> None:
    for child in element:
        name = child.tag.removeprefix(SVG)
        own = child.get("class", "")
        if name == "g":
            assert "transform" not in child.attrib
            count[0] += 1
            _walk(child, found, own, count[0], count)
        elif name == "text":
            found.texts.append(_text(child, kind, group))
        elif name == "rect" and (own or kind):
            x, y, w, h = (float(child.get(key, "0")) for key in ("x", "y", "width", "height"))
            found.solids.append(Shape(((x, y), (x + w, y), (x + w, y + h), (x, y + h)), own or kind, "", group))
        elif name == "polygon" and kind:
            numbers = [float(part) for part in re.findall(r"-?[\d.]+", child.attrib["points"])]
            points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
            found.solids.append(Shape(points, kind, "", group))
        elif name == "path" and own in ("flow", "skip", "bracket"):
            found.lines.extend(Shape(piece, own) for piece in _pieces(child.attrib["d"]))


def _text(element: ET.Element, kind: str, group: int) -> Shape:
    x, y, size = (float(element.attrib[key]) for key in ("x", "y", "font-size"))
    width = float(element.attrib["textLength"])
    left = x - {"middle": width / 2, "end": width}.get(element.get("text-anchor", ""), 0.0)
    top, bottom = y - 0.69 * size, y + 0.02 * size
    corners = ((left, top), (left + width, top), (left + width, bottom), (left, bottom))
    return Shape(corners, element.get("class", kind), element.text or "", group)


def _pieces(d: str) -> list[tuple[Point, Point]]:
    """The straight pieces of a path of absolute M, L and Q; a curve counts as the piece between its ends."""
    pieces, at = [], (0.0, 0.0)
    for command, rest in re.findall(r"([MLQ])([^MLQ]*)", d):
        numbers = [float(part) for part in re.findall(r"-?[\d.]+", rest)]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if command != "M":
            pieces.append((at, points[-1]))
        at = points[-1]
    return pieces


def faults(svg: str) -> list[str]:
    """What is cut off, and what meets that should not; empty for a drawing that is as it should be."""
    drawing = measured(svg)
    found = []
    for shape in (*drawing.texts, *drawing.solids, *drawing.lines):
        left, top, right, bottom = shape.box
        if left < -_SLACK or top < -_SLACK or right > drawing.width + _SLACK or bottom > drawing.height + _SLACK:
            found.append(f"off the page: {shape.kind} {shape.text!r} {shape.box}")
    shapes = sorted((*drawing.texts, *drawing.solids, *drawing.lines), key=lambda shape: shape.box[0])
    open_: list[Shape] = []
    for shape in shapes:
        left = shape.box[0]
        open_ = [other for other in open_ if other.box[2] > left]
        for other in open_:
            first, second = (shape, other) if shape.text else (other, shape)
            if _may_meet(first, second) or not _overlap(first, second):
                continue
            found.append(f"{first.kind} {first.text!r} {first.box} meets {second.kind} {second.text!r} {second.box}")
        open_.append(shape)
    return found


def _may_meet(text: Shape, other: Shape) -> bool:
    if not text.text:
        # Boxes of different groups must not meet; lines end at boxes and cross each other.
        lines = ("flow", "skip", "bracket")
        return text.kind in lines or other.kind in lines or text.group == other.group
    if other.text:
        return False
    # A word stands in its own box.
    return other.kind == "stub" or (other.group == text.group and text.group != 0)


def _overlap(first: Shape, second: Shape) -> bool:
    """Whether two convex outlines share more than the slack (separating axes)."""
    a, b = first.box, second.box
    if a[2] - _SLACK <= b[0] or b[2] - _SLACK <= a[0] or a[3] - _SLACK <= b[1] or b[3] - _SLACK <= a[1]:
        return False
    for shape in (first, second):
        points = shape.points
        for at, (x0, y0) in enumerate(points):
            x1, y1 = points[(at + 1) % len(points)]
            nx, ny = y0 - y1, x1 - x0
            length = (nx * nx + ny * ny) ** 0.5
            if not length:
                continue
            ours = [(x * nx + y * ny) / length for x, y in first.points]
            theirs = [(x * nx + y * ny) / length for x, y in second.points]
            if max(ours) - _SLACK <= min(theirs) or max(theirs) - _SLACK <= min(ours):
                return False
    return True
