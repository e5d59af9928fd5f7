"""What every kernel is: a function `name(row, first, end, scratch)` that works on the units first..end of a step.

`row` is the address of the step's arguments, 64-bit integers in the order of `fields`; `scratch` is memory of the
thread that runs it. Units are independent of each other and write apart, so any split gives the same bits.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from netdsl.backends.native import ir
from netdsl.backends.native.target import Target


class Kernel(Protocol):
    """A variant of a kernel: frozen and hashable; two that are equal share their code."""

    fields: ClassVar[tuple[str, ...]]

    def emit(self, module: ir.Module, target: Target, name: str) -> Any:
        """Writes the function `name` into the module."""


def source(kernel: Kernel, target: Target) -> str:
    """The LLVM IR of a kernel, as a function called `kernel`."""
    module = ir.Module("netdsl")
    kernel.emit(module, target, "kernel")
    return str(module)
