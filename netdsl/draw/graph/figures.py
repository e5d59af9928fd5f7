"""The figures that can be written on a box or colour it: parameters, MACs, memory, receptive field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netdsl.analysis.notation import byte_size, scaled
from netdsl.analysis.receptive import Reach, receptive_fields
from netdsl.analysis.tables import sees
from netdsl.analysis.tree import Item
from netdsl.draw.options import Heat, Label
from netdsl.ir.network import Network


def cost(items: Sequence[Item], of: Heat) -> int | None:
    """What the items cost together, one of them where they stand for several; None where it is not known."""
    found = [_COSTS[of](item) for item in items]
    if any(number is None for number in found):
        return None
    return sum(number or 0 for number in found)


def _one(number: int | None, item: Item) -> int | None:
    """The share of one of the equal ones. They may differ a little where the source repeats them: then the mean."""
    return None if number is None else round(number / item.repeats)


_COSTS: Mapping[Heat, Callable[[Item], int | None]] = {
    "params": lambda item: _one(item.totals.parameters, item),
    "macs": lambda item: _one(item.totals.macs, item),
    "memory": lambda item: _one(item.totals.activation_bytes, item),
}

COST_NAMES: Mapping[Heat, str] = {"params": "parameters", "macs": "MACs", "memory": "memory of the outputs"}


def spelled(number: int | None, of: Heat) -> str:
    """A cost in short: `9.41 K`, `118 M`, `3.06 MiB`."""
    return byte_size(number) if of == "memory" else scaled(number)


class Figures:
    """Writes figures; the receptive fields are found when the first is asked for."""

    def __init__(self, network: Network, labels: Sequence[Label]) -> None:
        self._labels = tuple(dict.fromkeys(labels))
        self._fields: Mapping[str, Reach] = receptive_fields(network) if "receptive" in labels else {}

    def lines(self, items: Sequence[Item]) -> list[str]:
        """What to write below a box, two figures a line."""
        found = [text for label in self._labels if (text := self._figure(items, label))]
        return [" \N{MIDDLE DOT} ".join(found[at : at + 2]) for at in range(0, len(found), 2)]

    def _figure(self, items: Sequence[Item], label: Label) -> str:
        if label == "receptive":
            text = sees(self._fields.get(items[-1].rows[0][-1].name))
            return f"sees {text}" if text else ""
        number = cost(items, label)
        if label == "memory":
            return byte_size(number)
        # A layer without parameters says nothing of them.
        return f"{scaled(number)} {_SHORT[label]}" if number != 0 else ""


_SHORT: Mapping[Label, str] = {"params": "params", "macs": "MACs"}
