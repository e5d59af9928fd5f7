"""What goes wrong on a device, told apart from what goes wrong in a program."""

from __future__ import annotations

from netdsl.backends.errors import RunError


class DeviceMemoryError(MemoryError):
    """The device has not as much free memory as was asked for."""

    def __init__(self, wanted: int, free: int | None = None, total: int | None = None) -> None:
        super().__init__(f"{wanted} bytes asked for, {free} free of {total}")
        self.wanted = wanted
        self.free = free
        self.total = total


class DeviceLostError(RunError):
    """The device stopped: an address outside of memory, an uncorrectable error, somebody pulled it out. Nothing that
    was on it can be read any more, and CUDA gives this process no other chance."""

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(
            "E0718",
            f"{device} stopped: {reason}",
            "what was on it is gone: start the program again; --backend native computes on the CPU",
        )


class CannotCaptureError(Exception):
    """A launch cannot become part of a CUDA graph; it runs all the same."""


class KernelError(ValueError):
    """A kernel cannot be compiled for a device, or does not run there; another one computes. One line."""
