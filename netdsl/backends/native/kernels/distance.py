"""Squared distances of vectors to centres: y_i = sum over j of (x_j - center_ij)^2. A unit is one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target


@dataclass(frozen=True)
class DistanceKernel:
    """The only variant."""

    fields: ClassVar[tuple[str, ...]] = ("x", "x_image", "out", "out_image", "units", "numbers", "centers")

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as image:
            x, out = a["x"] + image * a["x_image"], a["out"] + image * a["out_image"]
            with e.loop(0, a["units"]) as unit:
                center = a["centers"] + unit * a["numbers"] * 4
                total = e.variable(e.constant(0.0))

                def add(c: Int, mask: Any, center: Int = center, total: Any = total, x: Int = x) -> None:
                    away = e.b.fsub(e.load(x + c * 4, mask), e.load(center + c * 4, mask))
                    total.set(e.fma(away, away, total.get()))

                each_vector(e, a["numbers"], add)
                e.store_scalar(e.sum_lanes(total.get()), out + unit * 4)
        return e.finish()
