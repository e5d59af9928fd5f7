"""Layers that are y = scale * x + shift in evaluation, with one scale and shift for each channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.ir.layer import Layer
from netdsl.ir.types import TensorType
from netdsl.layers.norm import BatchNorm
from netdsl.layers.scale import Affine, LayerScale, Scale, Shift


class AffineMap(NamedTuple):
    """Scale and shift of each channel, in double precision: they are short, and products of them are formed."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    def then(self, outer: AffineMap) -> AffineMap:
        """outer(self(x))"""
        return AffineMap(outer.scale * self.scale, outer.scale * self.shift + outer.shift)


def affine_map(layer: Layer, x: TensorType, weights: Mapping[str, Any]) -> AffineMap | None:
    """The map that a layer is for inputs of type `x`; None where it is none."""
    if not x.shape or x.channels is None:
        return None
    ones, zeros = np.ones(x.channels), np.zeros(x.channels)
    match layer:
        case BatchNorm():
            scale = 1 / np.sqrt(weights["running_var"].astype(np.float64) + layer.eps)
            if layer.affine:
                scale = scale * weights["weight"]
            shift = -weights["running_mean"] * scale
            return AffineMap(scale, shift + weights["bias"] if layer.affine else shift)
        case LayerScale():
            return AffineMap(weights[""].astype(np.float64).reshape(-1), zeros)
        case Scale():
            return AffineMap(ones * layer.by, zeros)
        case Shift():
            return AffineMap(ones, zeros + layer.by)
        case Affine():
            return AffineMap(
                _term(layer.scale, weights.get("weight"), ones, 1.0),
                _term(layer.shift, weights.get("bias"), ones, 0.0),
            )
    return None


def _term(values: Any, weight: Any, ones: NDArray[np.float64], without: float) -> NDArray[np.float64]:
    """The coefficients of one term of `affine`: a weight, one number, one for each channel, or none."""
    if weight is not None:
        return np.asarray(weight, np.float64)
    return ones * np.asarray(without if values is False else values, np.float64)
