"""One layer's arithmetic with its numbers filled in, as a lecturer writes it on the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Any, NamedTuple

from netdsl.analysis.cost import Row, full_name, measure
from netdsl.analysis.notation import byte_size, caption, grouped, printable
from netdsl.analysis.receptive import Axis, Field, Reach, receptive_fields
from netdsl.ir.layer import Global, Weight, Window
from netdsl.ir.network import Network
from netdsl.ir.types import BYTES_PER_ELEMENT, TensorType


class Step(NamedTuple):
    """One figure and how it comes about."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """A layer explained. `str()` writes it on the board."""

    name: str
    kind: str
    operation: str
    """The layer in the field's notation."""
    about: str
    """What it does, in a sentence."""
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        width = max(len(step.title) for step in self.steps) + 2
        found = [f"{self.name}: {self.operation}", self.about, ""]
        for step in self.steps:
            for number, line in enumerate(step.lines):
                found.append(f"{step.title if number == 0 else '':<{width}}{line}")
        return "\n".join(printable(line) for line in found)

    def json(self) -> dict[str, object]:
        """Plain data that `json.dump` takes."""
        return {
            "name": self.name,
            "kind": self.kind,
            "operation": self.operation,
            "about": self.about,
            "steps": [{"title": step.title, "lines": list(step.lines)} for step in self.steps],
        }


def explain_layer(network: Network, name: str) -> Explanation:
    """Explains the node that makes the tensor called `name`: how its shape, parameters, operations, receptive field and
    memory come about. Raises KeyError where there is none."""
    name = network.resolve(name)
    row = next(row for row in measure(network).rows if row.name == name)
    return explain_row(row, receptive_fields(network))


def explain_row(row: Row, fields: Mapping[str, Reach]) -> Explanation:
    """The same for a row of a cost report, given the receptive fields of the network: for who explains every layer."""
    written = row.layer.board(row.input_types, row.type) if row.inputs else {}
    steps = [
        Step("Attributes", _attributes(row)),
        Step("Input", tuple(f"{source}: {type}" for source, type in zip(row.inputs, row.input_types, strict=True))),
        Step("Output", (*written.get("output", _same_shape(row)), str(row.type))),
        Step("Parameters", _parameters(row, written.get("parameters", ()))),
        Step("Buffers", _buffers(row)),
        Step("MACs", tuple(written.get("macs", ())) or (grouped(row.macs),)),
        Step("Other FLOPs", tuple(written.get("flops", ())) or _other_flops(row)),
        Step("FLOPs", _flops(row)),
        Step("Receptive field", _receptive_field(fields, row)),
        Step("Memory", _memory(row)),
    ]
    about = (getdoc(type(row.layer)) or "").split("\n\n")[0].replace("\n", " ")
    shown = tuple(step for step in steps if step.lines)
    return Explanation(row.name, row.kind, caption(row.layer, row.input_types), about, shown)


def _attributes(row: Row) -> tuple[str, ...]:
    """The attributes that were given, as they are written in a spec."""
    given = [
        f"{name} = {_spelled(getattr(row.layer, name))}"
        for name, field in type(row.layer).model_fields.items()
        if field.is_required() or getattr(row.layer, name) != field.default
    ]
    return (", ".join(given),) if given else ()


