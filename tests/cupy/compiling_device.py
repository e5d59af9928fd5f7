"""A played device on which our CUDA kernels run: whatever is asked for is compiled for the host before it is launched."""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from host_kernels import COMPILER, FLAGS, HEADER

from netdsl.backends.cupy.device import Function
from netdsl.backends.cupy.fake import FakeDevice, FakeFunction

MEETS = re.compile(r"__syncthreads|__shfl|across<")


@dataclass(eq=False)
class CompilingDevice(FakeDevice):
    """`sources` are the kernels by name, `ran` the names of those that were launched. All that is known when a kernel is
    launched for the first time is compiled together: build first, then run."""

    sources: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._found: dict[str, Any] = {}
        self._folder = tempfile.TemporaryDirectory()

    def function(self, source: str, name: str, options: tuple[str, ...] = ()) -> Function:
        self.compiled.append(name)
        self.sources[name] = source
        return FakeFunction(self, name, self._host(name))

    def _host(self, name: str) -> Callable[..., None]:
        def run(grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any]) -> None:
            self.ran.append(name)
            cells = [ctypes.c_uint64(int(value) & (2**64 - 1)) for value in arguments]
            assert all(isinstance(value, np.uint64 | np.int64) for value in arguments)
            given = (ctypes.c_void_p * len(cells))(*map(ctypes.addressof, cells))
            sizes = (ctypes.c_longlong * 4)(grid[0], *block)
            body = self.sources[name].split("#define KERNEL")[-1]
            assert self._compiled(name)(given, sizes, int(MEETS.search(body) is not None)) == 0

        return run

    def _compiled(self, name: str) -> Any:
        if name not in self._found:
            new = [each for each in self.sources if each not in self._found]
            path = Path(self._folder.name) / f"{name}.cpp"
            lines = [f'#include "{HEADER}"']
            for each in new:
                lines += [self.sources[each], f"using space_{each}::{each};", f"LAUNCHER({each})"]
            path.write_text("\n".join(lines), encoding="utf-8")
            library = path.with_suffix(".so")
            command = [COMPILER or "g++", *FLAGS, str(path), "-o", str(library)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[:4000]
            loaded = ctypes.CDLL(str(library))
            self._found |= {each: getattr(loaded, f"run_{each}") for each in new}
        return self._found[name]
