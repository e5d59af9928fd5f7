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
    fields = type(layer).model_fields
    values: dict[str, Any] = {name: getattr(layer, name) for name in fields}
    kernel, stride, groups = (values.pop(name, None) for name in ("kernel", "stride", "groups"))
    kind = layer.kind.replace("_", " ")
    first: list[str] = []
    rest: list[str] = []
    if kernel is not None and groups is not None and groups > 1 and inputs and groups == inputs[0].channels:
        kind = f"depthwise {kind}"
    elif groups is not None and groups > 1:
        rest.append(f"{groups} groups")
    if "start" in values and "stop" in values:
        first.append(f"{values.pop('start')}:{_or_nothing(values.pop('stop'))}")
    for name, value in values.items():
        if name in _QUIET or value is None or isinstance(value, dict):
            continue
        if name == "rate":
            rest.append(f"p = {value:.3g}")
        elif fields[name].is_required() and name in layer.positional:
            first.append(_spelled(value))
        elif value != fields[name].default:
            rest.append(_flag(name, value) if isinstance(value, bool) else f"{_words(name)} {_spelled(value)}".rstrip())
    if kernel is not None:
        kind = f"{kind} {_extents(kernel)}"
    elif first:
        # A width, a size, a range: what the layer is called by.
        kind = f"{kind} {first.pop(0)}"
    step = kernel if stride is None else stride
    if stride is not None or "stride" in fields:
        # A transposed convolution goes the other way.
        sign = "x" if "transpose" in layer.kind else "/"
        first += [] if _is_one(step) else [f"{sign}{_square(step) or _extents(step)}"]
    if values.get("trainable") is False:
        rest.append("fixed")
    return ", ".join([kind, *first, *rest])


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


def _flag(name: str, value: bool) -> str:
    return _words(name) if value else f"no {_words(name)}"


def _or_nothing(value: Any) -> str:
    return "" if value is None else _spelled(value)


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
