"""Matrix products by cuBLAS, on a handle of our own.

CuPy refuses every call of cuBLAS while a stream is captured, because it cannot know where the library's scratch memory
lies; here that is an allocation of ours, so that products may be part of CUDA graphs, and give the same bits each time
(cuBLAS documentation, 2.1.4 Results reproducibility, cublasSetWorkspace, cublasGemmStridedBatchedEx).

cuBLAS counts columns first: the array (M, N) is its matrix (N, M), so that out = a @ b is out^T = b^T @ a^T.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

WORKSPACE_BYTES = 32 * 2**20
"""Scratch memory, as much as NVIDIA advises for Hopper."""
TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}
"""cudaDataType_t: CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF."""
COMPUTE_32F, COMPUTE_32F_FAST_TF32 = 68, 77
"""cublasComputeType_t"""
DISALLOW_REDUCED_PRECISION_REDUCTION = 16
"""cublasMath_t: sums of halves are never rounded to halves on their way."""
PLAIN, TRANSPOSED = 0, 1
"""cublasOperation_t"""
MOST_EXTENT = 2**31 - 1

_STATUS = {
    1: "not initialized", 3: "no memory", 7: "a value that it does not take", 8: "a device that it does not know",
    11: "memory that it cannot reach", 13: "a kernel that failed", 14: "an internal error", 15: "not supported",
}  # fmt: skip


class CublasError(RuntimeError):
    """cuBLAS said no."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(f"cuBLAS, {what}: {_STATUS.get(status, 'status')} ({status})")
        self.status = status


class Operand(NamedTuple):
    """A batch of matrices as cuBLAS takes it: the array (rows, columns), or with `transposed` (columns, rows)."""

    transposed: bool
    leading: int
    """Numbers from one row of the array to the next."""
    step: int
    """Numbers from one matrix to the next; 0 for the same one each time."""


def operand(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> Operand:
    """An array (rows, columns) or (batch, rows, columns). Raises ValueError where neither its last axis nor the one
    before follows itself in memory."""
    *batch, rows, columns = shape
    *steps, down, across = (stride // itemsize for stride in strides)
    step = steps[0] if batch and batch[0] > 1 else 0
    if across == 1 or columns == 1:
        return Operand(False, max(down if rows > 1 else columns, columns, 1), step)
    if down == 1 or rows == 1:
        return Operand(True, max(across, rows, 1), step)
    raise ValueError(f"a matrix of shape {tuple(shape)} and strides {tuple(strides)} has gaps along both axes")


class Cublas:
    """A handle on one stream of one device. Raises CublasError, OSError where the library cannot be found."""

    def __init__(self, library: Any, stream: int, workspace: int, size: int) -> None:
        """`library`: as `load` gives it; `workspace`: address of `size` bytes on the device."""
        self._library = library
        self._handle = ctypes.c_void_p()
        self._check(library.cublasCreate_v2(ctypes.byref(self._handle)), "a handle")
        self._check(library.cublasSetStream_v2(self._handle, ctypes.c_void_p(stream)), "the stream")
        # Behind the stream: setting that takes the library's own memory again.
        self._check(
            library.cublasSetWorkspace_v2(self._handle, ctypes.c_void_p(workspace), ctypes.c_size_t(size)), "scratch"
        )
        self._check(library.cublasSetMathMode(self._handle, DISALLOW_REDUCED_PRECISION_REDUCTION), "the mode")
        self._one, self._zero = ctypes.c_float(1), ctypes.c_float(0)

    def matmul(self, a: Any, b: Any, out: Any, addresses: tuple[int, int, int], tf32: bool) -> None:
        """out = a @ b; arrays with `shape`, `strides` in bytes and `dtype`, and where they lie."""
        m, n = out.shape[-2:]
        k = a.shape[-1]
        batch = out.shape[0] if out.ndim == 3 else 1
        if not (m and n and batch):
            return
        if max(m, n, k, batch) > MOST_EXTENT:
            raise ValueError(f"a product of {m} x {k} x {n} is more than cuBLAS counts")
        left, right, into = (operand(each.shape, each.strides, each.dtype.itemsize) for each in (a, b, out))
        if into.transposed and n > 1 and m > 1:
            raise ValueError("a product whose columns do not follow each other")
        fast = tf32 and a.dtype.name == "float32"
        status = self._library.cublasGemmStridedBatchedEx(
            self._handle,
            TRANSPOSED if right.transposed else PLAIN, TRANSPOSED if left.transposed else PLAIN,
            n, m, k,
            ctypes.byref(self._one),
            ctypes.c_void_p(addresses[1]), TYPES[b.dtype.name], right.leading, ctypes.c_longlong(right.step),
            ctypes.c_void_p(addresses[0]), TYPES[a.dtype.name], left.leading, ctypes.c_longlong(left.step),
            ctypes.byref(self._zero),
            ctypes.c_void_p(addresses[2]), TYPES[out.dtype.name], into.leading, ctypes.c_longlong(into.step),
            batch, COMPUTE_32F_FAST_TF32 if fast else COMPUTE_32F, -1,
        )  # fmt: skip
        self._check(status, f"{m} x {k} x {n}")

    def close(self) -> None:
        """Gives the handle back. The stream and the scratch memory must still be there."""
        if self._handle:
            self._library.cublasDestroy_v2(self._handle)
            self._handle = ctypes.c_void_p()

    @staticmethod
    def _check(status: int, what: str) -> None:
        if status:
            raise CublasError(status, what)


def load(major: int) -> Any:
    """cuBLAS of CUDA `major`, once CuPy has loaded it; a library is known by its name in a process. Raises OSError."""
    return ctypes.CDLL(f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}")
