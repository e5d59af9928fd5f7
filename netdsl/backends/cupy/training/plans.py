"""Which plan of cuDNN computes an operation of training: the first that there is, or the fastest on the device."""

from __future__ import annotations

from collections.abc import Mapping

from netdsl.backends.cupy import cudnn
from netdsl.backends.cupy.autotune import QUICK_VARIANTS, ROUNDS, measured
from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.cudnn import CudnnError, Operation, Plan
from netdsl.backends.cupy.cudnn_conv import offers, plan_for, queued
from netdsl.backends.cupy.shelf import Shelf, identity
from netdsl.backends.cupy.training.bench import Bench


def fastest(operation: Operation, bench: Bench, addresses: Mapping[int, int]) -> Plan:
    """A plan for an operation between these addresses. What was timed is kept on disk. Raises ValueError."""
    device = bench.device

    def made(name: str) -> Plan:
        return plan_for(operation, device, name, deterministic=bench.deterministic)

    if bench.autotune == "off":
        return made("")
    shelf = Shelf.default()
    about = (repr(operation), str(bench.deterministic), bench.autotune, identity(device.info, cudnn.version()))
    key = "\n".join(("trained", *about))
    kept = shelf.read_json(key)
    if kept is not None and isinstance(kept.get("chosen"), str):
        try:
            return made(kept["chosen"])
        except CudnnError:
            pass  # measured anew
    names = offers(operation, device)
    plans: dict[str, Plan] = {}
    for name in ["", *(names[:QUICK_VARIANTS] if bench.autotune == "quick" else names)]:
        try:
            plan = made(name)
        except CudnnError:
            continue
        plans.setdefault(plan.name, plan)
    launches = {name: Launch(name, queued(plan, bench.context, addresses)) for name, plan in plans.items()}
    with device.use():
        times = measured(device, launches, ROUNDS[bench.autotune])
    if not times:
        return made("")
    best = min(times, key=times.__getitem__)
    shelf.write_json(key, {"key": key, "chosen": best, "milliseconds": times})
    return plans[best]
