"""Squeeze and excitation, four steps as one: pool, two small layers, product; and, with the depthwise convolution that
most networks have in front, five, whose sums save a sweep over the maps. Two candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netdsl.backends.cupy.choice import inner
from netdsl.backends.cupy.kernels import depthwise, squeeze
from netdsl.backends.cupy.kernels.candidates.base import Family, Form, Pack, function_of, vector_pack, view
from netdsl.backends.cupy.kernels.candidates.depthwise import weights_of, window_of
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.backends.cupy.kernels.squeeze import Excitation
from netdsl.backends.cupy.kernels.view import View
from netdsl.ir.layer import Array
from netdsl.layers.conv import Conv
from netdsl.layers.dense import Dense
from netdsl.program.ir import Program, Step, Tensor

BLOCK_SIZES = (512, 256, 1024)
ENOUGH_IMAGES = 48
"""From so many images on a block for each is the better guess."""
MOST_TILES = 3


def matches(steps: Sequence[Step]) -> bool:
    """Whether four steps are pool, layer, layer and product, each of what the one before makes."""
    if len(steps) < 4 or [step.kernel for step in steps][::3] != ["global_avg_pool", "multiply"]:
        return False
    pool, first, second, product = steps
    chained = all(_is_small(step) and step.residual is None for step in (first, second))
    if not chained or pool.activation is not None or pool.residual is not None or product.residual is not None:
        return False
    if first.inputs[0].name != pool.output.name or second.inputs[0].name != first.output.name:
        return False
    x = pool.inputs[0]
    names = [tensor.name for tensor in product.inputs]
    return len(names) == 2 and sorted(names) == sorted((x.name, second.output.name)) and x.name != second.output.name


def _is_small(step: Step) -> bool:
    """Whether a step is a plain layer of one position."""
    layer = step.layer
    if not isinstance(layer, Dense | Conv) or "weight" not in step.weights:
        return False
    x = step.inputs[0]
    if x.size != x.shape[0] * x.shape[-1] or step.output.size != x.shape[0] * step.output.shape[-1] or not x.dense:
        return False
    if isinstance(layer, Dense):
        return layer.axis in (None, 0, "channels")
    taps = [axis.f for axis in layer.slides(x.type)]
    return layer.groups == 1 and set(taps) == {1} and layer.padding_mode == "zeros" and layer.connections is None


class SqueezeExcite(Family):
    name = "squeeze_excite"
    kinds = frozenset({"global_avg_pool"})

    def covers(self, program: Program, at: int) -> int:
        steps = program.steps[at : at + 4]
        return 4 if matches(steps) and inner(program, at, 4) else 0

    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        pool, _, _, product = steps
        x = view(pool.inputs[0], storage)
        tensors = {"x": pool.inputs[0], "y": product.output}
        found = [
            Form(work, tensors, packs, work.tile) for work, packs in _ways(steps, x, view(product.output, storage), 0)
        ]
        if not found:
            raise ValueError("no kernel for so many channels")
        return found


class DepthwiseSqueezeExcite(Family):
    name = "depthwise squeeze_excite"
    kinds = frozenset({"depthwise_conv"})

    def covers(self, program: Program, at: int) -> int:
        steps = program.steps[at : at + 5]
        if len(steps) < 5 or steps[0].kernel != "depthwise_conv" or not matches(steps[1:]):
            return 0
        return 5 if steps[1].inputs[0].name == steps[0].output.name and inner(program, at, 5) else 0

    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        conv, *others = steps
        window, activation = window_of(conv), function_of(conv.activation)
        x, maps, y = (view(tensor, storage) for tensor in (conv.inputs[0], conv.output, others[-1].output))
        if conv.residual is not None:
            raise ValueError("a residual in front of the pool")
        tensors: dict[str, Tensor] = {"x": conv.inputs[0], "maps": conv.output, "y": others[-1].output}
        own = weights_of(conv, storage)
        found = []
        for tile in list(depthwise.tiles(x, maps, window))[:MOST_TILES]:
            first = depthwise.forward(x, maps, window, tile, bias="bias" in own, activation=activation, squeeze=True)
            parts = depthwise.chunks_of(maps, tile)
            for work, packs in _ways(others, maps, y, parts)[:2]:
                rooms = {**work.rooms, "sums": 4 * x.shape[0] * parts * x.channels}
                both = _renamed(first, {"y": "maps"}).kernels + _renamed(work, {"x": "maps"}).kernels
                moved = first.bytes + work.bytes
                joined = replace(work, kernels=both, rooms=rooms, bytes=moved, flops=first.flops + work.flops)
                found.append(Form(joined, tensors, own | packs, f"{tile}-{work.tile}"))
        if not found:
            raise ValueError("no kernel for so many channels")
        return found


def _ways(steps: Sequence[Step], x: View, y: View, parts: int) -> list[tuple[Work, dict[str, Pack]]]:
    """The ways to weigh maps `x` into `y`, the best guess first; by `parts` sums of each image that are there already,
    where it is not 0."""
    _, first, second, product = steps
    excitation = Excitation(
        first.output.shape[-1],
        function_of(first.activation),
        function_of(second.activation),
        "bias" in first.weights,
        "bias" in second.weights,
    )
    after = function_of(product.activation)
    packs = {"weight1": _matrix(first, x.dtype, False)}
    packs |= {
        f"bias{number}": vector_pack(step, "bias")
        for number, step in ((1, first), (2, second))
        if "bias" in step.weights
    }
    blocks = []
    for threads in BLOCK_SIZES:
        try:
            work = squeeze.one_block(x, excitation, y=y, parts=parts, after=after, threads=threads)
        except ValueError:
            continue
        blocks.append((work, packs | {"weight2": _matrix(second, x.dtype, True)}))
    spread = squeeze.few_images(x, excitation, y=y, parts=parts, after=after)
    few = [(spread, packs | {"weight2": _matrix(second, x.dtype, False)})]
    return blocks + few if x.shape[0] >= ENOUGH_IMAGES else few + blocks


def _matrix(step: Step, dtype: str, turned: bool) -> Pack:
    """A weight as (outputs, inputs), or turned."""

    def make() -> Array:
        matrix = step.weights["weight"].reshape(step.output.shape[-1], -1)
        return matrix.T if turned else matrix

    return Pack(step, f"matrix{' turned' if turned else ''}", make, dtype)


def _renamed(work: Work, names: dict[str, str]) -> Work:
    """The same work, whose arguments are bound by other names."""
    kernels = [
        replace(
            kernel,
            arguments=tuple(names.get(name, name) for name in kernel.arguments),
            writes=tuple(names.get(name, name) for name in kernel.writes),
        )
        for kernel in work.kernels
    ]
    return replace(work, kernels=tuple(kernels))


CANDIDATE = SqueezeExcite()
