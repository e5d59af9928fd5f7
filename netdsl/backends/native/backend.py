"""The native back-end as the registry knows it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from netdsl.program.ir import Program

if TYPE_CHECKING:
    from netdsl.backends.native.library import Code


class NativeBackend:
    """Machine code through LLVM. Needs llvmlite, which brings LLVM with it."""

    name = "native"
    _worker: Code | None = None
    """The code that every Program needs: where it can be had, native code runs here. Kept for the first of them."""

    def missing(self) -> str | None:
        """Why it cannot run here, in one line; None where it can."""
        for package in ("llvmlite", "platformdirs"):
            if find_spec(package) is None:
                return f"{package} is not installed"
        from netdsl.backends.native.engine import worker
        from netdsl.backends.native.target import TargetError, host_target

        try:
            self._worker = worker(host_target())
        except TargetError as error:
            return str(error)
        except (ImportError, OSError) as error:
            return f"llvmlite cannot be loaded: {error}"
        return None

    def build(self, program: Program, threads: int | None, packs: dict[Any, Any]) -> Any:
        """The Program on native code; `packs` keeps packed weights for the other shapes of the inputs."""
        from netdsl.backends.native.executor import NativeProgram

        return NativeProgram(program, threads, packs=packs)


BACKEND = NativeBackend()
