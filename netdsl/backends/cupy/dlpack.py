"""Arrays of other libraries on the device: they come and go by DLPack, without a copy through the host.

The protocol orders the work: who takes an array says on which stream, and who gives it makes that stream wait for what
still writes to it (Python array API standard, Data interchange mechanisms).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netdsl.backends.cupy.device import Device
from netdsl.backends.errors import RunError

CUDA, CUDA_MANAGED = 2, 13
"""DLDeviceType: memory of a GPU, memory that host and device share."""


def place(x: object) -> int | None:
    """The number of the GPU that an array lies on; None for everything else."""
    ask = getattr(x, "__dlpack_device__", None)
    if ask is None:
        return None
    try:
        kind, number = ask()
    except (BufferError, TypeError, ValueError, RuntimeError):
        return None
    return int(number) if int(kind) in (CUDA, CUDA_MANAGED) else None


def on_device(x: object) -> bool:
    """Whether an array, or one of a mapping, lies on a GPU."""
    return any(place(each) is not None for each in x.values()) if isinstance(x, Mapping) else place(x) is not None


def adopted(device: Device, name: str, x: Any) -> Any:
    """An array as one of the device's library: what lies there without a copy, what lies in the host copied to it.

    Call it inside `device.use()`: work that is queued there from now on waits for who writes into the array. Raises
    RunError (E0712) for one on another device and for one that its library does not give away.
    """
    number = place(x)
    if number is None:
        return x
    if number != device.info.number:
        raise RunError(
            "E0712", f"the input `{name}` lies on device {number}, the network runs on device {device.info.number}",
            f"compile with device = {number}, or move the array",
        )  # fmt: skip
    try:
        return device.xp.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, NotImplementedError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            "E0712", f"the input `{name}` cannot be taken as it lies on the device: {first}",
            "x.detach() where it has a gradient, x.float() where its type is the reason",
        ) from None  # fmt: skip


def to_host(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays of the device as arrays of NumPy."""
    return {name: array.get() for name, array in arrays.items()}
