"""Runs networks with memory that cannot be left: python guarded.py TARGET NAME...

Every array that native code reads or writes (arena, packed weights, tables, scratch) lies in pages of its own, flush with
their end or with their beginning, between pages that may not be touched. A kernel that goes astray ends the process.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any

import numpy as np

import netdsl
from netdsl.backends.native import crew, executor
from netdsl.backends.native.executor import NativeProgram
from netdsl.backends.native.target import choose
from netdsl.passes import bind, run
from netdsl.program.lower import lower

_NO_ACCESS, _READ_WRITE = 0, 3

ODD = """
network odd(channels = 7) {
  input x: 1x13x11
  conv(channels, 3x3, stride = 2, padding = 1) -> batch_norm -> relu
  depthwise_conv(3x3, padding = 1) -> batch_norm -> relu6
  concat {
    | conv(5, 1x1, stride = 3)
    | conv(3, 3x3, stride = 3, padding = 1) -> silu
  }
  max_pool(2, stride = 1)
  conv(17, 1x1) -> tanh
  avg_pool(2, stride = 1, padding = 1)
  flatten -> dense(19) -> gelu
  dense(3)
}
"""
POINT = """
network point() {
  input x: 3x1x1
  conv(33, 1x1) -> relu
  conv(40, 3x3, padding = 1) -> batch_norm -> sigmoid
  add {
    | identity
    | depthwise_conv(5x5, padding = 2)
  }
  global_avg_pool -> flatten
  dense(1)
}
"""
WIDE = """
network wide() {
  input x: 32x23x21
  a: conv(48, 3x3, padding = 1) -> batch_norm -> relu
  b: conv(32, 3x3, padding = 1)
  add(b, x) -> relu
  conv(36, 3x3, groups = 4, padding = 1)
  max_pool(3, stride = 2, padding = 1)
  conv(50, 5x3, stride = (2, 1), dilation = 2)
}
"""
TEXTS = {"odd": (ODD, (1, 2, 17)), "point": (POINT, (1, 17)), "wide": (WIDE, (1, 3))}
SHAPES: dict[str, Any] = {
    "lenet5": None, "mobilenet_v2": (3, 37, 45), "resnet18": (3, 41, 39), "efficientnet_b0": (3, 33, 47),
    "squeezenet1_0": (3, 65, 61), "shufflenet_v2_x0_5": (3, 63, 66), "densenet40_12": None,
}  # fmt: skip

_toggle = [False]


def guarded(count: int) -> Any:
    """`count` float32 zeros between pages that may not be touched, by turns flush with the end and with the beginning."""
    page = mmap.PAGESIZE
    size = max(64, -(-4 * count // 64) * 64)
    room = -(-size // page) * page
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    start = libc.mmap(None, room + 2 * page, _NO_ACCESS, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert start not in (None, ctypes.c_void_p(-1).value)
    assert libc.mprotect(start + page, room, _READ_WRITE) == 0
    _toggle[0] = not _toggle[0]
    address = start + page + (room - size if _toggle[0] else 0)
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))


def guard() -> None:
    """Puts `guarded` in the place of the allocator of native code, wherever it has been imported."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("netdsl.backends.native") and hasattr(module, "aligned"):
            module.aligned = guarded  # type: ignore[attr-defined]
    assert executor.aligned is guarded and crew.aligned is guarded  # type: ignore[attr-defined]


def check(name: str, target: str) -> None:
    """Runs a network between guards, and compares with the reference."""
    text, batches = TEXTS.get(name, ("", (1,)))
    net = netdsl.loads(text) if text else netdsl.load(name, shape=SHAPES[name])
    reference = net.compile(backend="reference")
    reference.initialize(0)
    bound = run(bind(net.network, reference.weights))
    for batch in batches:
        inputs = {}
        for entry, type_ in net.inputs.items():
            inputs[entry] = guarded(int(np.prod([batch, *type_.shape]))).reshape(batch, *type_.shape)
            inputs[entry][...] = np.random.default_rng(batch).standard_normal(inputs[entry].shape)
        program = lower(bound, bound.network.input_types(), batch)
        found = NativeProgram(program, 2, choose(target)).run(inputs)
        for output, expected in reference.run(inputs)[0].items():
            assert abs(found[output] - expected).max() <= 1e-3 * expected.std() + 1e-6, (name, batch, output)


def stray() -> None:
    """Reads the number behind the end, which must end the process."""
    array = guarded(16)
    _toggle[0] = False
    array = guarded(16)
    print(ctypes.c_float.from_address(int(array.ctypes.data) + 64).value)


if __name__ == "__main__":
    guard()
    for name in sys.argv[2:]:
        print(name, flush=True)
        if name == "stray":
            stray()
        else:
            check(name, sys.argv[1])
    print("done")
