"""Runs CUDA kernels on the host: the same text, compiled by g++ behind a small header (`host/cuda_host.h`).

Arrays are surrounded by guards: what a kernel writes outside of them is found, and what it reads there is NaN. Every
launch runs twice, the second time with the threads and blocks in the reverse order, and both must give the same bits.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from netdsl.backends.cupy.kernels.kernel import NONE, Kernel, Work, argument, headers
from netdsl.backends.cupy.kernels.view import View

HEADER = Path(__file__).parent / "host" / "cuda_host.h"
COMPILER = shutil.which("g++")
FLAGS = ("-std=c++17", "-O0", "-shared", "-fPIC", "-w", "-fno-strict-aliasing", "-ffp-contract=off")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no g++ to compile kernels for the host")
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "uint8": np.uint8}
GUARD = 512
"""Bytes in front of each array and behind it: all bits set, which is NaN in every type."""


class Host:
    """Kernels compiled together, once."""

    def __init__(self, kernels: Iterable[Kernel]) -> None:
        unique = {kernel.entry: kernel for kernel in kernels}
        text = [f'#include "{HEADER}"', headers()]
        text += [
            f"{kernel.inner}\nusing space_{entry}::{entry};\nLAUNCHER({entry})" for entry, kernel in unique.items()
        ]
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name)
        (path / "kernels.cpp").write_text("\n".join(text), encoding="utf-8")
        command = [COMPILER or "g++", *FLAGS, str(path / "kernels.cpp"), "-o", str(path / "kernels.so")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]
        self._library = ctypes.CDLL(str(path / "kernels.so"))

    def launch(self, kernel: Kernel, addresses: Mapping[str, int], turned: bool = False) -> None:
        """One launch on memory that the addresses name."""
        values = [ctypes.c_uint64(address_of(text, addresses)) for text in kernel.arguments]
        numbers = [ctypes.c_int64(value) for value in kernel.values]
        cells = [ctypes.addressof(cell) for cell in (*values, *numbers)]
        given = (ctypes.c_void_p * len(cells))(*cells)
        sizes = (ctypes.c_longlong * 4)(kernel.grid, *kernel.block)
        flags = int(kernel.threads_meet) + 2 * int(turned)
        status = getattr(self._library, f"run_{kernel.entry}")(given, sizes, flags)
        assert status != 1, f"{kernel.name}: threads wait for each other for ever"
        assert status == 0, f"{kernel.name}: a word does not begin at a multiple of its size"

    def run(self, work: Work, given: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs all kernels. `made` are the arrays that they write, as they are before; returns them as they are
        behind. Scratch begins as NaN."""
        first = self._once(work, given, made, turned=False)
        second = self._once(work, given, made, turned=True)
        for name, array in first.items():
            assert array.tobytes() == second[name].tobytes(), f"{name} depends on the order of threads"
        return first

    def _once(
        self, work: Work, given: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray], turned: bool
    ) -> dict[str, np.ndarray]:
        held = {name: Guarded(array) for name, array in {**given, **made}.items()}
        held |= {name: Guarded(np.full(size, 0xFF, np.uint8)) for name, size in work.rooms.items()}
        missing = set(work.arguments) - set(held)
        assert not missing, f"nothing is bound to {missing}"
        addresses = {name: guarded.address for name, guarded in held.items()}
        for kernel in work.kernels:
            self.launch(kernel, addresses, turned)
        for name, guarded in held.items():
            guarded.check(name)
        for name, array in given.items():
            assert held[name].array.tobytes() == np.ascontiguousarray(array).tobytes(), f"{name} was written to"
        return {name: held[name].array.copy() for name in made}


def address_of(text: str, addresses: Mapping[str, int]) -> int:
    """What a kernel gets for an argument."""
    name, offset = argument(text)
    return 0 if name == NONE else addresses[name] + offset


class Guarded:
    """A copy of an array with guards around it, aligned to 256 bytes."""

    def __init__(self, array: np.ndarray) -> None:
        array = np.ascontiguousarray(array)
        self._raw = np.full(array.nbytes + 2 * GUARD + 256, 0xFF, np.uint8)
        self._start = GUARD + -(self._raw.ctypes.data + GUARD) % 256
        self._bytes = array.nbytes
        self.array = self._raw[self._start : self._start + array.nbytes].view(array.dtype).reshape(array.shape)
        self.array[...] = array
        self.address = self._raw.ctypes.data + self._start

    def check(self, name: str) -> None:
        around = np.concatenate([self._raw[: self._start], self._raw[self._start + self._bytes :]])
        assert (around == 0xFF).all(), f"something was written outside of {name}"


def array_of(view: View, values: np.ndarray) -> np.ndarray:
    """The flat memory of a view that holds `values` (N, H, W, C): as many numbers as the view reaches, NaN between."""
    memory = np.full(view.reach * np.dtype(DTYPES[view.dtype]).itemsize, 0xFF, np.uint8).view(DTYPES[view.dtype])
    seen(view, memory)[...] = values.astype(DTYPES[view.dtype])
    return memory


def empty(view: View) -> np.ndarray:
    """The memory of a view with nothing in it but NaN."""
    return np.full(view.reach * np.dtype(DTYPES[view.dtype]).itemsize, 0xFF, np.uint8).view(DTYPES[view.dtype])


def seen(view: View, memory: np.ndarray) -> np.ndarray:
    """Memory as (N, H, W, C)."""
    strides = tuple(memory.itemsize * stride for stride in (*view.strides, 1))
    return np.lib.stride_tricks.as_strided(memory, view.shape, strides)


def read(view: View, memory: np.ndarray) -> np.ndarray:
    """The numbers of a view as float64."""
    return seen(view, memory).astype(np.float64)


def first(values: Any) -> np.ndarray:
    """(N, H, W, C) as (N, C, H, W), how layers take it."""
    return np.moveaxis(np.asarray(values, np.float64), -1, 1)


def last(values: Any) -> np.ndarray:
    """(N, C, H, W) as (N, H, W, C)."""
    return np.moveaxis(np.asarray(values, np.float64), 1, -1)


def close(found: np.ndarray, wanted: np.ndarray, dtype: str, scale: float = 1.0) -> None:
    """Asserts that `found`, stored as `dtype`, is `wanted` up to some roundings."""
    epsilon = {"float32": 2e-6, "float16": 1.1e-3, "bfloat16": 8e-3}[dtype] * scale
    size = np.abs(wanted).max(initial=0.0)
    np.testing.assert_allclose(found, wanted, rtol=epsilon, atol=epsilon * max(size, 1e-30))
