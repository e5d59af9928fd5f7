"""A kernel made for one type and shape, and the kernels that make one step."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from importlib.resources import files
from math import prod

from netdsl.backends.cupy.kernels.view import C_TYPES

NONE = "-"
"""An argument that is not there: a null pointer."""
MAX_THREADS = 1024
"""Threads of a block, on every GPU."""
MAX_SHARED = 48 << 10
"""Bytes of shared memory that a block may have without asking for more."""

_HEADERS = ("common.cuh", "functions.cuh")


@dataclass(frozen=True)
class Kernel:
    """One function of CUDA C++ with all sizes written into it, and how it is launched.

    Every argument is a pointer, in the order of `arguments`, which name what the caller binds (`-` is null, `name+64`
    begins 64 bytes behind its start); behind them stand `values`, 64-bit integers. What a launch may change from one
    replay of a graph to the next (a learning rate) lies in memory, behind a pointer.
    """

    name: str
    """The family, e.g. `depthwise`."""
    body: str = field(repr=False)
    """Constants and code; the function is called KERNEL in it."""
    arguments: tuple[str, ...]
    grid: int
    block: tuple[int, int, int]
    values: tuple[int, ...] = ()
    writes: tuple[str, ...] = ()
    """The arguments that it changes."""
    threads_meet: bool = field(default=False, compare=False)
    """Whether threads of a block exchange numbers; found in the text."""

    def __post_init__(self) -> None:
        if not 0 < prod(self.block) <= MAX_THREADS:
            raise ValueError(f"{self.name}: a block of {self.block} threads")
        if not 0 < self.grid < 2**31:
            raise ValueError(f"{self.name}: a grid of {self.grid} blocks")
        meets = re.search(r"__syncthreads|__shfl|across<", self.body) is not None
        object.__setattr__(self, "threads_meet", meets)

    @cached_property
    def entry(self) -> str:
        """The function's name: the same text always has the same."""
        return f"{self.name}_{sha256(self.body.encode()).hexdigest()[:16]}"

    @cached_property
    def inner(self) -> str:
        """The kernel in a namespace of its own, without the headers: many of these make one file."""
        space = f"namespace space_{self.entry} {{\n{self.body}\n}}  // namespace"
        return f"#define KERNEL {self.entry}\n{space}\n#undef KERNEL\n"

    @property
    def text(self) -> str:
        """What the compiler gets."""
        return headers() + self.inner


@dataclass(frozen=True)
class Work:
    """The kernels of one step, run one after the other.

    `rooms` are scratch, in bytes, by the name of the argument; they may be shared with other steps. `bytes` is what
    must cross the memory bus at least, each input read once and each output written once; `flops` counts a
    multiply-add as two.
    """

    kernels: tuple[Kernel, ...]
    rooms: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    flops: int = 0
    tile: str = ""
    """What sets it apart from other ways to do the same, for a table and the autotuner's cache."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """All that has to be bound, scratch included."""
        names = (argument(text)[0] for kernel in self.kernels for text in kernel.arguments if text != NONE)
        return tuple(dict.fromkeys(names))


def argument(text: str) -> tuple[str, int]:
    """The name that an argument is bound by, and how many bytes behind its start the kernel begins: `moments+512`."""
    name, _, offset = text.partition("+")
    return name, int(offset or 0)


@cache
def headers() -> str:
    return "".join(source(name) for name in _HEADERS)


@cache
def source(name: str) -> str:
    """The text of a file in `source/`."""
    return files("netdsl.backends.cupy.kernels").joinpath("source").joinpath(name).read_text(encoding="utf-8")


def specialised(
    file: str, constants: Mapping[str, int | bool], types: Mapping[str, str], texts: Sequence[str] = ()
) -> str:
    """The text of `source/file` behind its constants, the types of its numbers (T = "float16") and generated text."""
    lines = [f"typedef {C_TYPES[type_]} {name};" for name, type_ in types.items()]
    lines += [
        f"constexpr bool {name} = {str(value).lower()};"
        if isinstance(value, bool)
        else f"constexpr {'long long' if abs(value) >= 2**31 else 'int'} {name} = {value};"
        for name, value in constants.items()
    ]
    return "\n".join([*lines, *texts, source(file)])


def blocks(threads: int, each: int) -> int:
    """How many blocks of `each` threads `threads` fill; at least one."""
    return max(1, -(-threads // each))


def lanes(columns: int, threads: int, most: int = 64) -> tuple[int, int, int]:
    """How a block of about `threads` is shared between `columns` that lie side by side and what they loop over.

    Returns (columns of a block, threads for each column, blocks that all columns take).
    """
    chunks = blocks(columns, most)
    wide = -(-columns // chunks)
    return wide, max(1, threads // wide), chunks


def power_of_two(value: int) -> int:
    """The largest power of two that is no larger."""
    return 1 << (max(1, value).bit_length() - 1)
