"""How many processors there are to work with."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """How many cores this process may use: those of its affinity, where the system knows such a thing."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
