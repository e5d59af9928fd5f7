"""What code is generated for: the width of a vector and the register tile, from the features of the processor."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache

from netdsl.backends.native.features import host_features

VARIABLE = "NETDSL_NATIVE_TARGET"
"""Environment variable that asks for the code of a lesser processor: amx, avx512, avx2 or generic."""


@dataclass(frozen=True)
class Target:
    """A family of processors.

    `width` counts float32 numbers in a vector; a convolution keeps `rows` output pixels by `vectors` vectors of output
    channels in registers. 32 registers hold 14 x 2 accumulators, two vectors of weights and a broadcast; 16 hold 6 x 2.
    """

    name: str
    cpu: str
    features: str
    width: int
    rows: int
    vectors: int
    matrix: bool = False
    """Whether there is a matrix unit (AMX) for convolutions beside the vectors."""

    @property
    def bytes(self) -> int:
        """Bytes of a vector."""
        return 4 * self.width

    @property
    def panel(self) -> int:
        """Output channels that a full tile covers."""
        return self.width * self.vectors


_AMX = Target("amx", "x86-64-v4", "+amx-tile,+amx-bf16", 16, 14, 2, True)
_AVX512 = Target("avx512", "x86-64-v4", "", 16, 14, 2)
_AVX2 = Target("avx2", "x86-64-v3", "", 8, 6, 2)
_X86 = Target("generic", "x86-64", "", 4, 6, 2)
_OTHER = Target("generic", "", "", 4, 6, 2)
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18
"""Linux on x86-64: the system call arch_prctl, ARCH_REQ_XCOMP_PERM, and the state component."""
_V3 = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_MATRIX = ("amx-tile", "amx-bf16")


class TargetError(Exception):
    """The processor cannot run the code that was asked for."""


def host_target() -> Target:
    """The target of this processor, or the one that NETDSL_NATIVE_TARGET names. Raises TargetError."""
    return choose(os.environ.get(VARIABLE, ""))


@cache
def choose(wanted: str) -> Target:
    """The target called `wanted`; the widest that the processor runs where it is empty. Raises TargetError."""
    targets = runnable()
    if not wanted:
        return targets[0]
    for target in targets:
        if target.name == wanted:
            return target
    raise TargetError(
        f"{VARIABLE} is {wanted!r}, and this processor runs {', '.join(target.name for target in targets)}"
    )


def _tiles_granted() -> bool:
    """Asks Linux for the registers of the matrix unit, which every process must do once (its children inherit them)."""
    if not sys.platform.startswith("linux") or sys.maxsize < 2**32:
        return False
    try:
        return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0)
    except (AttributeError, OSError):
        return False


@cache
def runnable() -> tuple[Target, ...]:
    """The targets whose code this processor runs, widest first."""
    if platform.machine().lower() not in ("x86_64", "amd64", "x64"):
        return (_OTHER,)
    features = host_features()
    found = [_X86]
    if features.issuperset(_V3):
        found.insert(0, _AVX2)
        if features.issuperset(_V4):
            found.insert(0, _AVX512)
            if features.issuperset(_MATRIX) and _tiles_granted():
                found.insert(0, _AMX)
    return tuple(found)
