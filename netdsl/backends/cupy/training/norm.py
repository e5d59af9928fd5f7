"""Batch norm, both directions, with what is fused behind it: y = activation(scale x + shift + residual); plain forms.

    d(x) = scale (dz - mean(dz) - x^ mean(dz x^)),   x^ = (x - mean) / deviation     (Ioffe & Szegedy 2015, section 3)

With running statistics d(x) = scale dz. Statistics, moments and gradients of the weights are float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.backends.cupy.training.bench import FLOAT, Bench, Work, put, single
from netdsl.backends.cupy.training.pointwise import activated, before_activation, derived
from netdsl.layers.norm import BatchNorm
from netdsl.program.training.ir import Backward, Forward
from netdsl.program.training.rules import MOMENTS, learns


def moments_of(step: Forward, bench: Bench) -> Any:
    """(4, C): mean, one over the deviation, scale, shift."""
    return bench.saved(step.saved["moments"]).reshape(MOMENTS, -1)


def _sums(bench: Bench, count: int) -> Any:
    """What adds up the rows of matrices of float32: a product with a row of ones."""
    xp, device = bench.xp, bench.device
    with device.use():
        ones = xp.ones((1, count), FLOAT)

    def total(rows: Any) -> Any:
        out = xp.empty((1, rows.shape[1]), FLOAT)
        device.matmul(ones, rows, out)
        return out[0]

    return total


def forward(step: Forward, bench: Bench) -> Work:
    layer, xp = step.layer, bench.xp
    assert isinstance(layer, BatchNorm)
    x, y = bench.rows(step.inputs[0]), bench.rows(step.output)
    residual = bench.rows(step.inputs[-1]) if step.residual else None
    moments, weights, activation, count = moments_of(step, bench), bench.own(step), step.activation, len(x)
    total = _sums(bench, count)

    def settle(mean: Any, variance: Any) -> None:
        inverse = np.float32(1) / xp.sqrt(variance + np.float32(layer.eps))
        scale = inverse * weights["weight"] if "weight" in weights else inverse
        shift = -mean * scale
        moments[0], moments[1], moments[2] = mean, inverse, scale
        moments[3] = shift + weights["bias"] if "bias" in weights else shift

    def learn() -> None:
        numbers = single(x)
        mean = total(numbers) * np.float32(1 / count)
        away = numbers - mean
        # What is left of the mean's rounding is taken out of the second moment.
        rest = total(away) * np.float32(1 / count)
        variance = total(away * away) * np.float32(1 / count) - rest * rest
        settle(mean + rest, variance)
        part = np.float32(layer.momentum)
        keep = np.float32(1 - layer.momentum)
        weights["running_mean"][...] = keep * weights["running_mean"] + part * (mean + rest)
        sample = np.float32(count / max(1, count - 1))
        weights["running_var"][...] = keep * weights["running_var"] + part * (variance * sample)

    def normal() -> None:
        if not learns(layer):
            settle(weights["running_mean"], weights["running_var"])
        made = single(x) * moments[2] + moments[3]
        if residual is not None:
            made = made + single(residual)
        y[...] = activated(xp, made, activation)

    work = Work()
    if learns(layer):
        work.then("moments", learn)
    work.then("normalise", normal)
    return work


def backward(step: Backward, bench: Bench) -> Work:
    ahead, xp = step.forward, bench.xp
    layer, work = ahead.layer, Work()
    assert isinstance(layer, BatchNorm)
    activation = ahead.activation if step.dz is None else None
    dz = bench.rows(before_activation(step, bench, work))
    dx = None if step.dx[0] is None else bench.rows(step.dx[0])
    x, moments, count = bench.rows(ahead.inputs[0]), moments_of(ahead, bench), bench.rows(ahead.inputs[0]).shape[0]
    wanted = {name: bench.gradient(ahead, name) for name in ("weight", "bias") if name in step.wanted}
    total = _sums(bench, count)
    with bench.device.use():
        sums = xp.zeros((2, x.shape[1]), FLOAT)

    def before() -> Any:
        """d(what the activation takes), computed anew where there is one."""
        incoming = single(dz)
        if activation is None:
            return incoming
        z = single(x) * moments[2] + moments[3]
        return derived(xp, incoming, z, activated(xp, z, activation), activation)

    def gather() -> None:
        made = before()
        sums[0] = total(made)
        sums[1] = total((single(x) - moments[0]) * made) * moments[1]
        for name, value in (("bias", sums[0]), ("weight", sums[1])):
            if name in wanted:
                put(wanted[name], value, name in step.add_to)

    def back() -> None:
        assert dx is not None
        made = before()
        if learns(layer):
            part = np.float32(1 / count)
            normal = (single(x) - moments[0]) * moments[1]
            made = made - sums[0] * part - normal * (sums[1] * part)
        dx[...] = made * moments[2]

    if learns(layer) or wanted:
        work.then("d moments", gather)
    if dx is not None:
        work.then("d normalise", back)
    return work
