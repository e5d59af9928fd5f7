"""Over the channels of each pixel: layer normalization and softmax. A unit is some pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation, activate, exp
from netdsl.backends.native.target import Target


@dataclass(frozen=True)
class ChannelsKernel:
    """A variant. `layer_norm`: y = (x - mean) / sqrt(variance + eps) * scale + shift; `softmax`: e^x / sum of e^x."""

    operation: Literal["layer_norm", "softmax"]
    eps: float
    activation: Activation

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_pixel", "out", "out_pixel", "pixels", "block", "channels", "scale", "shift",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, _ = e.arguments
        a = field(e, row, self.fields)
        last = e.least(end * a["block"], a["pixels"])
        with e.loop(first * a["block"], last) as pixel:
            x, out = a["x"] + pixel * a["x_pixel"], a["out"] + pixel * a["out_pixel"]
            if self.operation == "layer_norm":
                self._layer_norm(e, a, x, out)
            else:
                self._softmax(e, a, x, out)
        return e.finish()

    def _layer_norm(self, e: Emitter, a: dict[str, Int], x: Int, out: Int) -> None:
        b = e.b
        count = b.sitofp(a["channels"].value, ir.F32)
        total = e.variable(e.constant(0.0))
        each_vector(e, a["channels"], lambda c, mask: total.set(b.fadd(total.get(), e.load(x + c * 4, mask))))
        mean = e.splat(b.fdiv(e.sum_lanes(total.get()), count))
        squares = e.variable(e.constant(0.0))

        def square(c: Int, mask: Any) -> None:
            away = b.fsub(e.load(x + c * 4, mask), mean)
            if mask is not None:
                away = b.select(mask, away, e.constant(0.0))
            squares.set(e.fma(away, away, squares.get()))

        each_vector(e, a["channels"], square)
        variance = e.splat(b.fdiv(e.sum_lanes(squares.get()), count))
        factor = b.fdiv(e.constant(1.0), e.sqrt(b.fadd(variance, e.constant(self.eps))))

        def write(c: Int, mask: Any) -> None:
            y = b.fmul(b.fsub(e.load(x + c * 4, mask), mean), factor)
            y = e.fma(y, e.load(a["scale"] + c * 4), e.load(a["shift"] + c * 4))
            e.store(activate(e, y, self.activation), out + c * 4, mask)

        each_vector(e, a["channels"], write)

    def _softmax(self, e: Emitter, a: dict[str, Int], x: Int, out: Int) -> None:
        b = e.b
        most = e.variable(e.constant(float("-inf")))

        def look(c: Int, mask: Any) -> None:
            value = e.load(x + c * 4, mask)
            if mask is not None:
                value = b.select(mask, value, e.constant(float("-inf")))
            most.set(e.largest(most.get(), value))

        each_vector(e, a["channels"], look)
        top = e.splat(e.max_lanes(most.get()))
        total = e.variable(e.constant(0.0))

        def power(c: Int, mask: Any) -> None:
            value: Vector = exp(e, b.fsub(e.load(x + c * 4, mask), top))
            e.store(value, out + c * 4, mask)
            if mask is not None:
                value = b.select(mask, value, e.constant(0.0))
            total.set(b.fadd(total.get(), value))

        each_vector(e, a["channels"], power)
        factor = e.splat(b.fdiv(e.constant_scalar(1.0), e.sum_lanes(total.get())))

        def divide(c: Int, mask: Any) -> None:
            value = b.fmul(e.load(out + c * 4, mask), factor)
            e.store(activate(e, value, self.activation), out + c * 4, mask)

        each_vector(e, a["channels"], divide)


def each_vector(e: Emitter, channels: Int, body: Callable[[Int, Any], None]) -> None:
    """`body(channel, None)` for each whole vector of channels, then `body(channel, mask)` for what is left."""
    whole = (channels // e.width) * e.width
    with e.loop(0, whole, e.width) as channel:
        body(channel, None)
    with e.when(whole < channels):
        body(whole, e.mask(channels - whole))
