"""Where the grammar and the library of specs lie: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _find(folder: str) -> Path:
    packed = _PACKAGE / "_data" / folder
    return packed if packed.is_dir() else _PACKAGE.parent / folder


def grammar_path() -> Path:
    return _find("grammars") / "netdsl.lark"


def library_path() -> Path:
    return _find("specs")
