"""A training Program as text that a person reads, and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netdsl.analysis.notation import byte_size, caption, printable
from netdsl.program.ir import Tensor
from netdsl.program.text import aligned_table, life_of
from netdsl.program.training.ir import Backward, Forward, Loss, Step, Sum, TrainingProgram


def training_text(program: TrainingProgram, kernels: Sequence[str] | None = None) -> str:
    """Steps, the map of the arena, and its size. `kernels` names what computes each step, as a back-end chose it."""
    inputs = ", ".join(f"{printable(name)} {_shape(tensor)}" for name, tensor in program.inputs.items())
    outputs = ", ".join(f"{printable(name)} {_shape(tensor)}" for name, tensor in program.outputs.items())
    rows = [
        (
            str(step.number),
            _way(step),
            printable(step.name),
            _computes(step),
            ", ".join(printable(name) for name in _reads(step)),
            ", ".join(_written(step)),
            *([kernels[step.number]] if kernels else []),
        )
        for step in program.steps
    ]
    head = ("step", "way", "name", "computes", "reads", "writes", *(["kernel"] if kernels else []))
    return "\n".join(
        [
            f"{printable(program.name)}: {inputs} -> {outputs}, {len(program.trained)} parameters trained",
            "",
            *aligned_table(head, rows, {0}),
            "",
            *life_of(program.buffers, _held(program), len(program.steps)),
            "",
            f"Arena        {byte_size(program.arena_bytes)}",
            f"Live at once {byte_size(program.live_bytes)} at most: no arena is smaller",
            f"All tensors  {byte_size(program.network_bytes)}, side by side: "
            f"{program.network_bytes / max(1, program.arena_bytes):.1f} times less",
        ]
    )


def training_json(program: TrainingProgram, kernels: Sequence[str] | None = None) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "name": program.name,
        "batch": program.batch,
        "trained": sorted(program.trained),
        "steps": [
            {
                "number": step.number,
                "way": _way(step),
                "name": step.name,
                "computes": _computes(step),
                "reads": _reads(step),
                "writes": _written(step),
                "kernel": kernels[step.number] if kernels else None,
            }
            for step in program.steps
        ],
        "buffers": [
            {"number": b.number, "offset": b.offset, "bytes": b.bytes, "first": b.first, "last": b.last}
            for b in program.buffers
        ],
        "arena_bytes": program.arena_bytes,
        "live_bytes": program.live_bytes,
        "network_bytes": program.network_bytes,
    }


def _way(step: Step) -> str:
    return type(step).__name__.lower()


def _computes(step: Step) -> str:
    match step:
        case Forward():
            text = caption(step.layer, [tensor.type for tensor in step.core])
            text += " + residual" if step.residual else ""
            return text if step.activation is None else f"{text} | {caption(step.activation)}"
        case Backward():
            wanted = [f"d({name or step.name})" for name in sorted(step.wanted)]
            return ", ".join([*(f"d({printable(name)})" for name in _inputs(step)), *wanted]) or "nothing"
        case Sum():
            return "another part of a gradient"
    return ", ".join(step.heads)


def _inputs(step: Backward) -> list[str]:
    return [
        source.name for source, tensor in zip(step.forward.inputs, step.dx, strict=True) if tensor is not None
    ]  # fmt: skip


def _reads(step: Step) -> list[str]:
    """The tensors whose numbers a step reads."""
    match step:
        case Forward():
            return [tensor.name for tensor in step.inputs]
        case Loss():
            return [tensor.name for tensor in step.heads.values()]
        case Sum():
            return [step.first.name, step.second.name]
    again = [tensor.name for tensor in step.forward.core] if step.reads_inputs else []
    again += [step.forward.output.name] if step.reads_output else []
    again += [saved.name for saved in step.forward.saved.values()]
    return list(dict.fromkeys([step.dy.name, *again, *(tensor.name for tensor in step.plus if tensor is not None)]))


def _written(step: Step) -> list[str]:
    """What a step writes: the tensor, its shape, its buffer."""
    match step:
        case Forward():
            saved = [f"{key} b{item.buffer}" for key, item in step.saved.items()]
            return [_place(step.output, bool(step.in_place)), *saved]
        case Loss():
            return [_place(tensor, False) for tensor in step.gradients.values()]
        case Sum():
            return [_place(step.output, bool(step.in_place))]
    made = {tensor.name: tensor for tensor in (step.dz, *step.dx) if tensor is not None}
    return [_place(tensor, name in step.in_place) for name, tensor in made.items()]


def _place(tensor: Tensor, in_place: bool) -> str:
    return f"{printable(tensor.name)} {_shape(tensor)} b{tensor.buffer}" + (" in place" if in_place else "")


def _held(program: TrainingProgram) -> dict[int, list[str]]:
    held: dict[int, list[str]] = {}
    for name, tensor in program.tensors.items():
        held.setdefault(tensor.buffer, []).append(printable(name))
    for step in program.forward:
        for saved in step.saved.values():
            held.setdefault(saved.buffer, []).append(printable(saved.name))
    return held


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))
