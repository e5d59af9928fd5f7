"""Where the taps of a convolution read: a table of addresses for a tile of output pixels."""

from __future__ import annotations

from typing import Any

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int


def write_addresses(e: Emitter, a: dict[str, Int], x: Int, first: Int, table: Int, lanes: int, flat: bool) -> None:
    """Writes the addresses that each tap of each of the `lanes` (a power of two) pixels from `first` on reads.

    Taps outside the map read zeros. With `flat`, pixel m of the output reads pixel m of the input and nothing else.
    """
    b = e.b
    integers, narrow, doubles = (ir.VectorType(kind, lanes) for kind in (ir.I64, ir.I32, ir.F64))

    def splat(value: Int) -> Any:
        return e._splat(value.value, integers)

    pixel = b.add(splat(first), ir.Constant(integers, list(range(lanes))))
    if flat:
        b.store(b.add(splat(x), b.mul(pixel, splat(a["x_pixel"]))), e.pointer(table), align=8)
        return

    def divided(value: Any, inverse: Int) -> Any:
        """Whole quotients, through doubles: they err by less than the half that is added."""
        factor = e._splat(b.bitcast(inverse.value, ir.F64), doubles)
        exact = b.fadd(b.sitofp(b.trunc(value, narrow), doubles), ir.Constant(doubles, [0.5] * lanes))
        return b.sext(b.fptosi(b.fmul(exact, factor), narrow), integers)

    line = divided(pixel, a["inverse_width"])
    column = b.sub(pixel, b.mul(line, splat(a["out_width"])))
    image = divided(line, a["inverse_height"])
    line = b.sub(line, b.mul(image, splat(a["out_height"])))
    top = b.sub(b.mul(line, splat(a["stride_y"])), splat(a["pad_y"]))
    left = b.sub(b.mul(column, splat(a["stride_x"])), splat(a["pad_x"]))
    base = b.add(splat(x), b.mul(image, splat(a["x_image"])))
    base = b.add(base, b.add(b.mul(top, splat(a["x_row"])), b.mul(left, splat(a["x_pixel"]))))
    height, width, zeros = splat(a["height"]), splat(a["width"]), splat(a["zeros"])
    step_y, step_x = a["dilation_y"], a["dilation_x"]
    with e.loop(0, a["kernel_y"]) as ky:
        inside_y = b.icmp_unsigned("<", b.add(top, splat(ky * step_y)), height)
        base_y = b.add(base, splat(ky * step_y * a["x_row"]))
        row = table + ky * a["kernel_x"] * (8 * lanes)
        with e.loop(0, a["kernel_x"]) as kx:
            inside = b.and_(inside_y, b.icmp_unsigned("<", b.add(left, splat(kx * step_x)), width))
            address = b.add(base_y, splat(kx * step_x * a["x_pixel"]))
            b.store(b.select(inside, address, zeros), e.pointer(row + kx * (8 * lanes)), align=8)
