"""The log of a run in the form that TensorBoard reads, by the package tensorboardX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from netdsl.train.errors import TrainError
from netdsl.train.runs import Run


def tensorboard() -> Callable[[Run], Callable[[str, Mapping[str, Any]], None]]:
    """What makes a mirror for a run; scalars lie in RUN/tensorboard. Raises TrainError (E0977)."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        help = "pip install 'netdsl[tensorboard]'"
        raise TrainError("E0977", "a log for TensorBoard needs the package tensorboardX", help) from None

    def mirror(run: Run) -> Callable[[str, Mapping[str, Any]], None]:
        writer = SummaryWriter(str(run.folder / "tensorboard"))

        def write(event: str, facts: Mapping[str, Any]) -> None:
            if event not in ("step", "epoch"):
                return
            for name, value in facts.items():
                if isinstance(value, float):
                    writer.add_scalar(f"{event}/{name}", value, facts["step"])
            writer.flush()

        return write

    return mirror
