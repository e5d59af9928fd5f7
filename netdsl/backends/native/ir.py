"""`llvmlite.ir`, imported when code is first written: what runs from the cache needs neither it nor LLVM.

The kernels take everything from here: `ir.IRBuilder` is llvmlite's; `ir.I64` and its like are the types that they use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llvmlite.ir import *  # noqa: F403

    I1: Any
    I8: Any
    I32: Any
    I64: Any
    F32: Any
    F64: Any
    PTR: Any
    VOID: Any


def __getattr__(name: str) -> Any:
    """What llvmlite.ir has under this name, or one of the types above. Raises AttributeError."""
    import llvmlite.ir as ir

    found = globals()
    if "VOID" not in found:
        found |= {f"I{bits}": ir.IntType(bits) for bits in (1, 8, 32, 64)}
        found |= {"F32": ir.FloatType(), "F64": ir.DoubleType(), "PTR": ir.PointerType(), "VOID": ir.VoidType()}
    if name not in found:
        found[name] = getattr(ir, name)
    return found[name]
