"""Layer norm, both ways: a row is the channels of one position, and stays in the registers of a few threads.

The weights' gradients are sums over all positions, in two stages as those of the other normalisations.
"""

from __future__ import annotations

from netdsl.backends.cupy.kernels.functions import function_text, literal, slope_text
from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, blocks, power_of_two, specialised
from netdsl.backends.cupy.kernels.norm import Plan, Sets, weight_sums
from netdsl.backends.cupy.kernels.view import View, index_type, vector
from netdsl.ir.layer import Layer

MAX_LANES = 256
MAX_KEEP = 8
"""Vectors of a row that one thread holds."""


def fits_row(x: View) -> bool:
    """Whether a row of channels fits into the registers of a block."""
    return x.even and x.channels <= MAX_LANES * vector([x]) * MAX_KEEP


def row_block(channels: int, v: int, rows: int) -> tuple[int, int]:
    """(threads for each row, rows of a block): both powers of two, together whole warps."""
    lane = 32
    while lane < MAX_LANES and channels > lane * v * 2:
        lane *= 2
    while lane > 1 and lane // 2 * v >= channels:
        lane //= 2
    if lane < 32:
        return lane, 64 // lane  # whole warps
    return lane, min(max(1, 128 // lane), power_of_two(rows))


def layer_norm(x: View, y: View, eps: float, *, affine: bool, activation: Layer | None = None) -> Work:
    """y = activation(weight x^ + bias), mean and variance of the channels at each position."""
    kernel = _layer_kernel(x, y, None, None, eps, affine=affine, activation=activation)
    return Work((kernel,), {}, x.bytes + y.bytes, 7 * x.size)


def layer_norm_gradient(
    x: View,
    dy: View,
    dx: View | None,
    eps: float,
    *,
    affine: bool,
    wanted: bool,
    plus: View | None = None,
    add: tuple[bool, bool] = (False, False),
) -> Work:
    """`dx` + `plus`, and, if `wanted`, `dweight` and `dbias`."""
    kernels = [_layer_kernel(x, dx, dy, plus, eps, affine=affine, stats=wanted)]
    rooms: dict[str, int] = {}
    if wanted:
        plan = Plan(x, Sets(False, x.channels), [dy])
        flat = dy.flat()
        if flat.shape[0] > 1:
            raise ValueError("the positions are not evenly apart")
        rooms = {"stats": 8 * plan.positions, "parts": plan.part_bytes}
        kernels.append(
            Kernel(
                "slopes",
                specialised(
                    "slopes.cu",
                    plan.constants
                    | {"Y_N": flat.strides[0], "Y_W": flat.step, "ACTIVE": False, "ROWS": True, "FAST": False}
                    | {"HAS_BIAS": False},
                    {"T": x.dtype},
                    [
                        f"typedef {index_type([x, dy])} INDEX;",
                        function_text("activate", None),
                        slope_text("derivative", None),
                    ],
                ),
                ("x", "dy", "stats", NONE, "parts"), plan.grid, plan.block, writes=("parts",),
            )
        )  # fmt: skip
        kernels.append(weight_sums(plan.tiles, plan.c, add))
    moved = x.bytes + dy.bytes + (dx.bytes if dx else 0)
    return Work(tuple(kernels), rooms, moved, 10 * x.size)


def _layer_kernel(
    x: View,
    y: View | None,
    dy: View | None,
    plus: View | None,
    eps: float,
    *,
    affine: bool,
    activation: Layer | None = None,
    stats: bool = False,
) -> Kernel:
    views = [view for view in (x, y, dy, plus) if view is not None]
    if not all(map(fits_row, views)):
        raise ValueError(f"rows of {x.channels} channels, or uneven positions")
    v = vector(views)
    count = x.shape[0] * x.positions
    lane, rows = row_block(x.channels, v, count)
    constants: dict[str, int | bool] = {
        "C": x.channels, "V": v, "P": x.positions, "COUNT": count, "LANES": lane, "ROWS": rows,
        "BACKWARD": dy is not None, "AFFINE": affine, "HAS_PLUS": plus is not None, "HAS_DX": y is not None,
        "HAS_STATS": stats, "FAST": x.dtype != "float32",
    }  # fmt: skip
    for letter, view in (("X", x), ("Y", y or x), ("D", dy or x), ("P", plus or x)):
        constants |= {f"{letter}_N": view.strides[0], f"{letter}_W": view.step}
    return Kernel(
        "layer_norm",
        specialised(
            "layer_norm.cu", constants, {"T": x.dtype},
            [f"constexpr float EPS = {literal(eps)};", function_text("activate", activation)],
        ),
        ("x", "weight" if affine else NONE, "bias" if affine and dy is None else NONE, "dy" if dy else NONE,
         "plus" if plus else NONE, ("dx" if dy else "y") if y else NONE, "stats" if stats else NONE),
        blocks(count, rows), (lane, rows, 1), writes=("y", "dx", "stats"),
    )  # fmt: skip
