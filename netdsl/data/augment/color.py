"""Colours of a batch: planes of shape (C, N, H, W), float32 with black at 0 and white at 1."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

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
    """Brightness, contrast, saturation and hue, in this order. `u` has shape (COLOR_DRAWS, N)."""
    done = u[0] < step.probability
    if step.brightness:
        planes = _clipped(planes * _factors(u[1], step.brightness, done))
    if step.contrast:
        gray = luma(planes)
        # Each image by itself: sums of several at once may round otherwise.
        mean = np.array([image.mean(dtype=np.float64) for image in gray], np.float32)[:, None, None]
        planes = _mixed(planes, mean, _factors(u[2], step.contrast, done))
    if step.saturation and len(planes) == 3:
        planes = _mixed(planes, luma(planes), _factors(u[3], step.saturation, done))
    if step.hue and len(planes) == 3:
        turn = np.where(done, (2 * u[4] - 1) * step.hue, 0.0)
        planes = turned(planes, turn)
    return planes


def _factors(u: Numbers, limit: float, done: NDArray[np.bool_]) -> Floats:
    """A factor in the range from max(0, 1 - limit) to 1 + limit for each image; 1 where nothing is done."""
    least = max(0.0, 1 - limit)
    return np.where(done, least + u * (1 + limit - least), 1.0).astype(np.float32)[:, None, None]


def luma(planes: Floats) -> Floats:
    """Gray of ITU-R BT.601; shape (N, H, W)."""
    if len(planes) != 3:
        gray: Floats = planes[0]
        return gray
    mixed: Floats = planes[0] * _LUMA[0]
    mixed += planes[1] * _LUMA[1]
    mixed += planes[2] * _LUMA[2]
    return mixed


def _mixed(planes: Floats, other: Floats, factor: Floats) -> Floats:
    """factor x + (1 - factor) other; where the factor is 1, exactly x."""
    return _clipped(planes * factor + other * (np.float32(1) - factor))


def _clipped(planes: Floats) -> Floats:
    np.clip(planes, 0, 1, out=planes)
    return planes


def turned(planes: Floats, turn: Numbers) -> Floats:
    """The hue of HSV turned by a part of the circle for each image; value and saturation stay.

    A colour with largest value V, chroma S V = V - least and hue h in sixths of the circle has the channels
    V - S V max(0, min(k, 4 - k, 1)), k = (n + h) mod 6, with n = 5 for red, 3 for green, 1 for blue (A. R. Smith 1978).
    """
    red, green, blue = planes
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.where(chroma == 0, np.float32(1), chroma)
    hue = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, (blue - red) / divisor + np.float32(2), (red - green) / divisor + np.float32(4)),
    )
    hue += (6 * turn).astype(np.float32)[:, None, None]
    result = np.empty_like(planes)
    for plane, n in zip(result, (5, 3, 1), strict=True):
        k = hue + np.float32(n)
        k -= np.floor(k / np.float32(6)) * np.float32(6)
        part = np.clip(np.minimum(k, np.float32(4) - k), 0, 1)
        np.subtract(value, part * chroma, out=plane)
    # What is not turned keeps its bits.
    still = turn == 0
    if still.any():
        result[:, still] = planes[:, still]
    return result


def lighting(planes: Floats, step: Lighting, u: Numbers) -> Floats:
    """Adds eigenvectors . (normal numbers * eigenvalues) to the colours of each image. `u`: (LIGHTING_DRAWS, N)."""
    alpha = step.std * np.array([_normals(column)[:3] for column in u.T.tolist()]).reshape(-1, 3)
    for plane, vector in zip(planes, _EIGENVECTORS, strict=True):
        added = sum(alpha[:, i] * (vector[i] * _EIGENVALUES[i]) for i in range(3))
        plane += np.asarray(added, np.float32)[:, None, None]
    return _clipped(planes)


def _normals(u: list[float]) -> list[float]:
    """Standard normal numbers of uniform ones, pair by pair (Box and Muller 1958)."""
    found: list[float] = []
    for first, second in zip(u[::2], u[1::2], strict=True):
        radius, angle = math.sqrt(-2 * math.log(1 - first)), 2 * math.pi * second
        found += [radius * math.cos(angle), radius * math.sin(angle)]
    return found
