"""netdsl: a declarative architecture graph compiler for convolutional networks.

    import netdsl
    net = netdsl.load("resnet50", classes=10)
    print(net.summary())
    net.draw("resnet50.svg")

Names are imported when they are first used: analysis needs no array library, and drawing nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from netdsl.api import Net, load, loads
    from netdsl.backends.reference import Model
    from netdsl.elaborate import Limits
    from netdsl.language.diagnostics import NetdslError, SpecError
    from netdsl.train.trainer import Trainer

_HOMES = {
    "Limits": "netdsl.elaborate",
    "Model": "netdsl.backends.reference",
    "Net": "netdsl.api",
    "NetdslError": "netdsl.language.diagnostics",
    "SpecError": "netdsl.language.diagnostics",
    "Trainer": "netdsl.train.trainer",
    "load": "netdsl.api",
    "loads": "netdsl.api",
}

__all__ = ["Limits", "Model", "Net", "NetdslError", "SpecError", "Trainer", "__version__", "load", "loads"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'netdsl' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
