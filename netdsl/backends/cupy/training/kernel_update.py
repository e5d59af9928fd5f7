"""Updates of parameters by our CUDA kernels: one launch over the flat vectors, and the norm of the gradients in two.

Both raise ValueError where a kernel cannot be had; the plain forms of `optimizers.py` and `resident.py` serve then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.kernels import update
from netdsl.backends.cupy.kernels.kernel import NONE
from netdsl.backends.cupy.kernels.launching import launch
from netdsl.backends.cupy.kernels.update import Update
from netdsl.backends.cupy.memory import Workspace


def stepping(
    device: Device,
    model: Any,
    weights: Any,
    gradients: Any,
    vectors: Mapping[str, Any],
    numbers: Any,
    undecayed: Sequence[tuple[int, int]] = (),
    *,
    most: float | None = None,
    average: Any = None,
    decay: float | None = None,
) -> Launch:
    """One step of the optimiser `model` over `weights`, with its state `vectors` by letter and, in the same sweep, the
    moving `average` (whose `decay` only says that there is one: how much it keeps stands in `numbers`)."""
    wanted = Update.of(model, average=decay if average is not None else None)
    if most is not None:
        wanted = replace(wanted, clip_value=most)
    size = weights.size
    mask = None
    if undecayed and model.weight_decay and model.decay == "weights":
        with device.use():
            mask = device.xp.zeros((size,), np.dtype(np.uint8))
            for start, stop in undecayed:
                mask[start:stop] = np.uint8(1)
    work = update.step(wanted, size, undecayed=mask is not None)
    arrays = {"weights": weights, "gradients": gradients, "scalars": numbers, "average": average, "undecayed": mask}
    arrays |= {letter: vectors[letter] for letter in wanted.letters if letter != NONE}
    addresses = {name: device.address(array) for name, array in arrays.items() if array is not None}
    return launch(f"kernel {model.kind}", work, device, Workspace(device), addresses, (*arrays.values(),))


def squared_norm(device: Device, gradients: Any, target: Any) -> Launch:
    """`target`, one float32 = the sum of the squares of `gradients`, formed in double precision."""
    work = update.norm(gradients.size)
    workspace = Workspace(device)
    addresses = {"gradients": device.address(gradients), "square": device.address(target)}
    made = launch("kernel norm", work, device, workspace, addresses, (gradients, target, workspace))
    _ = workspace.memory
    return made
