"""Which llvmlite writes the code, without importing it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_LIBRARIES = (".so", ".dylib", ".dll")


def version() -> str:
    """What tells one llvmlite, with the LLVM in it, from another. Raises ImportError where there is none.

    That is the file that names its version and revision, and the size of the library that LLVM is linked into; where
    those do not lie in a folder, what llvmlite itself says.
    """
    spec = find_spec("llvmlite")
    for place in (spec and spec.submodule_search_locations) or ():
        try:
            text = (Path(place) / "_version.py").read_text(encoding="utf-8")
            files = [path for path in (Path(place) / "binding").iterdir() if path.suffix in _LIBRARIES]
            sizes = [f"{path.name} {path.stat().st_size}" for path in sorted(files)]
        except (OSError, UnicodeDecodeError):
            continue
        if sizes:
            return "\0".join((text, *sizes))
    import llvmlite
    import llvmlite.binding as llvm

    return "\0".join((llvmlite.__version__, *map(str, llvm.llvm_version_info)))
