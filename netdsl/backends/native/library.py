"""Machine code by its source: from memory, from the cache on disk, or compiled."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from weakref import WeakValueDictionary

from netdsl.backends.native import cache
from netdsl.backends.native.machine import Code, compiled
from netdsl.backends.native.target import Target

_loaded: WeakValueDictionary[str, Code] = WeakValueDictionary()
_lock = Lock()


def load(texts: Sequence[str], target: Target) -> list[Code]:
    """The code of each module of LLVM IR."""
    return [_code(text, target) for text in texts]


def _code(text: str, target: Target) -> Code:
    key = cache.key(text, target)
    with _lock:
        code = _loaded.get(key)
        if code is None:
            code = _loaded[key] = _from_disk(key, target) or _built(key, text, target)
        return code


def _from_disk(key: str, target: Target) -> Code | None:
    data = cache.read(key)
    if data is None:
        return None
    try:
        return Code(data, target)
    except RuntimeError:
        return None


def _built(key: str, text: str, target: Target) -> Code:
    data = compiled(text, target)
    cache.write(key, data)
    return Code(data, target)
