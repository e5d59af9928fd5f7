"""The back-ends that there are. Adding one is a folder whose `backend.py` has a `BACKEND`, and a line in `BACKENDS`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from netdsl.backends.errors import RunError
from netdsl.language.diagnostics import did_you_mean
from netdsl.program.ir import Program

if TYPE_CHECKING:
    from netdsl.backends.reference import Model
    from netdsl.ir.network import Network

BACKENDS: dict[str, str] = {
    "cupy": "netdsl.backends.cupy.backend",
    "native": "netdsl.backends.native.backend",
    "numpy": "netdsl.backends.numpy.backend",
}
"""Name -> the module whose `BACKEND` it is."""

AUTO = ("cupy", "native", "numpy")
"""What `auto` is: the first of these that can run here."""

DEVICES = {"cupy": "netdsl.backends.cupy.presence"}
"""Back-ends for a device that need not be there -> the module whose `present()` says whether it is. Where it is not,
`auto` does not think of them."""

NAMES: tuple[str, ...] = ("auto", "reference", *BACKENDS)
"""What can be asked for. `reference` runs each layer's own forward and needs no Program."""


class Executable(Protocol):
    """A Program made ready by a back-end. It owns its arena, so that it runs once at a time."""

    @property
    def kernels(self) -> Sequence[str]:
        """What computes each step, for people."""
        ...

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """float32 arrays (N, C, *spatial) by input name -> new arrays by output name."""
        ...


class Backend(Protocol):
    """What turns a Program into something that runs."""

    @property
    def name(self) -> str: ...

    def missing(self) -> str | None:
        """Why it cannot run here, in one line; None where it can."""
        ...

    def build(self, program: Program, threads: int | None, packs: dict[Any, Any]) -> Executable:
        """`packs` is kept with the weights: what is packed for one shape of the inputs serves the others."""
        ...


@runtime_checkable
class DeviceBackend(Backend, Protocol):
    """One that runs on a device of the machine, and may compute in other numbers than float32."""

    def configured(
        self, precision_name: str | None, device: int | None, autotune: str | None, deterministic: bool
    ) -> DeviceBackend:
        """The same with other settings. Raises RunError (E0716)."""
        ...

    def model(self, network: Network) -> Model:
        """A model that runs there."""
        ...


def backend(name: str) -> Backend:
    """The back-end called `name`. Raises RunError (E0716)."""
    if name not in BACKENDS:
        raise RunError("E0716", f"there is no back-end `{name}`", did_you_mean(name, NAMES) or ", ".join(NAMES))
    try:
        found: Backend = import_module(BACKENDS[name]).BACKEND
        reason = found.missing()
        if reason is None:
            return found
    except ImportError as error:
        reason = str(error)
    raise RunError("E0716", f"the back-end `{name}` cannot run here: {reason}", "--backend numpy is always there")


def fastest() -> Backend:
    """What `auto` is. Where it is not the first choice, a warning (of the logger `netdsl`, once) says why."""
    *others, last = AUTO
    for name in others:
        if name in DEVICES and not import_module(DEVICES[name]).present():
            continue
        try:
            return backend(name)
        except RunError as error:
            _warn(f"{error.message}; {_next(name)} computes, which is slower")
    return backend(last)


def _next(name: str) -> str:
    """What computes where this one cannot, as far as one knows."""
    return AUTO[AUTO.index(name) + 1]


@cache
def _warn(message: str) -> None:
    """Where nobody has set up logging, this is a line on the standard error output."""
    logging.getLogger("netdsl").warning("netdsl: %s", message)
