"""What works on numbers one by one: activations, joins, scales and shifts, batch norm as a line; a candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netdsl.backends.cupy.kernels.candidates.base import Family, Form, Pack, function_of, vector_pack, view
from netdsl.backends.cupy.kernels.chain import Operand, chain, channels
from netdsl.backends.cupy.kernels.functions import function_text, has_function, literal
from netdsl.backends.cupy.kernels.view import View, dense
from netdsl.ir.layer import Array
from netdsl.layers.norm import BatchNorm
from netdsl.layers.scale import Affine
from netdsl.program.ir import Program, Step, Tensor

MOST_LANES = 8

JOINS: dict[str, Callable[[list[str]], str]] = {
    "add": " + ".join,
    "multiply": " * ".join,
    "subtract": " - ".join,
    "divide": " / ".join,
    "maximum": lambda lanes: _nested("larger", lanes),
    "minimum": lambda lanes: _nested("smaller", lanes),
    "average": lambda lanes: f"({' + '.join(lanes)}) / {literal(len(lanes))}",
    "magnitude": lambda lanes: _nested("hypotf", [f"fabsf({lanes[0]})", *lanes[1:]]),
}
"""What a join makes of the names of its lanes."""


def _nested(name: str, lanes: list[str]) -> str:
    first, *others = lanes
    for lane in others:
        first = f"{name}({first}, {lane})"
    return first


class Pointwise(Family):
    name = "pointwise"
    kinds = frozenset(
        {*JOINS, "affine", "batch_norm", "frozen_batch_norm", "layer_scale", "scalar", "prelu"}
    )  # and whatever has an expression

    def covers(self, program: Program, at: int) -> int:
        step = program.steps[at]
        return int(step.kernel in self.kinds or has_function(step.layer))

    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        (step,) = steps
        if len(step.inputs) > MOST_LANES:
            raise ValueError(f"{len(step.inputs)} lanes")
        names = [f"x{number}" for number in range(len(step.inputs))]
        tensors: dict[str, Tensor] = dict(zip(names, step.inputs, strict=True))
        operands = [Operand(name, lane(tensor, step.output, storage)) for name, tensor in tensors.items()]
        expression, more, packs = self._expression(step, names)
        operands += more
        if step.residual is not None:
            tensors["residual"] = step.residual
            operands.append(Operand("residual", view(step.residual, storage)))
            expression = f"{expression} + residual"
        work = chain(
            operands,
            [Operand("y", view(step.output, storage))],
            [f"const float x = {expression};", "y = activate(x);"],
            texts=[
                function_text("activate", function_of(step.activation)),
                function_text("own", step.layer if has_function(step.layer) else None),
            ],
            fast=storage != "float32",
            name=step.kernel,
        )
        return [Form(work, tensors | {"y": step.output}, packs)]

    def _expression(self, step: Step, names: list[str]) -> tuple[str, list[Operand], dict[str, Pack]]:
        """In the names of the inputs; further operands, and the weights that they are."""
        layer, first = step.layer, names[0]
        if step.kernel in JOINS:
            return JOINS[step.kernel](names), [], {}
        if isinstance(layer, Affine):
            return self._affine(step, layer, first)
        count = step.output.shape[-1]
        if isinstance(layer, BatchNorm):
            packs = {
                "scale": Pack(step, "scale of norm", lambda: _line(step)[0], "float32"),
                "shift": Pack(step, "shift of norm", lambda: _line(step)[1], "float32"),
            }
            return f"{first} * scale + shift", [channels("scale", count), channels("shift", count)], packs
        if step.kernel in ("layer_scale", "scalar", "prelu"):
            own = "" if step.kernel != "prelu" else "weight"
            single = step.kernel == "scalar" or not getattr(layer, "per_channel", True)
            pack = {"slope": vector_pack(step, own)}
            slope = Operand("slope", dense((1, 1))) if single else channels("slope", count)
            product = f"{first} * slope"
            return f"({first} > 0.0f ? {first} : {product})" if own else product, [slope], pack
        function_of(layer)
        return f"own({first})", [], {}

    def _affine(self, step: Step, layer: Affine, first: str) -> tuple[str, list[Operand], dict[str, Pack]]:
        expression, operands, packs = first, [], {}
        terms: tuple[tuple[str, str, Any, str], ...] = (
            ("scale", "weight", layer.scale, "*"),
            ("shift", "bias", layer.shift, "+"),
        )
        for name, own, given, sign in terms:
            if given is False:
                continue
            if own in step.weights:
                packs[name] = vector_pack(step, own)
            elif isinstance(given, tuple):
                packs[name] = Pack(step, f"given {name}", _constant(given), "float32")
            else:
                expression = f"({expression} {sign} {literal(given)})"
                continue
            operands.append(channels(name, step.output.shape[-1]))
            expression = f"({expression} {sign} {name})"
        return expression, operands, packs


def _constant(values: tuple[float, ...]) -> Callable[[], Array]:
    return lambda: np.asarray(values, np.float32)


def _line(step: Step) -> tuple[Array, Array]:
    """The scale and shift that a batch norm is with its running statistics, in double precision."""
    layer, weights = step.layer, {name: np.asarray(array, np.float64) for name, array in step.weights.items()}
    assert isinstance(layer, BatchNorm)
    scale = weights.get("weight", 1.0) / np.sqrt(weights["running_var"] + layer.eps)
    return scale, weights.get("bias", 0.0) - weights["running_mean"] * scale


def lane(tensor: Tensor, output: Tensor, storage: str) -> View:
    """A lane of a join, whose extents of 1 are repeated; of a rank of its own it is aligned as the layer has it."""
    if len(tensor.shape) != len(output.shape):
        raise ValueError("lanes of different ranks")
    if len(tensor.shape) > 4 and tensor.shape != output.shape:
        raise ValueError("lanes that are repeated along three spatial axes")
    return view(tensor, storage)


CANDIDATE = Pointwise()
