"""Batch norm, both directions, with what is fused behind it: y = activation(scale x + shift + residual).

Statistics are formed a stretch at a time, each about its own mean, and put together (Chan, Golub & LeVeque 1979,
Updating formulae and a pairwise algorithm for computing sample variances): one pass over memory, and nothing cancels.

    d(x) = scale (dz - mean(dz) - x^ mean(dz x^)),   x^ = (x - mean) / deviation     (Ioffe & Szegedy 2015, section 3)

With running statistics d(x) = scale dz.
"""

from __future__ import annotations

import numpy as np

from netdsl.backends.numpy.blocks import Task
from netdsl.backends.numpy.memory import Array
from netdsl.backends.numpy.training.pointwise import activated, before_activation, derived
from netdsl.backends.numpy.training.work import Bench, Work, put
from netdsl.ir.layer import Layer
from netdsl.layers.norm import BatchNorm
from netdsl.program.training.ir import Backward, Forward
from netdsl.program.training.rules import MOMENTS, learns


def _moments(step: Forward, bench: Bench) -> Array:
    """(4, C): mean, one over the deviation, scale, shift."""
    if "moments" in step.saved:
        return bench.saved(step.saved["moments"]).reshape(MOMENTS, -1)
    return np.empty((MOMENTS, step.inputs[0].shape[-1]), np.float32)


def settle(layer: BatchNorm, weights: dict[str, Array], moments: Array, mean: Array, variance: Array) -> None:
    """Fills in the moments from mean and variance (float64)."""
    inverse = 1 / np.sqrt(variance + layer.eps)
    scale = inverse * weights["weight"] if "weight" in weights else inverse
    shift = -mean * scale
    moments[0], moments[1], moments[2] = mean, inverse, scale
    moments[3] = shift + weights["bias"] if "bias" in weights else shift


def moved(layer: BatchNorm, weights: dict[str, Array], mean: Array, variance: Array, count: int) -> None:
    """Moves the running statistics towards those of a batch of `count` numbers for each channel."""
    part = layer.momentum
    weights["running_mean"] *= 1 - part
    weights["running_mean"] += part * mean
    weights["running_var"] *= 1 - part
    weights["running_var"] += part * variance * (count / max(1, count - 1))
    weights["num_batches_tracked"] += 1


def forward(step: Forward, bench: Bench) -> Work:
    layer = step.layer
    assert isinstance(layer, BatchNorm)
    x, y, moments = bench.rows(step.inputs[0]), bench.rows(step.output), _moments(step, bench)
    residual = bench.rows(step.inputs[-1]) if step.residual else None
    cut = bench.stretches(len(x), 8 * x.shape[1])
    weights = bench.weights_of(step)
    work = Work("rows")
    if learns(layer):
        parts = [part for share in cut for part in share]
        counts = np.array([[part.stop - part.start] for part in parts], np.float64)
        means, squares = (np.empty((len(parts), x.shape[1]), np.float64) for _ in range(2))
        numbers = iter(range(len(parts)))
        work.shared([[_look(x[part], means, squares, next(numbers)) for part in share] for share in cut])

        def end() -> None:
            mean = (counts * means).sum(0) / len(x)
            variance = (squares + counts * (means - mean) ** 2).sum(0) / len(x)
            settle(layer, weights, moments, mean, variance)
            moved(layer, weights, mean, variance, len(x))

        work.once(end)
    else:
        work.once(lambda: settle(layer, weights, moments, _double(weights, "mean"), _double(weights, "var")))
    work.shared(
        [
            [_normal(x[part], y[part], None if residual is None else residual[part], moments, step) for part in share]
            for share in cut
        ]
    )
    return work


def _double(weights: dict[str, Array], name: str) -> Array:
    return weights[f"running_{name}"].astype(np.float64)