def _spelled(value: Any, inside: bool = False) -> str:
    """A value as it is written in a spec; the beginning of a long one."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple):
        if not inside and len(value) > 1 and all(isinstance(item, int) for item in value):
            return str(TensorType(value))
        items = ", ".join(_spelled(item, True) for item in value[:4])
        return f"[{items}{', ...' if len(value) > 4 else ''}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same_shape(row: Row) -> tuple[str, ...]:
    if not row.inputs:
        return ("given when the network runs",)
    return ("the shape of its input",) if all(type == row.type for type in row.input_types) else ()


def _parameters(row: Row, lines: Sequence[str]) -> tuple[str, ...]:
    owned = [weight for weight in row.weights if weight.role == "parameter"]
    if not owned:
        return ("none",)
    sizes = [weight.size for weight in owned]
    found = list(lines) or [_size(weight) for weight in owned]
    if len(owned) > 1:
        found.append(f"{' + '.join(map(grouped, sizes))} = {sum(sizes):,}")
    fixed = [weight.name or row.name for weight in owned if not weight.trainable]
    if fixed:
        found.append(f"not trained: {', '.join(fixed)}")
    if row.parameters < sum(sizes):
        found.append(f"shared: they are counted where {full_name(row.address, owned[0].name)} is applied first")
    return tuple(found)


def _buffers(row: Row) -> tuple[str, ...]:
    """State that is kept with the weights and not learned."""
    return tuple(_size(weight) for weight in row.weights if weight.role == "buffer")


def _size(weight: Weight) -> str:
    name = f"{weight.name}: " if weight.name else ""
    factors = " * ".join(map(grouped, weight.shape))
    return f"{name}{factors} = {weight.size:,}" if len(weight.shape) > 1 else f"{name}{weight.size:,}"


def _other_flops(row: Row) -> tuple[str, ...]:
    """How often an operation is done for each output, where that is a whole number."""
    elements = row.type.elements
    if not row.other_flops or not elements or row.other_flops % elements:
        return (grouped(row.other_flops),)
    return (f"{row.other_flops // elements:,} for each of {elements:,} outputs = {row.other_flops:,}",)


def _flops(row: Row) -> tuple[str, ...]:
    if row.flops is None:
        return ("not known: an extent is only known when the network runs",)
    return (f"2 * {grouped(row.macs)} + {grouped(row.other_flops)} = {row.flops:,}",) if row.macs else ()


def _memory(row: Row) -> tuple[str, ...]:
    found = []
    elements = row.type.elements
    factors = " * ".join(map(grouped, row.type.shape)) or "1"
    if elements is None:
        found.append(f"output: {factors} numbers")
    else:
        size = elements * BYTES_PER_ELEMENT
        found.append(f"output: {factors} numbers * {BYTES_PER_ELEMENT} bytes = {size:,} bytes{_rounded(size)}")
    if row.parameters:
        size = row.parameter_bytes
        found.append(f"parameters: {row.parameters:,} * {BYTES_PER_ELEMENT} bytes = {size:,} bytes{_rounded(size)}")
    return tuple(found)


def _rounded(size: int) -> str:
    return f" ({byte_size(size)})" if size >= 1024 else ""


def _receptive_field(fields: Mapping[str, Reach], row: Row) -> tuple[str, ...]:
    reach = fields.get(row.name)
    if reach is None or not row.inputs:
        return ()
    if not isinstance(reach, Field):
        extents = "x".join("?" if extent is None else str(extent) for extent in reach.extents)
        return (f"every output sees the whole input{f', {extents}' if extents else ''}",)
    before = [fields[source] for source in row.inputs if source in fields]
    window = row.layer.window(row.input_types)
    found = dict.fromkeys(_line(reach, before, window, number) for number in range(len(reach.axes)))
    return tuple(found)


def _line(reach: Field, before: Sequence[Reach], window: Window | Global | None, number: int) -> str:
    """What a position sees along one axis, from what its inputs see."""
    after = reach.axes[number]
    seen = f"{after.size}, a step of {after.stride}, the first from {after.start}"
    known = list(dict.fromkeys(field.axes[number] for field in before if isinstance(field, Field)))
    if len(known) > 1:
        joined = " and ".join(f"{axis.start} to {axis.start + axis.extent - 1}" for axis in known)
        return f"sees what its inputs see together, {joined}: {seen}"
    if window is None or isinstance(window, Global) or not known:
        return f"sees what its input sees: {seen}"
    return _recurrence(known[0], after, window.size[number], window.stride[number], window.padding[number])


def _recurrence(axis: Axis, after: Axis, size: int, stride: Any, padding: Any) -> str:
    """The equations at the head of `netdsl/analysis/receptive.py`, with their numbers."""
    extent = f"{axis.extent} + ({size} - 1) * {axis.stride} = {after.extent}"
    step = f"{stride} * {axis.stride} = {after.stride}"
    start = f"{axis.start} - {padding} * {axis.stride} = {after.start}"
    return f"sees {extent} inputs, a step of {step}, the first from {start}"
