"""Machine code by kernel: from memory, from the cache on disk, or compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache as cached
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from netdsl.backends.native import cache
from netdsl.backends.native.kernels.kernel import Kernel, source
from netdsl.backends.native.machine import Code, compiled
from netdsl.backends.native.target import Target

_loaded: WeakValueDictionary[str, Code] = WeakValueDictionary()
_lock = Lock()


def load(kernels: Sequence[Kernel], target: Target) -> list[Code]:
    """The code of each kernel."""
    return [_code(kernel, target) for kernel in kernels]


def _code(kernel: Kernel, target: Target) -> Code:
    key = cache.key(f"{kernel!r}\0{_generator()}", target)
    with _lock:
        code = _loaded.get(key)
        if code is None:
            code = _loaded[key] = _from_disk(key, target) or _built(key, kernel, target)
        return code


@cached
def _generator() -> str:
    """A hash of the code that writes the kernels: what another one wrote is not used."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*here.glob("*.py"), *here.glob("kernels/*.py"), *here.glob("training/kernels/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _from_disk(key: str, target: Target) -> Code | None:
    data = cache.read(key)
    if data is None:
        return None
    try:
        return Code(data, target)
    except RuntimeError:
        return None


def _built(key: str, kernel: Kernel, target: Target) -> Code:
    data = compiled(source(kernel, target), target)
    cache.write(key, data)
    return Code(data, target)
