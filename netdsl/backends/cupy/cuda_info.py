"""What CUDA says of a device."""

from __future__ import annotations

import cupy

from netdsl.backends.cupy.device import DeviceInfo

STATIC_SHARED_MEMORY = 48 * 2**10
"""What a block may have without asking for more."""


def describe(number: int) -> DeviceInfo:
    """Raises CUDARuntimeError where there is no such device."""
    runtime = cupy.cuda.runtime
    found = runtime.getDeviceProperties(number)
    name = found["name"]
    return DeviceInfo(
        number,
        name.decode(errors="replace") if isinstance(name, bytes) else str(name),
        (int(found["major"]), int(found["minor"])),
        int(found["totalGlobalMem"]),
        int(found["multiProcessorCount"]),
        int(found.get("sharedMemPerBlockOptin", STATIC_SHARED_MEMORY)),
        int(found.get("l2CacheSize", 0)),
        _version(runtime.driverGetVersion()),
        _version(runtime.runtimeGetVersion()),
        f"cupy {cupy.__version__}",
    )


def _version(number: int) -> tuple[int, int]:
    """13000 is CUDA 13.0."""
    return number // 1000, number % 1000 // 10
