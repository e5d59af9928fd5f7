"""Layers and numbers as papers write them: `conv 7x7, 64, /2`, `4.09 G`, `25,557,032`.

Works from the names of a layer's attributes, which are the field's terms, so a new layer needs nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netdsl.ir.layer import Layer
from netdsl.ir.types import TensorType

_QUIET = {
    "padding", "output_padding", "ceil_mode", "count_include_pad", "bias", "affine", "eps", "momentum", "divide_alpha",
    "trainable", "initial", "weight", "shape", "coefficients", "table", "spatial", "mode", "order",
}  # fmt: skip
"""Attributes that a caption leaves out: they change no shape that is not shown beside it, or would not fit."""

_LONGEST = 24
"""Characters of a value in a caption."""


def caption(layer: Layer, inputs: Sequence[TensorType] = ()) -> str:
    """A layer in one line: its kind, kernel, width, stride, and whatever else is not as usual."""
    kind = layer.kind.replace("_", " ")
    shown: list[str] = []
    values = {name: getattr(layer, name) for name in type(layer).model_fields}
    groups = values.pop("groups", 1)
    channels = inputs[0].channels if inputs else None
    if "kernel" in values and isinstance(groups, int) and groups > 1:
        if groups == channels:
            kind = f"depthwise {kind}"
        else:
            shown.append(f"{groups} groups")
    elif groups != 1 and groups is not None:
        shown.append(f"{_spelled(groups)} groups")
    kernel = values.pop("kernel", None)
    if kernel is not None:
        kind = f"{kind} {_extents(kernel)}"
    stride = values.pop("stride", 1)
    if stride is None:
        stride = kernel
    first: list[str] = []
    for name, value in values.items():
        if name in _QUIET or value is None or isinstance(value, bool | dict):
            if value is not type(layer).model_fields[name].default and name not in _QUIET:
                shown.append(f"{'' if value else 'no '}{_words(name)}")
        elif type(layer).model_fields[name].is_required() and name in layer.positional:
            first.append(_spelled(value))
        elif name in ("dilation",) and not _is_one(value):
            shown.append(f"dilation {_spelled(value)}")
        elif name == "rate":
            shown.append(f"p = {value:g}")
        elif value != type(layer).model_fields[name].default:
            shown.append(f"{_words(name)} {_spelled(value)}".rstrip())
    if not _is_one(stride):
        first.append(f"/{_extents(stride)}" if _square(stride) is None else f"/{_square(stride)}")
    if values.get("trainable") is False:
        shown.append("fixed")
    parts = [part for part in (*first, *shown) if part]
    if kernel is None and first and first[0][:1].isdigit():
        kind = f"{kind} {parts.pop(0)}"
    return ", ".join([kind, *parts])


def grouped(number: int | None) -> str:
    """A number with thousands separators; `?` where it is not known."""
    return "?" if number is None else f"{number:,}"


def scaled(number: int | None, unit: str = "") -> str:
    """A number to three digits with a decimal prefix: 4,089,184,256 is `4.09 G`. Below 1,000: the number itself."""
    if number is None:
        return "?"
    value = float(number)
    for prefix in ("", "K", "M", "G", "T", "P"):
        if value < 999.5 or prefix == "P":
            break
        value /= 1000
    text = f"{number}" if prefix == "" else _three_digits(value)
    return f"{text} {prefix}{unit}".rstrip()


def byte_size(number: int | None) -> str:
    """Bytes with a binary prefix: 102,228,128 is `97.5 MiB`."""
    if number is None:
        return "?"
    value = float(number)
    for prefix in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1023.5 or prefix == "TiB":
            break
        value /= 1024
    return f"{number} B" if prefix == "B" else f"{_three_digits(value)} {prefix}"


def _three_digits(value: float) -> str:
    """1.00, 9.99, 10.0, 99.9, 100, 1000: three digits, more only in front of the point."""
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"


def printable(text: str) -> str:
    """Text without control characters, which could rewrite a terminal's screen or make a file ill-formed."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _square(value: Any) -> int | None:
    """The one number that a size stands for, if it is the same along every axis."""
    if isinstance(value, int):
        return value
    return value[0] if isinstance(value, tuple) and value and len(set(value)) == 1 else None


def _is_one(value: Any) -> bool:
    return value is None or _square(value) == 1


def _extents(value: Any) -> str:
    """A size as it is written in a spec: 3x3; one number stands for a square."""
    if isinstance(value, int):
        return f"{value}x{value}"
    return "x".join(str(extent) for extent in value)


def _spelled(value: Any) -> str:
    """A value as it is written in a spec; nothing for one that is too long for a caption."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        text = "x".join(str(item) for item in value) if all(isinstance(item, int) for item in value) else ""
    else:
        text = printable(str(value))
    return text if len(text) <= _LONGEST else ""