def _look(x: Array, means: Array, squares: Array, number: int) -> Task:
    ones = np.ones(len(x), np.float32)

    def run() -> None:
        mean = (ones @ x) / np.float32(len(x))
        away = x - mean
        # What is left of the mean is taken out of both.
        rest = (ones @ away).astype(np.float64) / len(x)
        np.multiply(away, away, out=away)
        means[number] = mean + rest
        squares[number] = (ones @ away) - len(x) * rest**2

    return run


def _normal(x: Array, y: Array, residual: Array | None, moments: Array, step: Forward) -> Task:
    activation = step.activation

    def run() -> None:
        if residual is not None and np.may_share_memory(residual, y):
            made = x * moments[2]
            made += moments[3]
            np.add(made, residual, out=y)
        else:
            np.multiply(x, moments[2], out=y)
            np.add(y, moments[3], out=y)
            if residual is not None:
                np.add(y, residual, out=y)
        if activation is not None:
            activated(y, activation)

    return run


def backward(step: Backward, bench: Bench) -> Work:
    ahead = step.forward
    layer = ahead.layer
    assert isinstance(layer, BatchNorm)
    work = Work("rows")
    activation = ahead.activation if step.dz is None else None
    dz = bench.rows(before_activation(step, bench, work))
    dx = None if step.dx[0] is None else bench.rows(step.dx[0])
    moments = _moments(ahead, bench)
    # Without its numbers, only its shape is used.
    x = bench.rows(ahead.inputs[0])
    cut = bench.stretches(len(x), 12 * x.shape[1])
    sums = np.zeros((sum(map(len, cut)), 2, x.shape[1]), np.float32)
    factors = np.zeros((3, x.shape[1]), np.float32)
    if learns(layer) or step.wanted:
        numbers = iter(range(len(sums)))
        work.shared(
            [[_gather(x[part], dz[part], sums, next(numbers), moments, activation) for part in share] for share in cut]
        )

    def end() -> None:
        shift, scale = sums.sum(0, dtype=np.float64)
        for name, value in (("weight", scale), ("bias", shift)):
            if name in step.wanted:
                put(bench.gradient(ahead, name), value, name in step.add_to)
        mean, inverse, factor, _ = moments.astype(np.float64)
        factors[0] = factor
        if learns(layer):
            factors[1] = -factor * inverse * scale / len(x)
            factors[2] = -factor * (shift - mean * inverse * scale) / len(x)

    work.once(end)
    if dx is not None:
        reads = learns(layer) or activation is not None
        work.shared(
            [
                [_back(x[part] if reads else None, dz[part], dx[part], factors, moments, activation) for part in share]
                for share in cut
            ]
        )
    return work


def _before(x: Array, dz: Array, moments: Array, activation: Layer | None) -> Array:
    """The gradient before an activation whose input is computed anew."""
    if activation is None:
        return dz
    z = x * moments[2]
    z += moments[3]
    y = z if "output" not in activation.keeps else activation.forward(np, [z], {})
    return derived(dz, z, y, activation)


def _gather(x: Array, dy: Array, sums: Array, number: int, moments: Array, activation: Layer | None) -> Task:
    ones = np.ones(len(x), np.float32)

    def run() -> None:
        dz = _before(x, dy, moments, activation)
        np.matmul(ones, dz, out=sums[number, 0])
        away = x - moments[0]
        np.multiply(away, dz, out=away)
        np.multiply(ones @ away, moments[1], out=sums[number, 1])

    return run


def _back(x: Array | None, dy: Array, dx: Array, factors: Array, moments: Array, activation: Layer | None) -> Task:
    """d(x) = factors[0] dz + factors[1] x + factors[2]."""

    def run() -> None:
        if x is None:
            np.multiply(dy, factors[0], out=dx)
            return
        dz = _before(x, dy, moments, activation)
        part = x * factors[1]
        part += factors[2]
        np.multiply(dz, factors[0], out=dx)
        np.add(dx, part, out=dx)

    return run
