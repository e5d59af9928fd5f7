"""Chains of functions of one element, over any tensors that broadcast against each other, as one generated kernel.

A chain is a few statements of CUDA C++: each operand and each output is a float of its name. Everything that works
on numbers one by one is made of it: activations and their derivatives, sums, gates, scales and shifts, the last sweep
of a normalisation, copies and casts. A thread reads what it needs of `UNROLL` vectors before it writes any, so that an
output may lie over an operand of the same shape and strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

from netdsl.backends.cupy.kernels.kernel import Kernel, Work, blocks
from netdsl.backends.cupy.kernels.view import C_TYPES, ITEM_BYTES, MAX_VECTOR, WORD_BYTES, View

THREADS = 256
UNROLL = 2


@dataclass(frozen=True)
class Operand:
    """A tensor by the name of its argument. Extents of 1 are repeated."""

    name: str
    view: View


def channels(name: str, count: int, offset: int = 0) -> Operand:
    """A float32 vector of one number for each channel."""
    return Operand(name, View((1, 1, 1, count), (count, count, count), "float32", offset))


def chain(
    operands: Sequence[Operand],
    outputs: Sequence[Operand],
    statements: Sequence[str],
    *,
    texts: Sequence[str] = (),
    fast: bool = False,
    name: str = "chain",
    unroll: int = UNROLL,
    arguments: Sequence[str] = (),
) -> Work:
    """outputs = statements(operands). `texts` are functions that the statements call; `fast` allows approximations.

    `arguments` are what the arrays are called when they are bound, operands first; else they are called by their names.
    All outputs have one shape, to which the operands broadcast.
    """
    shape, frame = _frame([operand.view for operand in operands], [output.view for output in outputs])
    views = dict(zip([operand.name for operand in (*operands, *outputs)], frame, strict=True))
    width = _vector(shape, list(views.values()))
    items = prod(shape) // width
    long = items * width >= 2**31 - 2**20 or any(view.reach >= 2**31 - 2**20 for view in frame)
    body = _body(operands, outputs, views, shape, width, statements, unroll, "long long" if long else "int")
    texts = (f"constexpr bool FAST = {str(fast).lower()};", *texts, body)
    names = [operand.name for operand in (*operands, *outputs)]
    kernel = Kernel(
        name,
        "\n".join(texts),
        tuple(arguments) or tuple(names),
        blocks(items, THREADS * unroll),
        (THREADS, 1, 1),
        writes=tuple(arguments[len(operands) :]) or tuple(output.name for output in outputs),
    )
    moved = sum(operand.view.bytes for operand in (*operands, *outputs))
    return Work((kernel,), {}, moved, len(statements) * outputs[0].view.size, f"{width}x{unroll}")


def _frame(operands: list[View], outputs: list[View]) -> tuple[tuple[int, int, int, int], list[View]]:
    """The shape that all indices run over, and all views in it, with as few axes as these allow."""
    views = [*operands, *outputs]
    shape = outputs[0].shape
    for view in views:
        if any(n not in (1, m) for n, m in zip(view.shape, shape, strict=True)):
            raise ValueError(f"{view.shape} does not broadcast to {shape}")
    if all(view.shape == shape and view.dense for view in views):
        # Nothing tells one number from the next: everything is one row.
        total = prod(shape)
        return (1, 1, 1, total), [replace(view, shape=(1, 1, 1, total), strides=(total,) * 3) for view in views]
    n, h, w, c = shape
    if all(view.positions == 1 or (view.positions == h * w and view.even) for view in views):
        shape = (n, 1, h * w, c)
        views = [
            replace(view, shape=(view.shape[0], 1, view.positions, view.channels), strides=_row(view)) for view in views
        ]
        if all(_joins(view, n, h * w) for view in views):
            shape = (1, 1, n * h * w, c)
            views = [
                replace(view, shape=(1, 1, view.shape[0] * view.shape[2], view.channels), strides=_row(view))
                for view in views
            ]
    return shape, views


def _row(view: View) -> tuple[int, int, int]:
    return (
        view.strides[0],
        view.positions * view.step,
        view.step if view.positions > 1 or view.shape[0] == 1 else view.strides[0],
    )


def _joins(view: View, images: int, positions: int) -> bool:
    """Whether the positions of all images follow each other, or the view is the same everywhere."""
    if view.shape[0] == 1 and view.positions == 1:
        return True
    whole = view.shape[0] == images and view.positions == positions
    return whole and (images == 1 or view.strides[0] == view.positions * view.strides[2])


def _vector(shape: tuple[int, int, int, int], views: list[View]) -> int:
    """How many neighbouring numbers a thread works on."""
    common, item = shape[3], WORD_BYTES
    for view in views:
        if view.channels == 1 and shape[3] > 1:
            continue  # one number for all channels
        walked = [s for n, s in zip(view.shape, view.strides, strict=False) if n > 1]
        common = gcd(common, view.offset, *walked)
        item = min(item, ITEM_BYTES[view.dtype])
    width = 1
    while width * 2 <= MAX_VECTOR and width * 2 * item <= WORD_BYTES and common % (width * 2) == 0:
        width *= 2
    return width


def _is_vector(view: View) -> bool:
    """Whether a view is one float32 for each channel, and nothing else."""
    return view.dtype == "float32" and view.size == view.channels > 1


def _body(
    operands: Sequence[Operand],
    outputs: Sequence[Operand],
    views: dict[str, View],
    shape: tuple[int, int, int, int],
    width: int,
    statements: Sequence[str],
    unroll: int,
    index: str,
) -> str:
    n, h, w, c = shape
    written = {output.name for output in outputs}
    parameters = [f"const {C_TYPES[operand.view.dtype]} *at_{operand.name}" for operand in operands]
    parameters += [f"{C_TYPES[output.view.dtype]} *at_{output.name}" for output in outputs]
    vectors = {operand.name for operand in operands if _is_vector(operand.view)}
    reads, numbers, places = [], [], []
    for name, view in views.items():
        terms = [
            f"{letter} * {stride}"
            for letter, extent, stride in zip("nhw", view.shape, view.strides, strict=False)
            if extent > 1
        ]
        if view.channels > 1 or c == 1:
            terms.append("c")
        place = " + ".join(f"({index}){term}" for term in terms) or "0"
        if name in written:
            places.append(f"            store(at_{name} + {place}, out_{name});")
        elif view.channels == 1 and c > 1:
            reads.append(f"        all_{name}[u] = widen(at_{name}[{place}]);")
            numbers.append(f"            const float {name} = all_{name}[u];")
        else:
            # A vector of parameters lies anywhere, and tells nothing of how wide the others may be read.
            read = "load_anywhere" if name in vectors else "load"
            reads.append(f"        {read}(at_{name} + {place}, all_{name}[u]);")
            numbers.append(f"            const float {name} = all_{name}[u][v];")
    held = [
        f"    float all_{operand.name}[{unroll}]"
        + ("" if views[operand.name].channels == 1 and c > 1 else f"[{width}]")
        + ";"
        for operand in operands
    ]
    each = c // width
    where = [
        f"        const {index} item = ({index})blockIdx.x * {THREADS * unroll} + u * {THREADS} + threadIdx.x;",
        f"        if (item >= {n * h * w * each}) break;",
        f"        const {index} position = item / {each};",
        f"        const int c = (int)(item % {each}) * {width};",
        f"        const int w = (int)(position % {w}), h = (int)(position / {w} % {h}), n = (int)(position / {w * h});",
        "        (void)c, (void)w, (void)h, (void)n;",
    ]
    loop = ["#pragma unroll", f"    for (int u = 0; u < {unroll}; u++) {{"]
    lines = [
        f'extern "C" __global__ void __launch_bounds__({THREADS}, 1) KERNEL({", ".join(parameters)}) {{',
        *held, *loop, *where, *reads, "    }", *loop, *where,
        *[f"            float out_{output.name}[{width}];" for output in outputs],
        "#pragma unroll", f"            for (int v = 0; v < {width}; v++) {{",
        *numbers,
        *[f"            float {output.name};" for output in outputs],
        *[f"            {statement}" for statement in statements],
        *[f"            out_{output.name}[v] = {output.name};" for output in outputs],
        "            }", *places, "    }", "}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
