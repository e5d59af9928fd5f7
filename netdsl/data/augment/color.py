"""Colours of a batch: planes of shape (C, N, H, W), float32 with black at 0 and white at 1."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from netdsl.data.augment.scratch import scratch
from netdsl.data.augment.steps import Color, Lighting

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]

COLOR_DRAWS = 5
LIGHTING_DRAWS = 4

_LUMA = (np.float32(0.299), np.float32(0.587), np.float32(0.114))
# Eigenvalues and eigenvectors (columns) of the covariance of ImageNet's RGB values in [0, 1], as in fb.resnet.torch.
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


def color(planes: Floats, step: Color, u: Numbers) -> Floats:
    """Brightness, contrast, saturation and hue, in this order and in place. `u` has shape (COLOR_DRAWS, N)."""
    done = u[0] < step.probability
    if step.brightness:
        planes *= _factors(u[1], step.brightness, done)
        np.clip(planes, 0, 1, out=planes)
    if step.contrast:
        gray = luma(planes)
        # Each image by itself: sums of several at once may round otherwise.
        mean = np.array([image.mean(dtype=np.float64) for image in gray], np.float32)[:, None, None]
        _mix(planes, mean, _factors(u[2], step.contrast, done))
    if step.saturation and len(planes) == 3:
        _mix(planes, luma(planes), _factors(u[3], step.saturation, done))
    if step.hue and len(planes) == 3:
        turn(planes, np.where(done, (2 * u[4] - 1) * step.hue, 0.0))
    return planes


def _factors(u: Numbers, limit: float, done: NDArray[np.bool_]) -> Floats:
    """A factor in the range from max(0, 1 - limit) to 1 + limit for each image; 1 where nothing is done."""
    least = max(0.0, 1 - limit)
    return np.where(done, least + u * (1 + limit - least), 1.0).astype(np.float32)[:, None, None]


def luma(planes: Floats) -> Floats:
    """Gray of ITU-R BT.601; shape (N, H, W)."""
    if len(planes) != 3:
        gray: Floats = planes[0].copy()
        return gray
    mixed: Floats = planes[0] * _LUMA[0]
    part = scratch("luma", mixed.shape)
    for plane, weight in zip(planes[1:], _LUMA[1:], strict=True):
        mixed += np.multiply(plane, weight, out=part)
    return mixed


def _mix(planes: Floats, other: Floats, factor: Floats) -> None:
    """factor x + (1 - factor) other, in place and within [0, 1]; where the factor is 1, exactly x."""
    planes *= factor
    planes += other * (np.float32(1) - factor)
    np.clip(planes, 0, 1, out=planes)


def turn(planes: Floats, parts: Numbers) -> None:
    """The hue of HSV turned by a part of the circle for each image, in place; value and saturation stay.

    A colour has the largest value V, the chroma C (V less the smallest), and a hue h in sixths of the circle (A. R.
    Smith 1978). Its channels are V - C (1 - p), with p for red, green and blue |h - 3| - 1, 2 - |h - 2| and
    2 - |h - 4|, each kept in [0, 1].
    """
    chosen = np.flatnonzero(parts)
    if len(chosen) < len(parts):  # what is not turned keeps its bits
        if len(chosen):
            some = planes[:, chosen]
            turn(some, parts[chosen])
            planes[:, chosen] = some
        return
    red, green, blue = planes
    value, chroma, divisor, hue, part = (scratch(f"hue{i}", red.shape) for i in range(5))
    np.maximum(np.maximum(red, green, out=value), blue, out=value)
    np.subtract(value, np.minimum(np.minimum(red, green, out=chroma), blue, out=chroma), out=chroma)
    np.maximum(chroma, np.float32(1e-30), out=divisor)  # of gray, whose hue is nothing, it is 0 / 1e-30
    # The last one that fits counts: red before green before blue.
    for first, second, sixths, largest in ((red, green, 4, None), (blue, red, 2, green), (green, blue, 0, red)):
        np.subtract(first, second, out=part)
        part /= divisor
        part += np.float32(sixths)
        np.copyto(hue, part, where=True if largest is None else value == largest)
    hue += (6 * parts).astype(np.float32)[:, None, None]
    np.floor(np.divide(hue, np.float32(6), out=part), out=part)
    part *= np.float32(6)
    hue -= part
    for plane, middle, sign, start in ((red, 3, 1, -1), (green, 2, -1, 2), (blue, 4, -1, 2)):
        np.abs(np.subtract(hue, np.float32(middle), out=part), out=part)
        part *= np.float32(sign)
        part += np.float32(start)
        np.clip(part, 0, 1, out=part)
        part -= np.float32(1)
        part *= chroma
        np.add(value, part, out=plane)


def lighting(planes: Floats, step: Lighting, u: Numbers) -> Floats:
    """Adds eigenvectors . (normal numbers * eigenvalues) to the colours of each image, in place.

    `u` has shape (LIGHTING_DRAWS, N).
    """
    alpha = step.std * np.array([_normals(column)[:3] for column in u.T.tolist()]).reshape(-1, 3)
    for plane, vector in zip(planes, _EIGENVECTORS, strict=True):
        added = sum(alpha[:, i] * (vector[i] * _EIGENVALUES[i]) for i in range(3))
        plane += np.asarray(added, np.float32)[:, None, None]
    np.clip(planes, 0, 1, out=planes)
    return planes


def _normals(u: list[float]) -> list[float]:
    """Standard normal numbers of uniform ones, pair by pair (Box and Muller 1958)."""
    found: list[float] = []
    for first, second in zip(u[::2], u[1::2], strict=True):
        radius, angle = math.sqrt(-2 * math.log(1 - first)), 2 * math.pi * second
        found += [radius * math.cos(angle), radius * math.sin(angle)]
    return found
