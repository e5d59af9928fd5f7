"""Mixing the images of a batch, and their labels with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.data.augment.pipeline import Pipeline
from netdsl.data.augment.steps import Cutmix
from netdsl.data.counter import uniforms

Floats = NDArray[np.float32]

MIX = 2**31 + 1
"""The stream that a batch draws from; the number of the batch stands for that of an image."""


def mixed(
    inputs: Floats, targets: NDArray[Any], classes: int, pipeline: Pipeline, seed: int, epoch: int, number: int
) -> tuple[Floats, Floats]:
    """A batch (N, C, H, W) and its targets, mixed by one of the pipeline's steps: soft labels (N, classes), float32.

    What is drawn follows from (seed, epoch, number of the batch). Other targets than labels are mixed as they are.
    """
    soft = one_hot(targets, classes) if targets.dtype.kind == "i" else targets.astype(np.float32)
    u = uniforms(seed, epoch, np.array([number]), MIX, 4 + len(inputs))[:, 0]
    _, step = pipeline.mixing[int(u[0] * len(pipeline.mixing))]
    if u[1] >= step.probability or len(inputs) < 2:
        return inputs, soft
    # The other image of each: the batch in a random order.
    others = np.argsort(u[4:], kind="stable")
    share = beta(step.alpha, seed, epoch, number)
    if isinstance(step, Cutmix):
        inputs, share = _pasted(inputs, others, share, float(u[2]), float(u[3]))
    else:
        inputs = inputs * np.float32(share) + inputs[others] * np.float32(1 - share)
    return inputs, soft * np.float32(share) + soft[others] * np.float32(1 - share)


def one_hot(labels: NDArray[Any], classes: int) -> Floats:
    """(N,) -> (N, classes)"""
    soft = np.zeros((len(labels), classes), np.float32)
    soft[np.arange(len(labels)), labels] = 1
    return soft


def beta(alpha: float, seed: int, epoch: int, number: int) -> float:
    """A number of the law Beta(alpha, alpha)."""
    generator = np.random.Generator(np.random.Philox(key=seed & (2**64 - 1), counter=[0, number, epoch, MIX]))
    return float(generator.beta(alpha, alpha))


def _pasted(
    inputs: Floats, others: NDArray[np.int64], share: float, down: float, across: float
) -> tuple[Floats, float]:
    """CutMix: the batch with a rectangle of each image's other one, and the part of each image that is left."""
    height, width = inputs.shape[2:]
    side = math.sqrt(1 - share)
    h, w = int(height * side), int(width * side)
    y, x = int(down * height), int(across * width)
    top, bottom = max(0, y - h // 2), min(height, y + h // 2)
    left, right = max(0, x - w // 2), min(width, x + w // 2)
    result = inputs.copy()
    result[:, :, top:bottom, left:right] = inputs[others, :, top:bottom, left:right]
    return result, 1 - (bottom - top) * (right - left) / (height * width)
