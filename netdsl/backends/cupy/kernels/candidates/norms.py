"""Normalisations of each image, and softmax: a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from netdsl.backends.cupy.kernels import layer_norm, norm, softmax
from netdsl.backends.cupy.kernels.candidates.base import (
    Family,
    Form,
    flat,
    function_of,
    vector_pack,
    view,
    without_residual,
)
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.backends.cupy.kernels.norm import Sets
from netdsl.layers.axes import axis_index
from netdsl.layers.norm import GroupNorm, InstanceNorm, LayerNorm
from netdsl.program.ir import Step


class Norms(Family):
    name = "norm"
    kinds = frozenset({"layer_norm", "group_norm", "instance_norm", "softmax", "log_softmax"})

    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        (step,) = steps
        without_residual(step)
        layer, activation = step.layer, function_of(step.activation)
        x, y = view(step.inputs[0], storage), view(step.output, storage)
        tensors = {"x": step.inputs[0], "y": step.output}
        if not isinstance(layer, LayerNorm | GroupNorm | InstanceNorm):
            if activation is not None:
                raise ValueError("an activation behind softmax")
            return [Form(_softmax(step, storage), tensors)]
        packs = {name: vector_pack(step, name) for name in ("weight", "bias") if layer.affine}
        if isinstance(layer, LayerNorm):
            return [
                Form(layer_norm.layer_norm(x, y, layer.eps, affine=layer.affine, activation=activation), tensors, packs)
            ]
        sets = Sets(True, layer.groups if isinstance(layer, GroupNorm) else x.channels)
        first = norm.statistics(x, sets, layer.eps, weight=layer.affine, bias=layer.affine)
        second = norm.normalise(x, y, sets, bias=layer.affine, activation=activation)
        rooms = {**first.rooms, "moments": norm.moment_bytes(x, sets)}
        work = replace(first, kernels=first.kernels + second.kernels, rooms=rooms, bytes=first.bytes + second.bytes)
        return [Form(work, tensors, packs)]


def _softmax(step: Step, storage: str) -> Work:
    layer: Any = step.layer
    logarithm, groups = step.kernel == "log_softmax", getattr(layer, "groups", None)
    x, y = step.inputs[0], step.output
    axis = axis_index(layer.kind, layer.axis, x.type)
    if axis == 0 and groups is None:
        return softmax.rows(view(x, storage), view(y, storage), logarithm=logarithm)
    flat(x)
    flat(y)
    if groups is not None:
        return softmax.strided(prod(x.shape[:-1]), groups, x.shape[-1] // groups, storage, logarithm=logarithm)
    return softmax.strided(prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :]), storage, logarithm=logarithm)


CANDIDATE = Norms()
