"""Whether there is an NVIDIA GPU, without importing anything heavy or asking the driver."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

PATHS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg", "/dev/nvhost-ctrl-gpu")
"""What Linux shows where there is one: the driver's own files, that of WSL, and that of Jetson boards."""
HIDDEN = ("", "-1", "NoDevFiles", "void", "none")
"""Values of CUDA_VISIBLE_DEVICES that hide all devices."""


@cache
def present() -> bool:
    """Whether this machine seems to have an NVIDIA GPU that this process may see."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in HIDDEN:
        return False
    if sys.platform == "win32":
        return Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll").exists()
    return any(Path(path).exists() for path in PATHS)
