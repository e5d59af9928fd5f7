"""Losses on the device. What depends on the targets alone (labels as ones and zeros, smoothing, weights of classes) is
computed on the host as they come; the rest is a few launches, in float32."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from netdsl.backends.cupy.axes import channels_first
from netdsl.backends.cupy.training.bench import FLOAT, Bench, single
from netdsl.ir.layer import Array
from netdsl.program.ir import Tensor
from netdsl.train.errors import TrainError
from netdsl.train.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    MeanSquaredError,
    _classes,
    _same_shape,
    one_hot,
)


class Head:
    """The loss of one output: `prepare` takes the targets of a batch over, `run` queues the value (added to `total`, a
    device array (1,)) and the gradient, both times `weight`, the gradient times `scale` (1,) besides."""

    def __init__(
        self, loss: Loss, output: Tensor, gradient: Tensor, weight: float, bench: Bench, total: Any, scale: Any
    ) -> None:
        self.loss, self.weight = loss, weight
        self._bench, self._total, self._scale = bench, total, scale
        self._output, self._gradient = bench.view(output), bench.view(gradient)
        self.shape = (output.batch, *(extent or 0 for extent in output.type.shape))
        with bench.device.use():
            self._wanted = bench.xp.zeros(self.shape, FLOAT)
            self._part = bench.xp.zeros((1,), FLOAT)
        self._room = bench.device.pinned(self.shape, FLOAT)
        self._room_part = bench.device.pinned((1,), FLOAT)

    def prepare(self, targets: Array) -> None:
        """Raises TrainError for targets that do not fit."""
        made, part = wanted(self.loss, self.shape, targets)
        self._room[...] = made
        self._room_part[0] = part
        self._bench.device.upload(self._wanted, self._room)
        self._bench.device.upload(self._part, self._room_part)

    def run(self) -> None:
        xp = self._bench.xp
        z = xp.ascontiguousarray(single(channels_first(self._output)))
        value, slope = FORMS[type(self.loss)](xp, self.loss, z, self._wanted)
        factor = self._part * np.float32(self.weight)
        self._total += value.reshape(1) * factor
        target = channels_first(self._gradient)
        target[...] = slope * (factor * self._scale)


def knows(loss: Loss) -> bool:
    return type(loss) in FORMS


def wanted(loss: Loss, shape: tuple[int, ...], targets: Array) -> tuple[Array, float]:
    """What an output of `shape` should be, and what the sum of the terms is multiplied by. Raises TrainError."""
    like = np.empty(shape, np.float32)
    count = max(1, prod(shape))
    if isinstance(loss, MeanSquaredError):
        return _same_shape(loss, np, like, targets), 1 / count
    if isinstance(loss, BinaryCrossEntropy):
        return loss._targets(np, like, targets), 1 / count
    assert isinstance(loss, CrossEntropy)
    classes = _classes(loss, like)
    labels = targets.dtype.kind in "iub"
    hot = one_hot(np, targets, like) if labels else _same_shape(loss, np, like, targets)
    weights, places = loss._weights(np, like, classes), float(max(1, count // classes))
    if labels and weights is not None:
        places = float((hot * weights).sum(dtype=np.float64))
        if not places:
            raise TrainError("E0951", "all labels of a batch have class weight 0, and nothing is left to divide by")
    smooth = loss.label_smoothing
    made = hot * np.float32(1 - smooth) + np.float32(smooth / classes) if smooth else hot
    return (made if weights is None else made * weights), 1 / places


def _cross_entropy(xp: Any, loss: CrossEntropy, z: Any, t: Any) -> tuple[Any, Any]:
    z = z - z.max(axis=1, keepdims=True)
    e = xp.exp(z)
    total = e.sum(axis=1, keepdims=True)
    # A class that is not wanted may have probability 0.
    terms = xp.where(t == 0, np.float32(0), t * xp.where(t == 0, np.float32(0), z - xp.log(total)))
    return -terms.sum(), e / total * t.sum(axis=1, keepdims=True) - t


def _mean_squared_error(xp: Any, loss: MeanSquaredError, z: Any, t: Any) -> tuple[Any, Any]:
    error = z - t
    return (error * error).sum(), error * np.float32(2)


def _binary_cross_entropy(xp: Any, loss: BinaryCrossEntropy, z: Any, t: Any) -> tuple[Any, Any]:
    e = xp.exp(-xp.abs(z))
    sigmoid = xp.where(z < 0, e, np.float32(1)) / (np.float32(1) + e)
    factor = np.float32(1) + np.float32(loss.positive_weight - 1) * t
    value = (np.float32(1) - t) * z + factor * (xp.maximum(-z, np.float32(0)) + xp.log1p(e))
    return value.sum(), (np.float32(1) - t) - factor * (np.float32(1) - sigmoid)


FORMS: dict[type[Loss], Any] = {
    CrossEntropy: _cross_entropy,
    MeanSquaredError: _mean_squared_error,
    BinaryCrossEntropy: _binary_cross_entropy,
}
"""Sum of the terms, and its derivative in the output: (z, what is wanted) of shape (N, K, *positions)."""
