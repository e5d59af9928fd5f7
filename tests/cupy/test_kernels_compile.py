"""Every kernel compiles for every architecture, holds what it works on in registers, and can be launched.

By default a part of them is compiled, each for one architecture; NETDSL_EVERY_KERNEL=1 compiles all of them for all.
"""

from __future__ import annotations

import os
import re
from importlib.resources import files

import pytest
from kernel_set import kernels

from netdsl.backends.cupy.kernels.compilers import (
    ARCHITECTURES,
    REGISTERS,
    CompileError,
    Compiler,
    Resources,
    compilers,
    resources,
)
from netdsl.backends.cupy.kernels.kernel import Kernel, source
from netdsl.backends.cupy.kernels.view import STORAGE

EVERY = bool(os.environ.get("NETDSL_EVERY_KERNEL"))
FOUND = compilers()
needs_compiler = pytest.mark.skipif(not FOUND, reason="neither nvcc nor NVRTC (pip install nvidia-cuda-nvrtc) is here")
SOURCES = [path.name for path in files("netdsl.backends.cupy.kernels").joinpath("source").iterdir()]
SHARED = 48 << 10
STRIDE = 11
"""Every so many-th kernel is compiled by default, another part for each architecture and type."""


def chosen(architecture: str, storage: str) -> list[Kernel]:
    number = ARCHITECTURES.index(architecture) * len(STORAGE) + STORAGE.index(storage)
    every = kernels(storage, EVERY)
    return every if EVERY else every[number % STRIDE :: STRIDE]


@needs_compiler
@pytest.mark.parametrize("storage", STORAGE)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_fit_a_processor(architecture: str, storage: str) -> None:
    made = chosen(architecture, storage)
    names = list(FOUND) if EVERY else [next(iter(FOUND))]
    for name in names:
        facts = resources(made, architecture, FOUND[name])
        for kernel in made:
            found, threads = facts[kernel.entry], kernel.block[0] * kernel.block[1] * kernel.block[2]
            assert found.spills == 0, f"{kernel.entry} spills {found.spills} bytes ({name}, {architecture})"
            assert found.stack == 0, f"{kernel.entry} indexes registers at run time: {found.stack} bytes of stack"
            assert found.shared <= SHARED
            assert found.registers * threads <= REGISTERS
            assert found.blocks(threads) >= 1


@needs_compiler
@pytest.mark.parametrize("name", FOUND)
def test_errors_are_told(name: str) -> None:
    compiler: Compiler = FOUND[name]
    with pytest.raises(CompileError, match="undefined"):
        compiler.log('extern "C" __global__ void wrong() { nothing(); }', "sm_90")


@needs_compiler
def test_what_spills_is_seen() -> None:
    """That the test above can fail: 300 numbers that all live at once, in 255 registers at most."""
    body = """
    extern "C" __global__ void __launch_bounds__(256, 1) KERNEL(float *x, int step) {
        float kept[300];
        for (int i = 0; i < 300; i++) kept[i] = x[i * 1024 + threadIdx.x];
        __syncthreads();
        for (int turn = 0; turn < step; turn++)
            for (int i = 0; i < 300; i++) kept[i] = kept[i] * kept[(i * 7 + 1) % 300] + 1.0f;
        for (int i = 0; i < 300; i++) x[i * 1024 + threadIdx.x] = kept[i];
    }"""
    kernel = Kernel("spilling", body, ("x",), 1, (256, 1, 1))
    (found,) = resources([kernel], "sm_90", next(iter(FOUND.values()))).values()
    assert found.spills + found.stack > 0


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_functions_say_where_they_run(name: str) -> None:
    """NVRTC takes no function that is not the device's; nvcc would."""
    text = re.sub(r"//.*", "", source(name))
    heads = re.findall(r"^[A-Za-z_][^;{}()=#\n]*\b(\w+)\(", text, re.MULTILINE)
    marked = re.findall(
        r"^(?:template <[^>]*>\s*)?(?:DEVICE|extern \"C\" __global__)[^;{}]*?\b(\w+)\(", text, re.MULTILINE
    )
    assert set(heads) <= {*marked, "__launch_bounds__", "KERNEL"}


def test_a_set_holds_every_family() -> None:
    names = {kernel.name for storage in STORAGE for kernel in kernels(storage)}
    assert names >= {
        "depthwise", "depthwise_input", "depthwise_weight", "fold", "pool", "pool_gradient", "adaptive_pool", "sums",
        "squeeze_excite", "small_dense", "gated", "moments", "moments_end", "normalise", "slopes", "slopes_end",
        "normalise_back", "layer_norm", "softmax", "softmax_strided", "resample", "layout", "chain", "norm_of",
        "update_ready", "update",
    }  # fmt: skip


def test_names_say_what_the_text_is() -> None:
    first, again = kernels("float16"), kernels("float16")
    assert [kernel.entry for kernel in first] == [kernel.entry for kernel in again]
    entries = [kernel.entry for storage in STORAGE for kernel in kernels(storage)]
    folds = [entry for entry in entries if not entry.startswith(("fold", "update", "moments_end", "slopes_end"))]
    assert len(set(folds)) > 0.9 * len(folds), "kernels of different types have different texts"


def test_blocks_side_by_side() -> None:
    assert Resources(32, 0, 0, 0).blocks(256) == 8
    assert Resources(255, 0, 0, 0).blocks(256) == 1
    assert Resources(33, 0, 0, 0).blocks(1024) == 1


@pytest.mark.parametrize("block", [(0, 1, 1), (1024, 2, 1)])
def test_blocks_that_no_device_takes_are_refused(block: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="block"):
        Kernel("none", "", (), 1, block)
    with pytest.raises(ValueError, match="grid"):
        Kernel("none", "", (), 2**31, (32, 1, 1))
