"""Which arrays of a file go where in a network, and what does not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from netdsl.weights.errors import WeightError
from netdsl.weights.inventory import Slot
from netdsl.weights.report import LoadReport, WrongShape, spelled
from netdsl.weights.stored import Stored, shown

COUNTER = "num_batches_tracked"
LEAVES = {"weight", "bias", "running_mean", "running_var", COUNTER}
"""Last parts of names that mean the same everywhere: a bias does not become a mean because it has the same shape."""


def compare(
    slots: Mapping[str, Slot],
    stored: Mapping[str, Stored],
    left: Collection[str] = (),
    origin: Mapping[str, str] | None = None,
) -> LoadReport:
    """Holds the arrays of a file against the weights of a network.

    Names in `left`, of either side, are left out. `origin` says what the arrays are called in the file.
    """
    wanted = {name: slot for name, slot in slots.items() if name not in left}
    offered = {name: array for name, array in stored.items() if name not in left}
    common = [name for name in wanted if name in offered]
    wrong = [
        WrongShape(name, offered[name].shape, wanted[name].weight.shape)
        for name in common
        if offered[name].shape != wanted[name].weight.shape
    ]
    misfits = {entry.name for entry in wrong}
    absent = [slot for name, slot in wanted.items() if name not in offered]
    return LoadReport(
        loaded=tuple(name for name in common if name not in misfits),
        missing=tuple(slot.name for slot in absent if not _optional(slot)),
        unexpected=tuple(name for name in offered if name not in wanted),
        wrong_shape=tuple(wrong),
        excepted=tuple(name for name in slots if name in left),
        ignored=tuple(name for name in stored if name in left),
        optional=tuple(slot.name for slot in absent if _optional(slot)),
        sources={name: origin[name] for name in common if origin[name] != name} if origin else {},
        wanted={name: slot.weight.shape for name, slot in wanted.items()},
        offered={name: array.shape for name, array in offered.items()},
    )


def _optional(slot: Slot) -> bool:
    return slot.counter or slot.auxiliary or (slot.fixed and not slot.weight.trainable)


def by_position(
    slots: Mapping[str, Slot], stored: Mapping[str, Stored], source: str, left: Collection[str] = ()
) -> tuple[dict[str, Stored], dict[str, str]]:
    """The arrays under the names of the weights at the same places, and what each is called in the file.

    Everything has to agree: how many there are, the shape at each place, and the last part of the name where both are
    of LEAVES, which tells an alphabetical file from one in the order of the network. Counters take part where both
    sides have as many, heads that run in training only where the file has them; values that the spec states do not.
    Names in `left`, of either side, are left out. Raises WeightError (E0706).
    """
    places = [
        slot for name, slot in slots.items() if name not in left and not (slot.fixed and not slot.weight.trainable)
    ]
    arrays = [(name, array) for name, array in stored.items() if name not in left]
    counters = sum(slot.counter for slot in places)
    if counters != sum(name.rpartition(".")[2] == COUNTER for name, _ in arrays):
        places = [slot for slot in places if not slot.counter]
        arrays = [(name, array) for name, array in arrays if name.rpartition(".")[2] != COUNTER]
    if len(places) != len(arrays):
        places = [slot for slot in places if not slot.auxiliary]
    for number, (slot, (name, array)) in enumerate(zip(places, arrays, strict=False), start=1):
        if array.shape != slot.weight.shape:
            what = f"{spelled(array.shape)} in the file and {spelled(slot.weight.shape)} in the network"
        elif _differ(name, slot.name):
            what = "not the same part of a layer"
        else:
            continue
        raise WeightError(
            "E0706",
            f"{source} does not fit by position: number {number}, `{shown(name)}` and `{slot.name}`, is {what}",
            "the order has to be that of the network; write rules, or leave what differs out with `except`. Some "
            "formats are sorted by name",
        )
    if len(places) != len(arrays):
        more = arrays[len(places)][0] if len(arrays) > len(places) else places[len(arrays)].name
        raise WeightError(
            "E0706",
            f"{source} does not fit by position: {len(arrays)} arrays in the file and {len(places)} weights in the "
            f"network; the first too many is `{shown(more)}`",
            "leave what only one side has out with `except`",
        )
    origin = {slot.name: name for slot, (name, _) in zip(places, arrays, strict=True)}
    return {slot.name: array for slot, (_, array) in zip(places, arrays, strict=True)}, origin


def _differ(found: str, wanted: str) -> bool:
    ends = {found.rpartition(".")[2], wanted.rpartition(".")[2]}
    return len(ends) == 2 and ends <= LEAVES
