"""Machine code by kernel: from memory, from the cache on disk, or compiled.

LLVM is imported where something must be compiled, or lies in the cache as an object file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache as cached
from pathlib import Path
from threading import Lock
from typing import Protocol
from weakref import WeakValueDictionary

from netdsl.backends.native import cache
from netdsl.backends.native.elf import Block
from netdsl.backends.native.image import placed, unpacked
from netdsl.backends.native.kernels.kernel import Kernel, source
from netdsl.backends.native.target import Target


class Code(Protocol):
    """Functions in memory; they stay as long as this does."""

    def address(self, name: str) -> int:
        """Where the function `name` begins. Raises KeyError."""
        ...


_loaded: WeakValueDictionary[str, Code] = WeakValueDictionary()
_lock = Lock()


def load(kernels: Sequence[Kernel], target: Target) -> list[Code]:
    """The code of each kernel; what is not in memory yet is put there together."""
    names = {kernel: cache.key(f"{kernel!r}\0{_generator()}", target) for kernel in kernels}
    found: dict[str, Code] = {}
    blocks: dict[str, Block] = {}
    with _lock:
        for kernel, name in names.items():
            code = _loaded.get(name) or _stored(cache.read(name), target)
            if code is None:
                data = compiled(source(kernel, target), target)
                cache.write(name, data)
                code = _stored(data, target)
                assert code is not None
            if isinstance(code, Block):
                blocks[name] = code
            else:
                found[name] = code
        if blocks:
            found.update(zip(blocks, placed(list(blocks.values())), strict=True))
        _loaded.update(found)
    return [found[names[kernel]] for kernel in kernels]


@cached
def _generator() -> str:
    """A hash of the code that writes the kernels: what another one wrote is not used."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*here.glob("*.py"), *here.glob("kernels/*.py"), *here.glob("training/kernels/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def compiled(text: str, target: Target) -> bytes:
    """What is kept of a module of LLVM IR."""
    from netdsl.backends.native import machine

    return machine.compiled(text, target)


def _stored(data: bytes | None, target: Target) -> Block | Code | None:
    """What an entry of the cache holds; None where that is nothing."""
    if data is None:
        return None
    block = unpacked(data)
    if block is not None:
        return block
    from netdsl.backends.native.machine import LinkedCode

    try:
        return LinkedCode(data, target)
    except RuntimeError:
        return None
