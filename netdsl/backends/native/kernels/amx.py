"""Convolution with the matrix unit of the processor (Intel AMX), in the precision of float32.

The unit multiplies tiles of bfloat16, 16 rows by 32 columns, and adds in float32. A float32 number is the sum of three
bfloat16 numbers, its high, middle and low eight bits: x = h + m + l. Of the nine products of two such sums the six
larger ones are computed; what is left out is of the size of float32's rounding (Henry, Tang & Heinecke 2019, Leveraging
the bfloat16 artificial intelligence datatype for higher-precision computations). Six products still take less than half
of the time of one by vectors.

A unit is a block of tiles of up to 32 pixels by a block of panels of 32 output channels, of one group. The depth (the
channels of each tap, 32 at a time) is gone through in chunks: the inputs of a chunk are split into their parts in the
scratch memory, then the weights of one panel after the other, with which all tiles are multiplied. Sums wait in the
scratch memory between two chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector, field
from netdsl.backends.native.functions import Activation, activate
from netdsl.backends.native.kernels.addresses import write_addresses
from netdsl.backends.native.target import Target

ROWS = 32
"""Pixels of two tiles."""
DEPTH = 32
"""Channels of a tile."""
PANEL = 32
"""Output channels of two tiles."""
LINE = 64
"""Bytes of a row of a tile."""
PART = ROWS * LINE
"""Bytes of one of three parts of 32 channels of a tile of pixels, or of a panel of weights."""
STEP = 3 * PART
WEIGHTS = 4 * DEPTH * PANEL
"""Bytes of the weights of 32 channels and a panel."""
HIGH, MIDDLE, LOW = range(3)
_PRODUCTS = ((LOW, HIGH), (HIGH, HIGH), (HIGH, LOW), (HIGH, MIDDLE), (MIDDLE, MIDDLE), (MIDDLE, HIGH))
"""(part of the input, part of the weights), in an order in which one of both stays."""
CONFIG_BYTES = 64
SUMS = ROWS * PANEL * 4
"""Bytes of the sums of a tile and a panel."""


@dataclass(frozen=True)
class AmxKernel:
    """A variant.

    Panels are `wide` (1 or 2) tiles of the unit side by side, the last one `last` where that is not 0. `masked`: the
    last vector of channels is not full; `tail`: the last 32 channels of the input are fewer. With `flat`, pixel m of
    the output reads pixel m of the input and nothing else. The first `share` tiles of a block fetch a part each of the
    next panel.
    """

    wide: int
    last: int
    masked: bool
    tail: bool
    activation: Activation
    residual: bool
    flat: bool
    share: int

    fields: ClassVar[tuple[str, ...]] = (
        "x", "x_image", "x_row", "x_pixel", "x_group", "height", "width", "zeros",
        "out_height", "out_width", "inverse_height", "inverse_width",
        "stride_y", "stride_x", "pad_y", "pad_x", "dilation_y", "dilation_x", "kernel_y", "kernel_x",
        "channels", "steps_tap", "steps", "chunk", "weight", "weight_group", "bias", "bias_group",
        "out", "out_pixel", "residual", "residual_pixel", "out_group",
        "config", "pixels", "halves", "blocks", "panels", "block_panels", "panel_blocks", "count",
        "weights_at", "inputs_at", "sums_at", "sums_tile", "sums_panel",
    )  # fmt: skip

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        split, split_weights = self._emit_split(module, target), _emit_split_weights(module, target)
        e = Emitter(module, target, name, 4, internal=False)
        row, first, end, scratch = e.arguments
        a = field(e, row, self.fields)
        table_tile = a["kernel_y"] * a["kernel_x"] * (8 * ROWS)
        weights, inputs, sums = scratch + a["weights_at"], scratch + a["inputs_at"], scratch + a["sums_at"]
        inputs_tile = a["chunk"] * STEP
        e.intrinsic("llvm.x86.ldtilecfg", ir.VOID, e.pointer(a["config"]))
        with e.loop(first, end) as unit:
            panel_block = unit % a["panel_blocks"]
            above = unit // a["panel_blocks"]
            group = above // a["blocks"]
            block = above % a["blocks"]
            pixel_first = block * a["halves"] // a["blocks"] * (ROWS // 2)
            pixels = e.least((block + 1) * a["halves"] // a["blocks"] * (ROWS // 2), a["pixels"]) - pixel_first
            tiles, whole, rest = (pixels + (ROWS - 1)) // ROWS, pixels // ROWS, pixels % ROWS
            panel_first = panel_block * a["block_panels"]
            panel_end = e.least(panel_first + a["block_panels"], a["panels"])
            whole_panels = a["panels"] - (1 if self.last else 0)
            x = a["x"] + group * a["x_group"]
            with e.loop(0, tiles) as tile:
                write_addresses(e, a, x, pixel_first + tile * ROWS, scratch + tile * table_tile, ROWS, self.flat)
            with e.loop(0, a["steps"], a["chunk"]) as step_first:
                step_end = e.least(step_first + a["chunk"], a["steps"])
                with e.loop(0, tiles) as tile:
                    rows = e.least(pixels - tile * ROWS, ROWS)
                    e.call(
                        split, row, scratch + tile * table_tile, rows, step_first, step_end, inputs + tile * inputs_tile
                    )

                def panel(
                    number: Int, wide: int, masked: bool, group: Int = group, pixel_first: Int = pixel_first,
                    panel_first: Int = panel_first, step_first: Int = step_first, step_end: Int = step_end,
                    whole: Int = whole, rest: Int = rest,
                ) -> None:  # fmt: skip
                    finish = self._emit_finish(module, target, wide, masked)
                    steps = step_end - step_first
                    weight = a["weight"] + group * a["weight_group"]
                    weight = weight + (step_first * a["panels"] + number * steps) * WEIGHTS
                    e.call(split_weights, weight, steps, weights)
                    offset = number * (4 * PANEL)
                    bias = a["bias"] + group * a["bias_group"] + offset
                    out = a["out"] + group * a["out_group"] + offset
                    residual = a["residual"] + group * a["out_group"] + offset
                    begins, ends = step_first.equals(0), step_end.equals(a["steps"])

                    def call(tile: Int, rows: int | Int, tall: int) -> None:
                        multiply = self._emit_multiply(module, target, tall, wide)
                        own = sums + tile * a["sums_tile"] + (number - panel_first) * a["sums_panel"]
                        pixel = pixel_first + tile * ROWS
                        to = out + pixel * a["out_pixel"]
                        # Whole tiles to which nothing more is done go to where they belong at once.
                        direct = not self.activation and not self.residual and not masked and isinstance(rows, int)
                        target_at = e.choose(ends, to, own) if direct else own
                        target_stride = e.choose(ends, a["out_pixel"], 4 * PANEL) if direct else e.number(4 * PANEL)
                        part = steps * (WEIGHTS // self.share)
                        ahead = weight + steps * WEIGHTS + e.least(tile, self.share - 1) * part
                        e.call(
                            multiply, inputs + tile * inputs_tile, weights, steps, e.choose(begins, bias, own),
                            e.choose(begins, 0, 4 * PANEL), target_at, target_stride, ahead,
                        )  # fmt: skip
                        if not direct:
                            with e.when(ends):
                                e.call(
                                    finish, own, rows, to, a["out_pixel"], residual + pixel * a["residual_pixel"],
                                    a["residual_pixel"], a["count"],
                                )  # fmt: skip

                    with e.loop(0, whole) as tile:
                        call(tile, ROWS, 2)
                    with e.when(rest >= ROWS // 2 + 1):
                        call(whole, rest, 2)
                    with e.when(e.b.and_(rest >= 1, rest < ROWS // 2 + 1)):
                        call(whole, rest, 1)

                with e.loop(panel_first, e.least(panel_end, whole_panels)) as number:
                    panel(number, self.wide, False)
                if self.last:
                    with e.when(whole_panels < panel_end):
                        panel(whole_panels, self.last, self.masked)
        e.intrinsic("llvm.x86.tilerelease", ir.VOID)
        return e.finish()

    def _emit_split(self, module: ir.Module, target: Target) -> ir.Function:
        """(row, addresses, rows, first step, last step, out): the parts of so many steps of the depth of a tile."""
        e = Emitter(module, target, "split", 6)
        row, table, rows, first, end, out = e.arguments
        a = field(e, row, self.fields)
        with e.loop(first, end) as step:
            tap = step // a["steps_tap"]
            channel = (step % a["steps_tap"]) * DEPTH
            addresses = table + tap * (8 * ROWS)
            masks: list[Any] = [None, None]
            if self.tail:
                masks = [e.mask(a["channels"] - channel - half) for half in (0, DEPTH // 2)]
            place = out + (step - first) * STEP
            with e.loop(0, rows) as number:
                at = e.load_int(addresses + number * 8) + channel * 4
                parts = _split(e, e.load(at, masks[0]), e.load(at + 4 * (DEPTH // 2), masks[1]))
                for part, value in enumerate(parts):
                    e.store(value, place + number * LINE + part * PART)
        return e.finish()

    def _emit_multiply(self, module: ir.Module, target: Target, tall: int, wide: int) -> ir.Function:
        """(inputs, weights, steps, from, its stride, to, its stride, ahead): to = from + inputs * weights.

        For `tall` by `wide` tiles of 16 pixels and 16 filters. A share of the next panel is fetched from `ahead` on.
        """
        name = f"multiply_{tall}_{wide}"
        if name in module.globals:
            return module.globals[name]
        e = Emitter(module, target, name, 8)
        inputs, weight, steps, source, source_stride, to, to_stride, ahead = e.arguments
        sums = [(i, j, 2 * i + j) for i in range(tall) for j in range(wide)]
        left, right = [4 + i for i in range(tall)], [6 + j for j in range(wide)]
        for i, j, number in sums:
            _load(e, number, source + source_stride * (ROWS // 2 * i) + LINE * j, source_stride)
        with e.loop(0, steps) as step:
            x, w, fetch = inputs + step * STEP, weight + step * STEP, ahead + step * (WEIGHTS // self.share)
            for line in range(0, WEIGHTS // self.share, LINE):
                e.prefetch(fetch + line)
            at = (-1, -1)
            for parts in _PRODUCTS:
                if parts[0] != at[0]:
                    for i, number in enumerate(left):
                        _load(e, number, x + (parts[0] * PART + i * (PART // 2)), LINE)
                if parts[1] != at[1]:
                    for j, number in enumerate(right):
                        _load(e, number, w + (parts[1] * PART + j * (PART // 2)), LINE)
                at = parts
                for i, j, number in sums:
                    _tile(e, "tdpbf16ps", number, left[i], right[j])
        for i, j, number in sums:
            place = to + to_stride * (ROWS // 2 * i) + LINE * j
            e.intrinsic("llvm.x86.tilestored64", ir.VOID, ir.Constant(ir.I8, number), e.pointer(place), to_stride.value)
        return e.finish()

    def _emit_finish(self, module: ir.Module, target: Target, wide: int, masked: bool) -> ir.Function:
        """(sums, rows, out, its stride, residual, its stride, count): the residual, the activation, the result."""
        name = f"finish_{wide}_{int(masked)}"
        if name in module.globals:
            return module.globals[name]
        e = Emitter(module, target, name, 7)
        sums, rows, out, out_stride, residual, residual_stride, count = e.arguments
        mask = e.mask(count) if masked else None
        with e.loop(0, rows) as row:
            for j in range(wide):
                only = mask if j == wide - 1 else None
                y = e.load(sums + row * (4 * PANEL) + j * LINE)
                if self.residual:
                    y = e.b.fadd(y, e.load(residual + row * residual_stride + j * LINE, only))
                e.store(activate(e, y, self.activation), out + row * out_stride + j * LINE, only)
        return e.finish()


def _emit_split_weights(module: ir.Module, target: Target) -> ir.Function:
    """(weights, steps, out): the parts of so many steps of the depth of a panel."""
    e = Emitter(module, target, "split_weights", 3)
    weight, steps, out = e.arguments
    with e.loop(0, steps) as step, e.loop(0, DEPTH) as row:
        at = weight + step * WEIGHTS + row * (2 * LINE)
        for part, value in enumerate(_split(e, e.load(at), e.load(at + LINE))):
            e.store(value, out + step * STEP + row * LINE + part * PART)
    return e.finish()


def _tile(e: Emitter, operation: str, *numbers: int) -> None:
    e.intrinsic(f"llvm.x86.{operation}", ir.VOID, *(ir.Constant(ir.I8, number) for number in numbers))


def _load(e: Emitter, tile: int, address: Int, stride: int | Int) -> None:
    e.intrinsic("llvm.x86.tileloadd64", ir.VOID, ir.Constant(ir.I8, tile), e.pointer(address), e.number(stride).value)


def _split(e: Emitter, low: Vector, high: Vector) -> list[Vector]:
    """The parts of two vectors, each as pairs (number of `low`, number of `high`)."""
    b = e.b
    integers = ir.VectorType(ir.I32, e.width)
    upper, sixteen = (ir.Constant(integers, [number] * e.width) for number in (-65536, 16))
    parts = []
    for _ in range(3):
        bits = [b.bitcast(value, integers) for value in (low, high)]
        tops = [b.and_(value, upper) for value in bits]
        parts.append(b.bitcast(b.or_(b.lshr(bits[0], sixteen), tops[1]), e.vector_type))
        low, high = (b.fsub(value, b.bitcast(top, e.vector_type)) for value, top in zip((low, high), tops, strict=True))
    return parts
