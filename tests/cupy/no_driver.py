"""A driver library without a device, where there is none: cuDNN's libraries are linked with it, and never call it when
they are asked for plans for a device that is described to them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

_NAMES = """
    cuCtxGetCurrent cuCtxGetLimit cuCtxPopCurrent cuCtxPushCurrent cuDeviceGet cuDeviceGetCount cuDriverGetVersion
    cuGetErrorName cuGetErrorString cuKernelGetAttribute cuKernelGetFunction cuKernelSetAttribute
    cuLaunchCooperativeKernel cuLaunchKernel cuLaunchKernelEx cuLibraryGetKernel cuLibraryLoadData
    cuLibraryLoadFromFile cuLibraryUnload cuLinkAddData cuLinkComplete cuLinkCreate cuLinkDestroy cuModuleGetFunction
    cuModuleLoadData cuModuleUnload cuOccupancyMaxPotentialClusterSize cuStreamGetCtx cuTensorMapEncodeIm2col
    cuTensorMapEncodeTiled
"""
NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE"""


def driver(folder: Path) -> str | None:
    """Sees to it that there is a libcuda.so.1 in this process; why there is none, where that cannot be done."""
    try:
        ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)
        return None
    except OSError:
        pass
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "neither a CUDA driver nor a C compiler is here"
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text(
        "".join(f"int {name}(void) {{ return {NO_DEVICE}; }}\n" for name in _NAMES.split()), encoding="utf-8"
    )
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-Wl,-soname,libcuda.so.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"no library could be made: {done.stderr.strip()[:200]}"
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return None
