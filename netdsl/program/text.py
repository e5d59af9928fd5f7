"""A Program as text that a person reads, and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl.analysis.notation import byte_size, caption, printable
from netdsl.ir.layer import Layer
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.passes import Fused
from netdsl.program.ir import Buffer, Program, Step, Tensor

LIFE_COLUMNS = 48
"""Characters of the picture of a buffer's life."""


def program_text(program: Program, kernels: Sequence[str] | None = None) -> str:
    """Steps, the map of the arena, and its size. `kernels` names the kernel of each step, as a back-end chose it."""
    inputs = ", ".join(f"{name} {_shape(tensor)}" for name, tensor in program.inputs.items())
    outputs = ", ".join(f"{name} {_shape(tensor)}" for name, tensor in program.outputs.items())
    rows = [
        (
            str(step.number),
            printable(step.name),
            printable(_owner(step)),
            step_caption(step),
            ", ".join(printable(tensor.name) for tensor in step.reads),
            _shape(step.output),
            f"b{step.output.buffer}" + (" in place" if step.in_place else ""),
            kernels[step.number] if kernels else step.kernel,
        )
        for step in program.steps
    ]
    head = ("step", "name", "weights", "computes", "reads", "shape", "buffer", "kernel")
    saved = f"{program.network_bytes / program.arena_bytes:.1f} times less" if program.arena_bytes else "nothing"
    return "\n".join(
        [
            f"{printable(program.name)}: {inputs} -> {outputs}",
            "",
            *aligned_table(head, rows, {0}),
            "",
            *_arena(program),
            "",
            f"Arena        {byte_size(program.arena_bytes)}",
            f"Live at once {byte_size(program.live_bytes)} at most: no arena is smaller",
            f"All tensors  {byte_size(program.network_bytes)}, side by side: {saved}",
        ]
    )


def program_json(program: Program, kernels: Sequence[str] | None = None) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "name": program.name,
        "inputs": {name: _plain(tensor) for name, tensor in program.inputs.items()},
        "outputs": {name: _plain(tensor) for name, tensor in program.outputs.items()},
        "steps": [
            {
                "number": step.number,
                "name": step.name,
                "computes": step_caption(step),
                "kernel": kernels[step.number] if kernels else step.kernel,
                "inputs": [_plain(tensor) for tensor in step.inputs],
                "residual": None if step.residual is None else _plain(step.residual),
                "activation": None if step.activation is None else step.activation.kind,
                "output": _plain(step.output),
                "in_place": step.in_place,
                "weights": {name: list(array.shape) for name, array in step.weights.items()},
            }
            for step in program.steps
        ],
        "buffers": [
            {
                "number": buffer.number,
                "offset": buffer.offset,
                "bytes": buffer.bytes,
                "first": buffer.first,
                "last": buffer.last,
            }
            for buffer in program.buffers
        ],
        "arena_bytes": program.arena_bytes,
        "live_bytes": program.live_bytes,
        "network_bytes": program.network_bytes,
    }


def network_text(network: Network) -> str:
    """The nodes of a network after a pass."""
    rows = [
        (
            printable(node.name),
            layer_caption(node.layer, network.types_of(node.inputs)),
            ", ".join(printable(source) for source in node.inputs),
            str(node.type),
        )
        for node in network.nodes()
    ]
    outputs = ", ".join(f"{name}: {printable(node)}" for name, node in network.outputs.items())
    lines = aligned_table(("name", "layer", "inputs", "type"), rows, set())
    return "\n".join([f"{printable(network.name)}: {len(rows)} nodes", "", *lines, "", f"Outputs  {outputs}"])


def network_json(network: Network) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "name": network.name,
        "nodes": [
            {
                "name": node.name,
                "kind": node.layer.kind,
                "layer": layer_caption(node.layer, network.types_of(node.inputs)),
                "inputs": list(node.inputs),
                "type": list(node.type.shape),
            }
            for node in network.nodes()
        ],
        "outputs": network.outputs,
    }


def step_caption(step: Step) -> str:
    """`conv 3x3, 64 + residual, relu`"""
    return _parts(step.layer, [tensor.type for tensor in step.inputs], step.residual is not None, step.activation)


def _owner(step: Step) -> str:
    """Where the weights of a step come from: the address of the layer in the spec."""
    return step.node.address.partition("+")[0] if step.weights else ""


def layer_caption(layer: Layer, inputs: Sequence[TensorType]) -> str:
    """A layer in one line, the parts of a fused one behind each other."""
    if not isinstance(layer, Fused):
        return caption(layer, inputs)
    inner = inputs[:-1] if layer.residual else inputs
    return _parts(layer.core, inner, layer.residual, layer.activation)


def _parts(core: Layer, inputs: Sequence[TensorType], residual: bool, activation: Layer | None) -> str:
    text = caption(core, inputs) + (" + residual" if residual else "")
    return text if activation is None else f"{text} | {caption(activation)}"


def _arena(program: Program) -> list[str]:
    held: dict[int, list[str]] = {}
    for name, tensor in program.tensors.items():
        held.setdefault(tensor.buffer, []).append(printable(name))
    return life_of(program.buffers, held, len(program.steps))


def life_of(buffers: Sequence[Buffer], held: Mapping[int, Sequence[str]], steps: int) -> list[str]:
    """The buffers in the order of the arena, each with a picture of the steps when it is live, and what it holds."""
    steps = max(1, steps)
    columns = min(steps, LIFE_COLUMNS)
    rows = []
    for buffer in sorted(buffers, key=lambda b: (b.offset, b.first)):
        start, end = buffer.first * columns // steps, buffer.last * columns // steps
        life = "".join("#" if start <= column <= end else "." for column in range(columns))
        names = held.get(buffer.number, [])
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        rows.append(
            (
                f"b{buffer.number}",
                f"{buffer.offset:,}",
                f"{buffer.bytes:,}",
                f"{buffer.first}-{buffer.last}",
                life,
                shown,
            )
        )
    return aligned_table(("buffer", "offset", "bytes", "steps", "life", "holds"), rows, {1, 2})


def aligned_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    """Lines of a table; the columns in `right` are numbers."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _shape(tensor: Tensor) -> str:
    """In memory: 1x112x112x64."""
    return "x".join(map(str, tensor.shape))


def _plain(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "buffer": tensor.buffer,
        "offset": tensor.offset,
        "strides": list(tensor.strides),
    }
