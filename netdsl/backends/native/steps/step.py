"""A step of native code: a kernel with its arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from netdsl.backends.native.kernels.kernel import Kernel


@dataclass(frozen=True)
class NativeStep:
    """`units` pieces of work that any threads may share; `scratch` bytes for each thread while it works.

    `work` is about how many operations it takes: small steps are not worth sharing. `keep` holds the arrays whose
    addresses are among the values.
    """

    name: str
    kernel: Kernel
    values: dict[str, int]
    units: int
    work: int
    scratch: int = 0
    keep: tuple[Any, ...] = field(default=(), repr=False)

    def row(self) -> list[int]:
        """The arguments in the order of the kernel's fields."""
        return [self.values[name] for name in self.kernel.fields]
