"""Shapes and operations as they are written on the board: `28x28x6`, `CONV 5x5 s1 6`, `MAXPOOL 2x2 s2`, `FC 120`.

After the slides of Stanford's CS231n ("CONV - RELU - POOL - FC") and the lectures that write height x width x channels.
Kernel, stride and padding come first, each with its letter, and the number of filters, units or maps last:

    s2  stride     p1  padding     d2  dilation     g32  groups     k5  kernel along a sequence
"""

from __future__ import annotations

from typing import Any

from netdsl.analysis.notation import caption, printable
from netdsl.analysis.tree import Item
from netdsl.draw.words import spaced
from netdsl.ir.types import TensorType

_NAMES = {
    "dense": "FC", "batch_norm": "BN", "layer_norm": "LN", "group_norm": "GN", "instance_norm": "IN",
    "max_pool": "MAXPOOL",
    "avg_pool": "AVGPOOL", "global_avg_pool": "GLOBAL AVGPOOL", "global_max_pool": "GLOBAL MAXPOOL",
    "local_response_norm": "LRN", "depthwise_conv": "DWCONV", "conv_transpose": "CONVT", "hard_swish": "H-SWISH",
    "hard_sigmoid": "H-SIGMOID",
}  # fmt: skip
"""What the field calls a layer on the board, where that is not its name in capitals."""


def shape(type: TensorType) -> str:
    """Height x width x channels; a vector is its length."""
    extents = (*type.spatial, type.channels) if type.rank else (1,)
    return "x".join("?" if extent is None else str(extent) for extent in extents)


def operation(item: Item) -> str:
    """A layer, or the name of a block, with its numbers."""
    row = item.row
    if row is None:
        layers = sum(len(rows) for rows in item.rows)
        name = item.block or item.name.rpartition(".")[2]
        return f"({layers:,} layers)" if not item.children else spaced(printable(name)).upper()
    layer = row.layer
    values = {name: getattr(layer, name) for name in type(layer).model_fields}
    name = _NAMES.get(row.kind, printable(row.kind).replace("_", " ").upper())
    if values.get("kernel") is None:
        said = caption(layer, row.input_types)
        head = layer.kind.replace("_", " ")
        rest = said.removeprefix(head).strip(" ,").replace("p = ", "").replace(", ", " ")
        return f"{name} {rest}".strip()
    axes = max(1, len(row.input_types[0].spatial))
    groups = values.get("groups")
    if groups is not None and groups > 1 and groups == row.input_types[0].channels:
        name, groups = f"DW{name}" if not name.startswith("DW") else name, None
    words = [name, _each(values["kernel"], axes)]
    stride = values.get("stride")
    words.append(f"s{_short(values['kernel'] if stride is None else stride)}")
    padding = values.get("padding")
    if padding == "half":
        steps = _flat(values.get("dilation") or 1)
        padding = tuple(
            (extent - 1) * steps[at % len(steps)] // 2 for at, extent in enumerate(_flat(values["kernel"]))
        )  # fmt: skip
    if padding not in (None, 0, "valid") and set(_flat(padding)) != {0}:
        words.append(padding if isinstance(padding, str) else f"p{_short(padding)}")
    if values.get("dilation") is not None and set(_flat(values["dilation"])) != {1}:
        words.append(f"d{_short(values['dilation'])}")
    if groups is not None and groups > 1:
        words.append(f"g{groups}")
    if "filters" in values:
        words.append(str(values["filters"]))
    return " ".join(words)


def _flat(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _each(value: Any, axes: int) -> str:
    """A kernel, with all its extents: 5x5, and k5 along a sequence."""
    if axes == 1:
        return f"k{_flat(value)[0]}"
    return "x".join(str(extent) for extent in (value if isinstance(value, tuple) else (value,) * axes))


def _short(value: Any) -> str:
    """A stride or a padding: one number where all are the same."""
    flat = _flat(value)
    return str(flat[0]) if len(set(flat)) == 1 else "x".join(str(part) for part in flat)
