"""The back-end: a GPU through CuPy."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.errors import DeviceMemoryError
from netdsl.backends.cupy.precision import PRECISIONS, Precision, precision
from netdsl.backends.cupy.presence import present
from netdsl.backends.errors import RunError
from netdsl.ir.network import Network
from netdsl.program.ir import Program

if TYPE_CHECKING:
    from netdsl.backends.cupy.executor import CupyExecutable
    from netdsl.backends.cupy.model import DeviceModel

INSTALL = "pip install 'netdsl[cuda13]' (a driver for CUDA 13), or 'netdsl[cuda12]'"
LEAST_CUPY = 14
LEAST_CAPABILITY = (7, 0)
"""Volta; what is older has no tensor cores, and CUDA 13 does not know it any more."""
NO_DEVICE, OLD_DRIVER, STUB = frozenset({100, 101}), frozenset({35, 36, 803}), frozenset({34})
"""cudaErrorNoDevice, cudaErrorInvalidDevice; cudaErrorInsufficientDriver and its like; cudaErrorStubLibrary."""


@dataclass(frozen=True)
class CupyBackend:
    """A GPU. `configured` says which, and in which numbers it computes."""

    name: str = "cupy"
    precision: Precision = PRECISIONS["float32"]
    number: int = 0
    autotune: str = "off"
    deterministic: bool = True
    graphs: bool = True
    candidates: Sequence[str] | None = None
    played: Device | None = field(default=None, compare=False)
    """What stands for the device in tests."""

    def missing(self) -> str | None:
        if self.played is not None:
            return None
        return _missing(self.number)

    def configured(
        self,
        precision_name: str | None = None,
        device: int | None = None,
        autotune: str | None = None,
        deterministic: bool = True,
    ) -> CupyBackend:
        """The same with other settings. Raises RunError (E0716)."""
        from netdsl.backends.cupy.autotune import checked_mode

        number = self.number if device is None else device
        made = replace(
            self, precision=precision(precision_name), number=number, deterministic=deterministic,
            autotune=checked_mode(autotune or self.autotune),
        )  # fmt: skip
        if self.played is None and number != self.number:
            reason = _missing(number)
            if reason is not None:
                raise RunError("E0716", f"the back-end `cupy` cannot run on device {number}: {reason}", _listed())
        made.check_precision()
        return made

    def check_precision(self) -> None:
        """Raises RunError (E0716) where the device has no units for these numbers, or a package is missing."""
        wanted = self.precision
        _ = wanted.dtype
        info = self.device.info
        if (wanted.tf32 or wanted.storage == "bfloat16") and not info.bfloat16:
            raise RunError(
                "E0716", f"{info.name} ({info.architecture}) does not compute in {wanted.name}",
                "--precision float16, or float32",
            )  # fmt: skip

    @property
    def device(self) -> Device:
        """The device. Raises RunError (E0716, E0718)."""
        if self.played is not None:
            return self.played
        from netdsl.backends.cupy.cuda import device

        return device(self.number)

    def model(self, network: Network) -> DeviceModel:
        """A model of a network that runs here."""
        from netdsl.backends.cupy.model import DeviceModel

        return DeviceModel(network, self)

    def build(self, program: Program, threads: int | None, packs: dict[Any, Any]) -> CupyExecutable:
        """Raises DeviceMemoryError, with what had been free; RunError (E0718)."""
        from netdsl.backends.cupy.autotune import Autotuner
        from netdsl.backends.cupy.executor import CupyExecutable

        self._say_what_is_missing()
        device = self.device
        free = device.free_bytes()
        chooser = None
        if self.autotune != "off":
            chooser = Autotuner(
                device, self.precision, self.autotune, self.deterministic, packs, names=self.candidates,  # type: ignore[arg-type]
                libraries=_libraries(),
            )  # fmt: skip
        try:
            return CupyExecutable(
                program, device, self.precision, packs, chooser=chooser, candidates=self.candidates,
                deterministic=self.deterministic, graphs=self.graphs, report=report,
            )  # fmt: skip
        except DeviceMemoryError as error:
            error.free = free
            raise

    def _say_what_is_missing(self) -> None:
        """Convolutions are what networks spend their time on: without cuDNN a line says so."""
        from netdsl.backends.cupy import cudnn
        from netdsl.backends.cupy.choice import CANDIDATES

        names = CANDIDATES if self.candidates is None else self.candidates
        reason = cudnn.missing() if any("cudnn" in name for name in names) else None
        if reason is not None:
            report(f"{reason}; convolutions are computed as products by cuBLAS, which is slower")


@cache
def _missing(number: int) -> str | None:
    """Why there is no such device, in one line."""
    try:
        with warnings.catch_warnings():
            # CuPy says at length what the answer below says in a line.
            warnings.simplefilter("ignore")
            import cupy
    except ImportError as error:
        if error.name not in ("cupy", None):
            return f"CuPy cannot be loaded: {_first_line(error)}"
        seen = "" if present() else ", and no NVIDIA GPU is seen"
        return f"CuPy is not installed{seen}: {INSTALL}"
    version = str(cupy.__version__)
    if int(version.partition(".")[0]) < LEAST_CUPY:
        return f"CuPy {version} is too old, {LEAST_CUPY} or later is needed: {INSTALL}"
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        return _no_device(error, cupy)
    if not count:
        return "there is no NVIDIA GPU"
    if not 0 <= number < count:
        return f"there is no device {number}: there {'is 1' if count == 1 else f'are {count}'}, counted from 0"
    try:
        found = cupy.cuda.runtime.getDeviceProperties(number)
    except Exception as error:
        return f"the device does not answer: {_first_line(error)}"
    capability = (int(found["major"]), int(found["minor"]))
    if capability < LEAST_CAPABILITY:
        least = ".".join(map(str, LEAST_CAPABILITY))
        return f"the device has compute capability {capability[0]}.{capability[1]}, {least} or later is needed"
    return None


def _no_device(error: Exception, cupy: Any) -> str:
    status = getattr(error, "status", None)
    if status in NO_DEVICE:
        return "there is no NVIDIA GPU"
    if status in OLD_DRIVER and not _driver(cupy):
        return "there is no NVIDIA driver, or no GPU that this process sees"
    if status in OLD_DRIVER:
        return f"the driver is too old for {_wanted(cupy)}: install a later one, or the CuPy for the CUDA that it knows"
    if status in STUB:
        return "the CUDA driver is a stub: install NVIDIA's driver"
    return f"CUDA does not start: {_first_line(error)}"


def _driver(cupy: Any) -> int:
    """The CUDA version that the driver knows, 0 where there is none."""
    try:
        return int(cupy.cuda.runtime.driverGetVersion())
    except Exception:
        return 0


def _wanted(cupy: Any) -> str:
    """The CUDA version that CuPy was made for, where it says so."""
    try:
        number = int(cupy.cuda.runtime.runtimeGetVersion())
    except Exception:
        return "this CuPy"
    return f"CUDA {number // 1000}.{number % 1000 // 10}"


def _libraries() -> tuple[str, ...]:
    """The versions of what candidates use, beside CuPy."""
    from netdsl.backends.cupy import cudnn

    return () if cudnn.missing() else (cudnn.version(),)


def _listed() -> str:
    return "`netdsl plan SPEC --device-memory N` says what a device must have"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@cache
def report(line: str) -> None:
    """Where nobody has set up logging, this is a line on the standard error output; each only once."""
    logging.getLogger("netdsl").warning("netdsl: cupy: %s", line)


BACKEND = CupyBackend()
