"""Kernels as large networks need them, in the types and at the shapes that they have there."""

from __future__ import annotations

from collections.abc import Iterator

from netdsl.backends.cupy.kernels import (
    depthwise,
    layer_norm,
    layout,
    norm,
    pool,
    resample,
    softmax,
    squeeze,
    update,
)
from netdsl.backends.cupy.kernels.chain import Operand, chain, channels
from netdsl.backends.cupy.kernels.depthwise import Window
from netdsl.backends.cupy.kernels.functions import function_text
from netdsl.backends.cupy.kernels.kernel import Kernel, Work
from netdsl.backends.cupy.kernels.norm import Sets
from netdsl.backends.cupy.kernels.squeeze import Excitation
from netdsl.backends.cupy.kernels.update import Update
from netdsl.backends.cupy.kernels.view import dense
from netdsl.layers.activation import HardSwish, Relu, Relu6, Sigmoid, Silu
from netdsl.layers.sizes import Slide

IMAGES = 64


def window(n: int, f: int, s: int, d: int = 1) -> Window:
    reach = d * (f - 1)
    axis = Slide(n, f, s, d, reach // 2, reach // 2, (n + 2 * (reach // 2) - reach - 1) // s + 1)
    return Window(axis, axis)


def depthwise_works(storage: str, n: int, c: int, f: int, s: int, every_tile: bool = False) -> Iterator[Work]:
    """The forward pass of a layer in its first forms, and both gradients."""
    slide = window(n, f, s)
    x, y = dense((IMAGES, n, n, c), storage), dense((IMAGES, slide.y.o or 1, slide.x.o or 1, c), storage)
    tiles = list(depthwise.tiles(x, y, slide))
    for tile in tiles if every_tile else tiles[:1]:
        yield depthwise.forward(x, y, slide, tile, bias=True, activation=Silu(), squeeze=f == 5)
    yield depthwise.input_gradient(y, x, slide)
    yield depthwise.weight_gradient(x, y, slide, bias=f == 7)


def works(storage: str, every_tile: bool = False) -> Iterator[Work]:
    yield from depthwise_works(storage, 112, 32, 3, 1, every_tile)
    yield from depthwise_works(storage, 56, 144, 3, 2, every_tile)
    yield from depthwise_works(storage, 28, 240, 5, 2, every_tile)
    yield from depthwise_works(storage, 14, 384, 7, 1, every_tile)
    maps, small = dense((IMAGES, 56, 56, 64), storage), dense((IMAGES, 28, 28, 64), storage)
    slide = window(56, 3, 2)
    yield pool.slide(maps, small, slide, maximum=True, places=True)
    yield pool.slide(maps, small, slide, maximum=False, activation=Relu())
    yield pool.slide_gradient(small, maps, slide, maximum=True)
    yield pool.slide_gradient(small, maps, slide, maximum=False)
    yield pool.adaptive(maps, dense((IMAGES, 7, 7, 64), storage), maximum=False)
    yield pool.sums(dense((IMAGES, 7, 7, 1280), storage), dtype=storage, factor=1 / 49)
    excitation = Excitation(28, Silu(), Sigmoid(), True, True)
    wide = dense((IMAGES, 14, 14, 672), storage)
    yield squeeze.one_block(wide, excitation, y=wide)
    yield squeeze.one_block(wide, excitation, parts=2)
    yield squeeze.few_images(wide, excitation, y=wide)
    batch = Sets(False, 64)
    yield norm.statistics(maps, batch, 1e-5, weight=True, bias=True, momentum=0.1)
    yield norm.normalise(maps, maps, batch, bias=True, activation=Relu(), residual=maps)
    yield norm.gradient(maps, maps, maps, batch, weight=True, bias=True, wanted=True, activation=HardSwish())
    yield norm.gradient(maps, maps, maps, Sets(True, 32), weight=True, bias=True, wanted=True)
    for width in (96, 768):
        rows = dense((IMAGES, 14, 14, width), storage)
        yield layer_norm.layer_norm(rows, rows, 1e-6, affine=True)
        yield layer_norm.layer_norm_gradient(rows, rows, rows, 1e-6, affine=True, wanted=True)
    logits = dense((IMAGES, 1000), storage)
    yield softmax.rows(logits, logits, logarithm=False)
    yield softmax.rows(logits, logits, logarithm=True, dy=logits)
    yield softmax.strided(IMAGES, 14, 14 * 64, storage, logarithm=False)
    for bilinear in (False, True):
        yield resample.resample(small, maps, bilinear=bilinear)
        yield resample.resample(maps, small, bilinear=bilinear, backward=True)
    yield layout.turned(IMAGES, 3, 224 * 224, "float32", storage)
    yield chain(
        [Operand("a", maps), Operand("b", maps), channels("scale", 64)], [Operand("y", maps)],
        ["y = activate(a * scale + b);"], texts=[function_text("activate", Relu6())], fast=True,
    )  # fmt: skip
    for made in (
        Update("sgd", momentum=0.9, nesterov=True, weight_decay=1e-4, average=0.999, clip_norm=1.0),
        Update("rmsprop", alpha=0.9, momentum=0.9, eps=1e-3, tensorflow=True, average=0.9999, scaled=True),
        Update("adamw", betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, clip_value=1.0),
    ):
        copy = None if storage == "float32" else storage
        yield update.update(made, 25_557_032, gradients=storage, copy=copy, undecayed=True)


def kernels(storage: str, every_tile: bool = False) -> list[Kernel]:
    found = {kernel.entry: kernel for work in works(storage, every_tile) for kernel in work.kernels}
    return list(found.values())
