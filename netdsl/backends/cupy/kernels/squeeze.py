"""Squeeze and excitation: pool, two small layers, gate, and the product with the maps."""

from __future__ import annotations

from dataclasses import dataclass

from netdsl.backends.cupy.kernels.chain import Operand, chain
from netdsl.backends.cupy.kernels.functions import function_text, literal
from netdsl.backends.cupy.kernels.kernel import MAX_SHARED, NONE, Kernel, Work, blocks, specialised
from netdsl.backends.cupy.kernels.pool import sums
from netdsl.backends.cupy.kernels.reduce import fold
from netdsl.backends.cupy.kernels.view import ITEM_BYTES, View, dense, index_type, vector
from netdsl.ir.layer import Layer

_WARPS = 4
MOST_PARTS = 4
"""Partial sums that a small layer adds up while it reads them."""


@dataclass(frozen=True)
class Excitation:
    """The two small layers: C to R to C. Weights of both lie as (R, C), biases are float32."""

    hidden: int
    inner: Layer | None
    outer: Layer | None
    bias1: bool
    bias2: bool


def _flags(excitation: Excitation) -> dict[str, int | bool]:
    return {"R": excitation.hidden, "HAS_B1": excitation.bias1, "HAS_B2": excitation.bias2}


def one_block(
    x: View,
    excitation: Excitation,
    *,
    y: View | None = None,
    parts: int = 0,
    after: Layer | None = None,
    threads: int = 512,
) -> Work:
    """All of it in one block for each image: `gate` (N, C), or with `y` the product y = after(x gate).

    With `parts` the mean comes from `sums` (N, parts, C), which the layer before has left. Raises ValueError where the
    channels do not fit into a block's memory.
    """
    if not x.even or (y is not None and not y.even):
        raise ValueError("the positions are not evenly apart")
    n, c = x.shape[0], x.channels
    v = vector([x] if y is None else [x, y])
    w = vector([dense((1, c), x.dtype)])
    lanes = threads // (c // v) if c // v < threads else 1
    shared = 4 * (c + excitation.hidden + (0 if parts or lanes == 1 else lanes * c))
    if shared > MAX_SHARED:
        raise ValueError(f"{c} channels need {shared} bytes of shared memory")
    constants: dict[str, int | bool] = {
        "C": c, "V": v, "WV": w, "P": x.positions, "PARTS": parts, "THREADS": threads, "SCALE": y is not None,
        "X_N": x.strides[0], "X_W": x.step, "Y_N": (y or x).strides[0], "Y_W": (y or x).step,
        "FAST": x.dtype != "float32",
    }  # fmt: skip
    kernel = Kernel(
        "squeeze_excite",
        specialised(
            "squeeze_excite.cu",
            constants | _flags(excitation),
            {"T": x.dtype},
            [
                f"typedef {index_type([x, y or x])} INDEX;",
                function_text("inner", excitation.inner),
                function_text("outer", excitation.outer),
                function_text("after", after),
            ],
        ),
        ("x" if y is not None or not parts else NONE, "sums" if parts else NONE, "weight1",
         "bias1" if excitation.bias1 else NONE, "weight2", "bias2" if excitation.bias2 else NONE,
         NONE if y is not None else "gate", "y" if y is not None else NONE),
        n, (threads, 1, 1), writes=("gate", "y"),
    )  # fmt: skip
    moved = (0 if parts and y is None else x.bytes) + (y.bytes if y else 0)
    return Work((kernel,), {}, moved, 4 * n * c * excitation.hidden + 2 * x.size, f"one-{threads}")


def small_dense(
    images: int,
    channels: int,
    outputs: int,
    *,
    bias: bool,
    activation: Layer | None,
    dtypes: tuple[str, str, str],
    factor: float = 1.0,
    parts: int = 1,
    names: tuple[str, str, str, str] = ("x", "weight", "bias", "y"),
) -> Work:
    """y (N, K) = activation(factor w x + bias), a warp for each output; `dtypes` of x, w (K, C) and y. With `parts` x
    is (N, parts, C), the sum of which is taken."""
    source, weight, target = dtypes
    v = vector([dense((1, channels), source), dense((1, channels), weight)])
    each = blocks(outputs, _WARPS)
    kernel = Kernel(
        "small_dense",
        specialised(
            "small_dense.cu",
            {"C": channels, "K": outputs, "V": v, "WARPS": _WARPS, "BLOCKS": each, "PARTS": parts, "HAS_BIAS": bias}
            | {"FAST": weight != "float32"},
            {"I": source, "T": weight, "O": target},
            [f"constexpr float FACTOR = {literal(factor)};", function_text("activate", activation)],
        ),
        (names[0], names[1], names[2] if bias else NONE, names[3]),
        images * each,
        (32, _WARPS, 1),
        writes=(names[3],),
    )  # fmt: skip
    moved = channels * outputs * ITEM_BYTES[weight]
    return Work((kernel,), {}, moved, 2 * images * channels * outputs, f"{v}")


def few_images(
    x: View, excitation: Excitation, *, y: View | None = None, parts: int = 0, after: Layer | None = None
) -> Work:
    """The same as kernels that spread over the whole device: `weight2` lies as (C, R) here, as PyTorch has it."""
    n, c, hidden = x.shape[0], x.channels, excitation.hidden
    kernels: list[Kernel] = []
    rooms = {"hidden": 4 * n * hidden}
    if not parts:
        pooled = sums(x, factor=1.0, name="sums")
        kernels += pooled.kernels
        rooms |= {**pooled.rooms, "sums": 4 * n * c}
    source = "sums"
    if parts > MOST_PARTS:
        # Every warp would add the same numbers up again.
        kernels.append(fold(n, parts, c, names=("sums", "pooled", NONE)))
        rooms["pooled"], source, parts = 4 * n * c, "pooled", 1
    first = small_dense(
        n, c, hidden, bias=excitation.bias1, activation=excitation.inner, dtypes=("float32", x.dtype, "float32"),
        factor=1 / x.positions, parts=max(1, parts), names=(source, "weight1", "bias1", "hidden"),
    )  # fmt: skip
    second = small_dense(
        n, hidden, c, bias=excitation.bias2, activation=excitation.outer, dtypes=("float32", x.dtype, x.dtype),
        names=("hidden", "weight2", "bias2", "gate"),
    )  # fmt: skip
    kernels += [*first.kernels, *second.kernels]
    moved = x.bytes
    if y is not None:
        rooms["gate"] = n * c * ITEM_BYTES[x.dtype]
        kernels += gated(x, y, after=after).kernels
        moved += y.bytes
    return Work(tuple(kernels), rooms, moved, 4 * n * c * hidden + 2 * x.size, "few")


def gated(x: View, y: View, *, after: Layer | None = None) -> Work:
    """y = after(x gate), `gate` (N, C)."""
    gate = dense((x.shape[0], x.channels), x.dtype)
    return chain(
        [Operand("x", x), Operand("gate", gate)], [Operand("y", y)], ["y = after(x * gate);"],
        texts=[function_text("after", after)], fast=x.dtype != "float32", name="gated",
    )  # fmt: skip
