"""Vectors whose lanes lie apart in memory."""

from __future__ import annotations

from typing import Any

from netdsl.backends.native import ir
from netdsl.backends.native.emit import Emitter, Int, Vector


def addresses(e: Emitter, base: Int, stride: int | Int) -> Any:
    """The addresses base + lane * stride, as a vector of pointers."""
    kind = ir.VectorType(ir.I64, e.width)
    lanes = ir.Constant(kind, list(range(e.width)))
    steps = e.b.mul(lanes, e._splat(e.number(stride).value, kind))
    return e.b.inttoptr(e.b.add(steps, e._splat(base.value, kind)), ir.VectorType(ir.PTR, e.width))


def every(e: Emitter) -> Any:
    """A mask that is on for all lanes."""
    return ir.Constant(ir.VectorType(ir.I1, e.width), [1] * e.width)


def gather(e: Emitter, at: Any, mask: Any = None) -> Vector:
    """The numbers at a vector of pointers; zeros where the mask is off, and nothing is read there."""
    return e.intrinsic(
        f"llvm.masked.gather.v{e.width}f32.v{e.width}p0", e.vector_type, at, ir.Constant(ir.I32, 4),
        every(e) if mask is None else mask, e.constant(0.0),
    )  # fmt: skip


def scatter(e: Emitter, value: Vector, at: Any, mask: Any = None) -> None:
    """Writes lanes to a vector of pointers."""
    e.intrinsic(
        f"llvm.masked.scatter.v{e.width}f32.v{e.width}p0", ir.VOID, value, at, ir.Constant(ir.I32, 4),
        every(e) if mask is None else mask,
    )  # fmt: skip
