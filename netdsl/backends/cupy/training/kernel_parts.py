"""What training steps of our CUDA kernels are put together with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl.backends.cupy.kernels import pool
from netdsl.backends.cupy.kernels.chain import Operand, chain
from netdsl.backends.cupy.kernels.functions import function_text, has_function, slope_reads_output, slope_text
from netdsl.backends.cupy.kernels.kernel import Work as Kernels
from netdsl.backends.cupy.kernels.launching import launch
from netdsl.backends.cupy.kernels.view import View, dense
from netdsl.backends.cupy.training.bench import Bench, Work
from netdsl.ir.layer import Layer
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Saved


class KernelWork:
    """The launches of a step while they are put together."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.work = Work()

    @property
    def dtype(self) -> str:
        return self.bench.precision.storage

    def view(self, tensor: Tensor) -> View:
        """Training tensors have no gaps. Raises ValueError for three spatial axes."""
        if len(tensor.shape) > 4:
            raise ValueError("more than two spatial axes")
        return dense(tensor.shape, self.dtype)

    def add(self, name: str, kernels: Kernels, addresses: Mapping[str, int], *keeps: object) -> None:
        bench = self.bench
        self.work.append(launch(f"kernel {name}", kernels, bench.device, bench.workspace, addresses, keeps))

    def at(self, **tensors: Tensor | None) -> dict[str, int]:
        return {name: self.bench.address(tensor) for name, tensor in tensors.items() if tensor is not None}

    def array(self, array: Any) -> int:
        return self.bench.device.address(array)

    def saved(self, saved: Saved) -> int:
        return self.array(self.bench.saved(saved))

    def fast(self) -> bool:
        """Whether approximations are allowed."""
        return self.dtype != "float32"


def known(activation: Layer | None) -> None:
    if not has_function(activation):
        raise ValueError(f"no expression for {activation}")


def pieces(
    made: KernelWork,
    name: str,
    statement: str,
    operands: Mapping[str, Tensor],
    output: Tensor,
    texts: Sequence[str] = (),
) -> None:
    """output = statement(operands), number by number."""
    kernels = chain(
        [Operand(key, made.view(tensor)) for key, tensor in operands.items()], [Operand("y", made.view(output))],
        [statement], texts=texts, fast=made.fast(), name=name,
    )  # fmt: skip
    made.add(name, kernels, made.at(**operands, y=output))


def undone(made: KernelWork, dy: Tensor, y: Tensor, dz: Tensor, layer: Layer | None, x: Tensor | None = None) -> None:
    """The gradient before an activation."""
    known(layer)
    operands = {"dy": dy}
    given = "0.0f, out" if slope_reads_output(layer) else "x, activate(x)"
    if slope_reads_output(layer):
        operands["out"] = y
    elif x is None:
        raise ValueError("the derivative needs what the activation took")
    else:
        operands["x"] = x
    texts = [function_text("activate", layer), slope_text("derivative", layer)]
    pieces(made, "slope", f"y = dy * derivative({given});", operands, dz, texts)


def before_activation(step: Backward, bench: Bench, work: Work) -> Tensor:
    """d(what the activation takes), made from the output; the launch is added to `work`. Raises ValueError."""
    if step.dz is None or step.forward.activation is None:
        return step.dy
    made = KernelWork(bench)
    undone(made, step.dy, step.forward.output, step.dz, step.forward.activation)
    work += made.work
    return step.dz


def bias_gradient(step: Backward, bench: Bench, dy: Tensor, work: Work) -> None:
    """The sum of d(y) over all positions, in float32. Raises ValueError."""
    if "bias" not in step.wanted:
        return
    made = KernelWork(bench)
    kernels = pool.sums(made.view(dy), per_image=False, name="dbias", add="bias" in step.add_to)
    made.add("d bias", kernels, {"x": bench.address(dy), "dbias": made.array(bench.gradient(step.forward, "bias"))})
    work += made.work
