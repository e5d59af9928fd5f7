"""How many threads a back-end uses."""

from __future__ import annotations

import os

from netdsl.backends.errors import RunError
from netdsl.cores import usable_cores

THREADS_VARIABLE = "NETDSL_NUM_THREADS"
"""Environment variable: how many threads run a Program where nothing else is said."""
MOST_THREADS = 256


def wanted_threads() -> int | None:
    """What NETDSL_NUM_THREADS says, where it is set. Raises RunError E0717 where that is no number of threads."""
    value = os.environ.get(THREADS_VARIABLE, "")
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise RunError("E0717", f"{THREADS_VARIABLE} is `{value}`, expected a number of threads from 1 on", "unset it")
    return min(int(value), MOST_THREADS)


def default_threads() -> int:
    """As many as NETDSL_NUM_THREADS says, else one for each core that this process may use. Raises RunError E0717."""
    return wanted_threads() or min(usable_cores(), MOST_THREADS)
