"""Faster kernels of training steps: candidates, the first that knows a step computes it.

Each is a module with a function `work_of(step, bench)`, which returns None for what is not its own, and raises
ValueError for what it cannot compute after all; the plain form is taken then, and the reason kept in `REJECTED`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module

from netdsl.backends.cupy.training.bench import Bench, Work
from netdsl.program.training.ir import Step

CANDIDATES: dict[str, str] = {
    "kernel": "netdsl.backends.cupy.training.kernel_steps",
    "kernel norms": "netdsl.backends.cupy.training.kernel_norms",
    "cudnn": "netdsl.backends.cupy.training.cudnn_steps",
}
"""Name -> module; those in front are preferred."""


def work_of(step: Step, bench: Bench, names: Sequence[str]) -> Work | None:
    """The launches of a step by the first candidate that computes it; None where none does."""
    for name in names:
        try:
            found: Work | None = import_module(CANDIDATES[name]).work_of(step, bench)
        except (ValueError, ImportError) as error:
            logging.getLogger("netdsl").debug("%s does not compute %s: %s", name, step.name, error)
            continue
        if found is not None:
            return found
    return None
