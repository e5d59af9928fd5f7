"""What the kernels of steps are built with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.memory import Memory, Workspace
from netdsl.backends.cupy.precision import Precision
from netdsl.ir.layer import Array
from netdsl.program.ir import Step, Tensor


@dataclass
class Context:
    """The device, the arena of a Program on it, and the weights that have been packed for it."""

    device: Device
    precision: Precision
    memory: Memory
    packs: dict[Any, Any]
    """Kept with the weights: what is packed for one shape of the inputs serves the others."""
    deterministic: bool = True
    """Whether only kernels may be taken that give the same bits each time."""
    workspace: Workspace = field(init=False)

    def __post_init__(self) -> None:
        self.workspace = Workspace(self.device)

    @property
    def xp(self) -> Any:
        return self.device.xp

    @property
    def dtype(self) -> Any:
        """Of the numbers in the arena."""
        return self.memory.dtype

    def view(self, tensor: Tensor) -> Any:
        """(N, *spatial, C)"""
        return self.memory.view(tensor)

    def maps(self, tensor: Tensor) -> Any:
        """(N, H, W, C)"""
        return self.memory.maps(tensor)

    def address(self, tensor: Tensor) -> int:
        return self.memory.address(tensor)

    def packed(self, step: Step, form: str, make: Callable[[], Array], dtype: Any = None) -> Any:
        """What `make` gives (an array of the host), on the device as numbers of `dtype`, the storage type if it is not
        said; made, converted and copied once for all Programs of a network."""
        wanted = self.dtype if dtype is None else dtype
        key = (step.node.address, form, step.layer, str(wanted), self.device.info.number)
        if key not in self.packs:
            host = make().astype(wanted, order="C")
            # Numbers that NumPy has not of its own travel as their bits.
            bits = host.view(np.uint16) if host.dtype.kind == "V" else host
            with self.device.use():
                self.packs[key] = self.xp.asarray(bits).view(wanted)
        return self.packs[key]
