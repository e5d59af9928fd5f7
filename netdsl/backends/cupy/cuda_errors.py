"""What CUDA and CuPy say when something is wrong, told apart."""

from __future__ import annotations

import cupy
from cupy_backends.cuda.api.driver import CUDADriverError
from cupy_backends.cuda.api.runtime import CUDARuntimeError

from netdsl.backends.cupy.cublas import CublasError
from netdsl.backends.cupy.errors import CannotCaptureError

NO_MEMORY = frozenset({2})
"""cudaErrorMemoryAllocation, CUDA_ERROR_OUT_OF_MEMORY"""
LOST = frozenset({46, 214, 700, 702, 708, 709, 710, 714, 715, 716, 717, 718, 719, 999})
"""Errors after which a context is of no use: uncorrectable memory, addresses outside of it, kernels that failed or took
too long (CUDA runtime documentation, cudaError_t)."""
MISSING = ("failure finding", "failed to load", "cannot open shared object")
"""How it is said that a library is not there."""
CUDA_ERRORS = (CUDARuntimeError, CUDADriverError)
OUT_OF_MEMORY = cupy.cuda.memory.OutOfMemoryError


def refusal(error: BaseException) -> BaseException:
    """What becomes of an error while launches are captured that have run before: of what libraries and the runtime say
    it means "not here", one of ours, unless memory has run out or the device has stopped."""
    status = getattr(error, "status", None)
    ours = isinstance(error, CublasError)
    serious = status == 3 if ours else isinstance(error, CUDA_ERRORS) and status in NO_MEMORY | LOST
    if not serious and isinstance(error, RuntimeError | CannotCaptureError):
        return CannotCaptureError(first_line(error))
    return error


def library_is_missing(error: BaseException) -> bool:
    """Whether CuPy, or what looks for libraries for it, says that there is none of that name."""
    text = str(error).lower()
    return isinstance(error, ImportError) or any(part in text for part in MISSING)


def asked(error: BaseException) -> int:
    """How many bytes an allocation was for."""
    size = getattr(error, "_size", None)
    return int(size) if isinstance(size, int) else 0


def complaint(error: BaseException) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = str(error).splitlines()
    return next((line.strip() for line in lines if "error" in line.lower()), lines[0] if lines else "no reason given")


def first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
