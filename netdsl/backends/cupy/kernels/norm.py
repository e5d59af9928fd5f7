"""Normalisation by statistics over positions: batch, group and instance norm, both ways.

A *set* is what has statistics of its own: the whole batch (batch norm), or one image; a *group* is the channels that
share them. Statistics, sums and weights are float32; the last additions are made in double precision.

    forward    y = activation((x - mean) scale + bias + residual), which cancels less than scale x + shift
    backward   dx = factor dz - less - (x - mean) steep
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from netdsl.backends.cupy.kernels.chain import Operand, chain, channels
from netdsl.backends.cupy.kernels.functions import function_text, slope_text
from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, blocks, lanes, power_of_two, specialised
from netdsl.backends.cupy.kernels.reduce import fold
from netdsl.backends.cupy.kernels.view import View, index_type, vector
from netdsl.ir.layer import Layer

THREADS = 256
_BLOCKS = 1024
"""Blocks that fill any device several times over."""


@dataclass(frozen=True)
class Sets:
    """How statistics are shared: `per_image` or over the batch, `groups` of channels."""

    per_image: bool
    groups: int


class Plan:
    """Sizes that all kernels of one normalisation have in common."""

    def __init__(self, x: View, sets: Sets, others: Sequence[View] = ()) -> None:
        flat = x if sets.per_image else x.flat()
        if not x.even or (not sets.per_image and flat.shape[0] > 1):
            raise ValueError("the positions are not evenly apart")
        self.x = flat
        self.sets, self.c = flat.shape[0], x.channels
        self.positions = flat.positions
        self.per = self.c // sets.groups
        self.v = vector([x, *others])
        self.wide, self.lane, self.wide_blocks = lanes(self.c // self.v, THREADS, 32)
        tiles = min(blocks(_BLOCKS, self.sets * self.wide_blocks), blocks(self.positions, self.lane * 4))
        self.span = blocks(self.positions, tiles)
        self.tiles = blocks(self.positions, self.span)

    @property
    def constants(self) -> dict[str, int | bool]:
        return {
            "C": self.c, "V": self.v, "P": self.positions, "SETS": self.sets, "TILES": self.tiles, "SPAN": self.span,
            "WIDE": self.wide, "LANES": self.lane, "WIDE_BLOCKS": self.wide_blocks,
            "X_N": self.x.strides[0], "X_W": self.x.step,
        }  # fmt: skip

    @property
    def grid(self) -> int:
        return self.wide_blocks * self.tiles * self.sets

    @property
    def block(self) -> tuple[int, int, int]:
        return (self.wide, self.lane, 1)

    @property
    def part_bytes(self) -> int:
        return 4 * self.sets * self.tiles * 2 * self.c

    @property
    def moment_bytes(self) -> int:
        """Of four rows of a number for each channel of each set."""
        return 4 * 4 * self.sets * self.c

    def end(self) -> tuple[dict[str, int | bool], int, tuple[int, int, int]]:
        """Constants, grid and block of a second stage: a column is a group of a set."""
        columns = self.sets * (self.c // self.per)
        wide = min(32, power_of_two(columns))
        lane = max(1, min(THREADS // wide, power_of_two(self.tiles * self.per)))
        constants: dict[str, int | bool] = {
            "C": self.c, "P": self.positions, "SETS": self.sets, "TILES": self.tiles, "SPAN": self.span,
            "PER": self.per, "WIDE": wide, "LANES": lane,
        }  # fmt: skip
        return constants, blocks(columns, wide), (wide, lane, 1)

    def row(self, name: str, number: int) -> Operand:
        """One of the four rows, as an operand of a chain: (sets, 1, C)."""
        del number
        return Operand(name, View((self.sets, 1, 1, self.c), (self.c, self.c, self.c), "float32"))


def statistics(x: View, sets: Sets, eps: float, *, weight: bool, bias: bool, momentum: float | None = None) -> Work:
    """`moments` (4, sets, C) of x: mean, one over the deviation, scale and shift. With `momentum` the running
    statistics (`running_mean`, `running_var`, `tracked`) are moved, for a batch norm."""
    plan = Plan(x, sets)
    first = Kernel(
        "moments",
        specialised("moments.cu", plan.constants, {"T": x.dtype}, [f"typedef {index_type([x])} INDEX;"]),
        ("x", "parts"), plan.grid, plan.block, writes=("parts",),
    )  # fmt: skip
    constants, grid, block = plan.end()
    running = momentum is not None
    second = Kernel(
        "moments_end",
        specialised(
            "moments_end.cu",
            constants | {"HAS_WEIGHT": weight, "HAS_BIAS": bias, "RUNNING": running},
            {},
            [f"constexpr double EPS = {eps!r};", f"constexpr double MOMENTUM = {momentum or 0.0!r};"],
        ),
        ("parts", "weight" if weight else NONE, "bias" if bias else NONE, "moments",
         *(("running_mean", "running_var", "tracked") if running else (NONE,) * 3)),
        grid, block, writes=("moments", "running_mean", "running_var", "tracked"),
    )  # fmt: skip
    return Work((first, second), {"parts": plan.part_bytes}, x.bytes, 4 * x.size)


def moment_bytes(x: View, sets: Sets) -> int:
    """What `moments` and `factors` take."""
    return 16 * (x.shape[0] if sets.per_image else 1) * x.channels


def normalise(
    x: View, y: View, sets: Sets, *, bias: bool, activation: Layer | None = None, residual: View | None = None
) -> Work:
    """y = activation((x - mean) scale + bias + residual); `moments` as `statistics` leaves them."""
    per = sets.per_image
    operands = [Operand("x", x), *_rows(x, per, "mean", "scale")]
    more = ""
    if bias:
        operands.append(channels("bias", x.channels))
        more = " + bias"
    if residual is not None:
        operands.append(Operand("residual", residual))
        more += " + residual"
    count = (x.shape[0] if per else 1) * x.channels
    made = chain(
        operands,
        [Operand("y", y)],
        [f"y = activate((x - mean) * scale{more});"],
        texts=[function_text("activate", activation)],
        fast=x.dtype != "float32",
        name="normalise",
    )
    return _offset(made, {"mean": ("moments", 0), "scale": ("moments", 2 * count)})


def gradient(
    x: View,
    dy: View,
    dx: View | None,
    sets: Sets,
    *,
    weight: bool,
    bias: bool,
    wanted: bool,
    activation: Layer | None = None,
    plus: View | None = None,
    add: tuple[bool, bool] = (False, False),
) -> Work:
    """`dx` = d(x) + `plus`, and, if `wanted`, `dweight` and `dbias` (C), float32 (added to what is there where `add`
    says so, in this order). `moments` are those of the way there; the activation is computed again."""
    plan = Plan(x, sets, [dy])
    flat = dy if sets.per_image else dy.flat()
    if not dy.even or flat.shape[0] != plan.sets:
        raise ValueError("the positions are not evenly apart")
    beta = "bias" if bias and activation is not None else NONE
    first = Kernel(
        "slopes",
        specialised(
            "slopes.cu",
            plan.constants
            | {"Y_N": flat.strides[0], "Y_W": flat.step, "ACTIVE": activation is not None, "ROWS": False}
            | {"FAST": x.dtype != "float32", "HAS_BIAS": beta != NONE},
            {"T": x.dtype},
            [
                f"typedef {index_type([x, dy])} INDEX;",
                function_text("activate", activation),
                slope_text("derivative", activation),
            ],
        ),
        ("x", "dy", "moments", beta, "parts"), plan.grid, plan.block, writes=("parts",),
    )  # fmt: skip
    kernels = [first]
    rooms = {"parts": plan.part_bytes}
    if wanted:
        kernels.append(weight_sums(plan.sets * plan.tiles, plan.c, add))
    if dx is not None:
        constants, grid, block = plan.end()
        kernels.append(
            Kernel(
                "slopes_end",
                specialised("slopes_end.cu", constants | {"HAS_WEIGHT": weight}, {}),
                ("parts", "moments", "weight" if weight else NONE, "factors"), grid, block, writes=("factors",),
            )
        )  # fmt: skip
        rooms["factors"] = plan.moment_bytes
        kernels += _back(x, dy, dx, sets, activation, bias, plus).kernels
    moved = 2 * (x.bytes + dy.bytes) + (dx.bytes if dx else 0)
    return Work(tuple(kernels), rooms, moved, 8 * x.size)


def _back(x: View, dy: View, dx: View, sets: Sets, activation: Layer | None, bias: bool, plus: View | None) -> Work:
    per = sets.per_image
    count = (x.shape[0] if per else 1) * x.channels
    operands = [Operand("x", x), Operand("dy", dy), *_rows(x, per, "factor", "less", "mean", "steep")]
    places = {name: ("factors", row * count) for row, name in enumerate(("factor", "less", "mean", "steep"))}
    statements = ["float dz = dy;"]
    if activation is not None:
        operands += _rows(x, per, "scale")
        places |= {"scale": ("moments", 2 * count)}
        if bias:
            operands.append(channels("bias", x.channels))
        statements = [
            f"const float z = (x - mean) * scale{' + bias' if bias else ''};",
            "const float dz = dy * derivative(z, activate(z));",
        ]
    more = ""
    if plus is not None:
        operands.append(Operand("plus", plus))
        more = " + plus"
    made = chain(
        operands,
        [Operand("dx", dx)],
        [*statements, f"dx = factor * dz - less - (x - mean) * steep{more};"],
        texts=[function_text("activate", activation), slope_text("derivative", activation)],
        fast=x.dtype != "float32",
        name="normalise_back",
        unroll=1,
    )
    return _offset(made, places)


def _rows(x: View, per_image: bool, *names: str) -> list[Operand]:
    n, c = (x.shape[0] if per_image else 1), x.channels
    return [Operand(name, View((n, 1, 1, c), (c, c, c), "float32", n * c * 2)) for name in names]


def _offset(work: Work, places: Mapping[str, tuple[str, int]]) -> Work:
    """The same kernels, some arguments of which are parts of an array: (its name, the number that they begin at)."""
    kernels = []
    for kernel in work.kernels:
        names = tuple(
            f"{places[name][0]}+{4 * places[name][1]}" if name in places else name for name in kernel.arguments
        )
        kernels.append(replace(kernel, arguments=names))
    return replace(work, kernels=tuple(kernels))


def weight_sums(rows: int, c: int, add: tuple[bool, bool]) -> Kernel:
    """From parts (rows, 2, C) to dbias and dweight."""
    return fold(1, rows, 2 * c, taps=1, channels=c, add=add[1], add_rest=add[0], names=("parts", "dbias", "dweight"))
