"""Compiling kernels without a device, for what the compiler says of them: registers, spills, shared memory.

Two compilers are known: NVRTC, the library that CuPy compiles with (found where the `nvidia-cuda-nvrtc` wheel, or the
system, has it), and `nvcc` (in PATH or CUDA_HOME). Nothing here is needed to run a network.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from netdsl.backends.cupy.kernels.kernel import Kernel, headers

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
"""Ampere, Hopper, Blackwell."""
REGISTERS = 65536
"""Of one processor, on all of these."""
_FACTS = re.compile(
    r"entry function '(?P<name>\w+)'.*?\n"
    r"(?:.*Function properties.*\n)?"
    r"[^\d\n]*(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r".*Used (?P<registers>\d+) registers(?P<rest>.*)"
)


class CompileError(Exception):
    """What the compiler says."""


@dataclass(frozen=True)
class Resources:
    """What one kernel takes of a processor."""

    registers: int
    stack: int
    """Bytes of local memory that each thread has."""
    spills: int
    """Bytes that are written to local memory for want of registers, and read again."""
    shared: int

    def blocks(self, threads: int) -> int:
        """How many blocks of so many threads fit beside each other, as far as registers go."""
        warps = -(-threads // 32)
        each = -(-self.registers // 8) * 8 * 32 * warps
        return max(0, min(32, 2048 // (32 * warps), REGISTERS // max(1, each)))


class Compiler(Protocol):
    @property
    def name(self) -> str: ...

    def log(self, text: str, architecture: str) -> str:
        """Compiles to machine code; what the assembler said of each function. Raises CompileError."""
        ...


def resources(kernels: Iterable[Kernel], architecture: str, compiler: Compiler) -> dict[str, Resources]:
    """By the kernels' entries; all of them are compiled as one text. Raises CompileError."""
    unique = {kernel.entry: kernel for kernel in kernels}
    log = compiler.log(headers() + "".join(kernel.inner for kernel in unique.values()), architecture)
    found = {name: facts for name, facts in _read(log) if name in unique}
    if set(found) != set(unique):
        raise CompileError(f"{compiler.name} says nothing of {', '.join(sorted(set(unique) - set(found)))}")
    return found


def _read(log: str) -> Iterator[tuple[str, Resources]]:
    for match in _FACTS.finditer(log):
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        yield (
            match["name"],
            Resources(
                int(match["registers"]),
                int(match["stack"]),
                int(match["stores"]) + int(match["loads"]),
                int(shared[1]) if shared else 0,
            ),
        )


def compilers() -> Mapping[str, Compiler]:
    """The compilers that are there, by name."""
    found: dict[str, Compiler] = {}
    for make in (Nvrtc.find, Nvcc.find):
        compiler = make()
        if compiler is not None:
            found[compiler.name] = compiler
    return found


@dataclass(frozen=True)
class Nvcc:
    path: Path
    name: str = "nvcc"

    @staticmethod
    def find() -> Nvcc | None:
        homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
        places = [*(home / "bin" / "nvcc" for home in homes), Path(shutil.which("nvcc") or "/nonexistent")]
        return next((Nvcc(place) for place in places if place.is_file()), None)

    def log(self, text: str, architecture: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "kernels.cu")
            source.write_text(text, encoding="utf-8")
            command = [
                str(self.path), "-cubin", f"-arch={architecture}", "-std=c++17", "-Xptxas", "-v", "-o",
                str(source.with_suffix(".cubin")), str(source),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileError(done.stderr or done.stdout)
        return done.stderr + done.stdout


@dataclass(frozen=True)
class Nvrtc:
    library: ctypes.CDLL
    name: str = "NVRTC"

    @staticmethod
    def find() -> Nvrtc | None:
        places = [
            path for folder in map(Path, sys.path) for path in sorted(folder.glob("nvidia/*/lib/libnvrtc.so.[0-9]*"))
        ]
        for place in [*map(str, places), "libnvrtc.so.13", "libnvrtc.so.12"]:
            try:
                return Nvrtc(ctypes.CDLL(place))
            except OSError:
                continue
        return None

    def log(self, text: str, architecture: str) -> str:
        program = ctypes.c_void_p()
        self._check(self.library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None))
        try:
            given = (f"--gpu-architecture={architecture}".encode(), b"--std=c++17", b"--ptxas-options=-v")
            options = (ctypes.c_char_p * len(given))(*given)
            status = self.library.nvrtcCompileProgram(program, len(given), options)
            log = self._log(program)
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))
        if status:
            raise CompileError(log)
        return log

    def _log(self, program: ctypes.c_void_p) -> str:
        size = ctypes.c_size_t()
        self._check(self.library.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        room = ctypes.create_string_buffer(size.value + 1)
        self._check(self.library.nvrtcGetProgramLog(program, room))
        return room.value.decode("utf-8", "replace")

    def _check(self, status: int) -> None:
        if status:
            raise CompileError(f"NVRTC fails with status {status}")
