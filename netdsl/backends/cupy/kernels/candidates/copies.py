"""Concatenation: what does not lie in its place already is copied there; a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netdsl.backends.cupy.kernels.candidates.base import Family, Form, function_of, view, without_residual
from netdsl.backends.cupy.kernels.chain import Operand, chain
from netdsl.backends.cupy.kernels.kernel import Kernel, Work
from netdsl.program.ir import Step, Tensor, lanes_to_copy

MOST_LANES = 32


class Copies(Family):
    name = "concat"
    kinds = frozenset({"concat"})

    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        (step,) = steps
        without_residual(step)
        if function_of(step.activation) is not None:
            raise ValueError("an activation behind a concatenation")
        lanes = lanes_to_copy(step)
        if len(lanes) > MOST_LANES:
            raise ValueError(f"{len(lanes)} lanes")
        kernels: list[Kernel] = []
        tensors: dict[str, Tensor] = {}
        moved = 0
        for number, (source, target) in enumerate(lanes):
            names = (f"x{number}", f"y{number}")
            made = chain(
                [Operand("x", view(source, storage))], [Operand("y", view(target, storage))], ["y = x;"],
                name="copy", arguments=names,
            )  # fmt: skip
            kernels += made.kernels
            tensors |= dict(zip(names, (source, target), strict=True))
            moved += made.bytes
        return [Form(replace(Work(tuple(kernels)), bytes=moved), tensors)]


CANDIDATE = Copies()
