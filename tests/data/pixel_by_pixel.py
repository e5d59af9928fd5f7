"""Reference implementations, pixel by pixel, that share no code with the package."""

from __future__ import annotations

import colorsys
import math
from typing import Any


def beyond(place: int, extent: int, mode: str) -> int | None:
    """The pixel that stands for one beyond the image, walking back step by step; None for a constant border."""
    if mode == "constant":
        return place if 0 <= place < extent else None
    while not 0 <= place < extent:
        if mode == "edge" or extent == 1:
            place += 1 if place < 0 else -1
        elif mode == "reflect":
            place = -place if place < 0 else 2 * (extent - 1) - place
        else:
            place = -1 - place if place < 0 else 2 * extent - 1 - place
    return place


def lookup(image: Any, row: int, column: int, channel: int, mode: str, fill: float) -> float:
    y, x = beyond(row, image.shape[0], mode), beyond(column, image.shape[1], mode)
    return fill if y is None or x is None else float(image[y, x, channel])


def sampled(image: Any, matrix: Any, size: tuple[int, int], mode: str, fill: float) -> list[list[list[float]]]:
    """image (H, W, C) at matrix @ (x, y, 1) for every pixel of the result, bilinearly; [row][column][channel]."""
    result = []
    for y in range(size[0]):
        line = []
        for x in range(size[1]):
            sx = matrix[0][0] * x + matrix[0][1] * y + matrix[0][2]
            sy = matrix[1][0] * x + matrix[1][1] * y + matrix[1][2]
            x0, y0 = math.floor(sx), math.floor(sy)
            u, v = sx - x0, sy - y0
            pixel = []
            for c in range(image.shape[2]):
                corners = [[lookup(image, y0 + j, x0 + i, c, mode, fill) for i in (0, 1)] for j in (0, 1)]
                above = (1 - u) * corners[0][0] + u * corners[0][1]
                below = (1 - u) * corners[1][0] + u * corners[1][1]
                pixel.append((1 - v) * above + v * below)
            line.append(pixel)
        result.append(line)
    return result


def hue_turned(pixel: tuple[float, float, float], turn: float) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    return colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 on Python's whole numbers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c
