"""Statistics of whole maps, for group, instance and global response normalization.

`MomentsKernel` looks at all positions of each channel; a unit is a vector of channels of one image. `ScalesKernel`
makes of these a factor and a shift for each channel of each image; a unit is one image. What follows is
y = factor x + shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, field
from netdsl.backends.native.kernels.channels import each_vector
from netdsl.backends.native.target import Target


@dataclass(frozen=True)
class MomentsKernel:
    """A variant: with `centred` the mean of each channel and the sum of the squares of what lies away from it, else 0
    and the sum of squares. Both are of shape (images, channels) without gaps."""

    centred: bool

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "height", "width", "channels", "vectors", "mean", "squares",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        count = e.splat(e.b.sitofp((a["height"] * a["width"]).value, ir.F32))
        with e.loop(first, end) as unit:
            image, channel = unit // a["vectors"], (unit % a["vectors"]) * e.width
            mask = e.mask(a["channels"] - channel)
            x = a["x"] + image * a["x_image"] + channel * 4
            place = (image * a["channels"] + channel) * 4
            mean = e.b.fdiv(self._over(e, a, x, mask, None), count) if self.centred else e.constant(0.0)
            e.store(mean, a["mean"] + place, mask)
            e.store(self._over(e, a, x, mask, mean), a["squares"] + place, mask)
        return e.finish()

    @staticmethod
    def _over(e: Emitter, a: dict[str, Int], x: Int, mask: Any, mean: Any) -> Any:
        """The sum over all positions, of the numbers or of the squares of what they are away from `mean`.

        Row by row, so that the rounding of long sums stays small.
        """
        total = e.variable(e.constant(0.0))
        part = e.variable(e.constant(0.0))
        with e.loop(0, a["height"]) as y:
            part.set(e.constant(0.0))
            with e.loop(0, a["width"]) as column:
                value = e.load(x + y * a["x_row"] + column * a["x_pixel"], mask)
                if mean is None:
                    part.set(e.b.fadd(part.get(), value))
                else:
                    away = e.b.fsub(value, mean)
                    part.set(e.fma(away, away, part.get()))
            total.set(e.b.fadd(total.get(), part.get()))
        return total.get()


@dataclass(frozen=True)
class ScalesKernel:
    """A variant. With g the group of channel c, of `each` channels of `positions` numbers:

    `groups`     factor = weight_c / sqrt(variance_g + eps), shift = bias_c - mean_g factor
    `responses`  factor = 1 + weight_c l_c / (mean of all l + eps) with l_c = sqrt(squares_c), shift = bias_c
    `length`     factor = 1 / max(sqrt(squares_c), eps), shift = 0
    """

    operation: Literal["groups", "responses", "length"]
    eps: float

    fields: ClassVar[tuple[str, ...]] = (
        "mean", "squares", "weight", "bias", "factor", "shift", "channels", "each", "positions",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as image:
            places = {key: a[key] + image * a["channels"] * 4 for key in ("mean", "squares", "factor", "shift")}
            if self.operation == "groups":
                with e.loop(0, a["channels"] // a["each"]) as group:
                    self._group(e, a, places, group * a["each"])
            else:
                self._lengths(e, a, places)
        return e.finish()

    def _group(self, e: Emitter, a: dict[str, Int], at: dict[str, Int], first: Int) -> None:
        b = e.b
        each, positions = (b.sitofp(a[key].value, ir.F32) for key in ("each", "positions"))
        means, squares = at["mean"] + first * 4, at["squares"] + first * 4
        total = e.variable(e.constant(0.0))
        each_vector(e, a["each"], lambda c, mask: total.set(b.fadd(total.get(), e.load(means + c * 4, mask))))
        mean = e.splat(b.fdiv(e.sum_lanes(total.get()), each))
        # The squares about the mean of the group: those about the mean of each channel, and what these are away.
        total.set(e.constant(0.0))

        def add(c: Int, mask: Any) -> None:
            away = b.fsub(e.load(means + c * 4, mask), mean)
            value = e.fma(b.fmul(away, away), e.splat(positions), e.load(squares + c * 4, mask))
            if mask is not None:
                value = b.select(mask, value, e.constant(0.0))
            total.set(b.fadd(total.get(), value))

        each_vector(e, a["each"], add)
        variance = e.splat(b.fdiv(b.fdiv(e.sum_lanes(total.get()), each), positions))
        inverse = b.fdiv(e.constant(1.0), e.sqrt(b.fadd(variance, e.constant(self.eps))))

        def write(c: Int, mask: Any) -> None:
            channel = (first + c) * 4
            factor = b.fmul(inverse, e.load(a["weight"] + channel, mask))
            shift = b.fsub(e.load(a["bias"] + channel, mask), b.fmul(mean, factor))
            e.store(factor, at["factor"] + channel, mask)
            e.store(shift, at["shift"] + channel, mask)

        each_vector(e, a["each"], write)

    def _lengths(self, e: Emitter, a: dict[str, Int], at: dict[str, Int]) -> None:
        b = e.b
        average = None
        if self.operation == "responses":
            total = e.variable(e.constant(0.0))
            each_vector(
                e, a["channels"],
                lambda c, mask: total.set(b.fadd(total.get(), e.sqrt(e.load(at["squares"] + c * 4, mask)))),
            )  # fmt: skip
            average = e.splat(b.fdiv(e.sum_lanes(total.get()), b.sitofp(a["channels"].value, ir.F32)))
            average = b.fadd(average, e.constant(self.eps))

        def write(c: Int, mask: Any) -> None:
            length = e.sqrt(e.load(at["squares"] + c * 4, mask))
            if average is None:
                factor, shift = b.fdiv(e.constant(1.0), e.max(length, e.constant(self.eps))), e.constant(0.0)
            else:
                weight = e.load(a["weight"] + c * 4, mask)
                factor = e.fma(weight, b.fdiv(length, average), e.constant(1.0))
                shift = e.load(a["bias"] + c * 4, mask)
            e.store(factor, at["factor"] + c * 4, mask)
            e.store(shift, at["shift"] + c * 4, mask)

        each_vector(e, a["channels"], write)
