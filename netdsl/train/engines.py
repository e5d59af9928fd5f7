"""Which back-end `auto` is."""

from __future__ import annotations

from importlib import import_module

from netdsl.backends.errors import RunError
from netdsl.backends.registry import backend
from netdsl.train.fast import BACKENDS


def fastest(name: str) -> str:
    """The back-end that trains where `name` is asked for: `auto` is the first of those that train and can run here."""
    if name != "auto":
        return name
    for found, module in BACKENDS.items():
        try:
            import_module(module)
            backend(found)
        except (ImportError, RunError):
            continue
        return found
    return "reference"
