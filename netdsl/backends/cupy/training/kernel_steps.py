"""Steps of training by our CUDA kernels: batch norm, activations, sums, gates, pools, depthwise convolutions."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from netdsl.backends.cupy.kernels import norm, pool
from netdsl.backends.cupy.kernels.candidates.pool import counts_padding
from netdsl.backends.cupy.kernels.chain import Operand, chain
from netdsl.backends.cupy.kernels.functions import function_text, has_function
from netdsl.backends.cupy.kernels.view import dense
from netdsl.backends.cupy.training import kernel_depthwise
from netdsl.backends.cupy.training.bench import Bench, Work
from netdsl.backends.cupy.training.kernel_depthwise import window_of
from netdsl.backends.cupy.training.kernel_parts import KernelWork, known, pieces, undone
from netdsl.backends.cupy.training.pointwise import is_plain, is_sum
from netdsl.layers.join import Multiply
from netdsl.layers.norm import BatchNorm
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward, Step, Sum
from netdsl.program.training.rules import learns


def work_of(step: Step, bench: Bench) -> Work | None:
    """Raises ValueError for what no kernel computes."""
    if isinstance(step, Sum):
        return _sum(step, bench)
    if not isinstance(step, Forward | Backward):
        return None
    ahead = step if isinstance(step, Forward) else step.forward
    form = _form(ahead)
    if form is None:
        return None
    made = KernelWork(bench)
    if isinstance(step, Forward):
        form[0](step, made)
    else:
        form[1](step, made)
    return made.work


def _form(step: Forward) -> tuple[Callable[[Forward, KernelWork], None], Callable[[Backward, KernelWork], None]] | None:
    layer = step.layer
    if isinstance(layer, BatchNorm) and learns(layer):
        return _norm, _norm_back
    if is_plain(step) and has_function(layer):
        return _activation, _activation_back
    if is_sum(step):
        return _add, _add_back
    if isinstance(layer, Multiply) and step.activation is None and len(step.inputs) == 2:
        return _gate, _gate_back
    if isinstance(layer, MaxPool | AvgPool) and len(step.inputs[0].type.spatial) <= 2:
        return _pool, _pool_back
    if layer.kind == "global_avg_pool":
        return _mean, _mean_back
    if kernel_depthwise.knows(step):
        return kernel_depthwise.forward, kernel_depthwise.backward
    return None


# ---------------------------------------------------------------------------------------------------------- batch norm


def _sets(x: Tensor) -> norm.Sets:
    return norm.Sets(False, x.shape[-1])


def _norm(step: Forward, made: KernelWork) -> None:
    layer, x, bench = step.layer, step.inputs[0], made.bench
    assert isinstance(layer, BatchNorm)
    known(step.activation)
    own = {name: made.array(array) for name, array in bench.own(step).items()}
    moments = made.saved(step.saved["moments"])
    first = norm.statistics(
        made.view(x), _sets(x), layer.eps, weight="weight" in own, bias="bias" in own, momentum=layer.momentum
    )
    addresses: dict[str, int] = {
        **made.at(x=x), "moments": moments, "running_mean": own["running_mean"], "running_var": own["running_var"],
        "tracked": own["num_batches_tracked"], **{name: own[name] for name in ("weight", "bias") if name in own},
    }  # fmt: skip
    made.add("moments", first, addresses)
    residual = step.inputs[-1] if step.residual else None
    second = norm.normalise(
        made.view(x), made.view(step.output), _sets(x), bias="bias" in own, activation=step.activation,
        residual=None if residual is None else made.view(residual),
    )  # fmt: skip
    made.add("normalise", second, addresses | made.at(y=step.output, residual=residual))


def _norm_back(step: Backward, made: KernelWork) -> None:
    ahead, bench = step.forward, made.bench
    x, dx = ahead.inputs[0], step.dx[0]
    activation = ahead.activation
    if step.dz is not None:
        undone(made, step.dy, ahead.output, step.dz, activation)
        activation = None
    known(activation)
    if len(step.wanted) == 1:
        raise ValueError("a gradient of the scale without one of the shift")
    dz = step.dz or step.dy
    own = {name: made.array(array) for name, array in bench.own(ahead).items()}
    kernels = norm.gradient(
        made.view(x), made.view(dz), None if dx is None else made.view(dx), _sets(x), weight="weight" in own,
        bias="bias" in own, wanted=bool(step.wanted), activation=activation,
        add=("weight" in step.add_to, "bias" in step.add_to),
    )  # fmt: skip
    addresses = {**made.at(x=x, dy=dz, dx=dx), "moments": made.saved(ahead.saved["moments"])}
    addresses |= {name: own[name] for name in ("weight", "bias") if name in own}
    if step.wanted:
        addresses |= {f"d{name}": made.array(bench.gradient(ahead, name)) for name in ("weight", "bias")}
    made.add("d normalise", kernels, addresses)


# ------------------------------------------------------------------------------------------------------- one by one


def _activation(step: Forward, made: KernelWork) -> None:
    pieces(made, step.layer.kind, "y = activate(x);", {"x": step.inputs[0]}, step.output,
            [function_text("activate", step.layer)])  # fmt: skip


def _activation_back(step: Backward, made: KernelWork) -> None:
    if step.dx[0] is not None:
        undone(made, step.dy, step.forward.output, step.dx[0], step.forward.layer, step.forward.inputs[0])


def _add(step: Forward, made: KernelWork) -> None:
    known(step.activation)
    lanes = {f"x{number}": tensor for number, tensor in enumerate(step.inputs)}
    pieces(made, "add", f"y = activate({' + '.join(lanes)});", lanes, step.output,
            [function_text("activate", step.activation)])  # fmt: skip


def _add_back(step: Backward, made: KernelWork) -> None:
    if step.dz is not None:
        undone(made, step.dy, step.forward.output, step.dz, step.forward.activation)


def _sum(step: Sum, bench: Bench) -> Work:
    made = KernelWork(bench)
    pieces(made, "sum", "y = a + b;", {"a": step.first, "b": step.second}, step.output)
    return made.work


# -------------------------------------------------------------------------------------------------------------- gates


def _gated(step: Forward) -> tuple[int, int]:
    """Which input has the shape of the output, and which is one number for each channel of an image, or of that shape
    too."""
    shapes = [tensor.shape for tensor in step.inputs]
    large = next((place for place, shape in enumerate(shapes) if shape == step.output.shape), None)
    if large is None:
        raise ValueError("no lane has the shape of the output")
    small = 1 - large
    one = (shapes[small][0], *(1 for _ in shapes[small][1:-1]), shapes[small][-1])
    if shapes[small] not in (step.output.shape, one) or shapes[small][-1] != step.output.shape[-1]:
        raise ValueError(f"a product of {shapes[large]} and {shapes[small]}")
    return large, small


def _gate(step: Forward, made: KernelWork) -> None:
    large, small = _gated(step)
    pieces(made, "gate", "y = a * b;", {"a": step.inputs[large], "b": step.inputs[small]}, step.output)


def _gate_back(step: Backward, made: KernelWork) -> None:
    ahead = step.forward
    large, small = _gated(ahead)
    a, b = ahead.inputs[large], ahead.inputs[small]
    if step.plus[large] is not None or step.plus[small] is not None:
        raise ValueError("a gradient with another part")
    to_small, to_large = step.dx[small], step.dx[large]
    # What is summed is formed first: the gradient of the large lane may lie over what it reads.
    if to_small is not None and b.shape == a.shape:
        pieces(made, "d gate", "y = dy * a;", {"dy": step.dy, "a": a}, to_small)
    elif to_small is not None:
        bench = made.bench
        with bench.device.use():
            room = bench.xp.zeros(a.shape, bench.dtype)
        product = chain(
            [Operand("dy", made.view(step.dy)), Operand("a", made.view(a))], [Operand("y", made.view(a))],
            ["y = dy * a;"], fast=made.fast(), name="product",
        )  # fmt: skip
        made.add("product", product, made.at(dy=step.dy, a=a) | {"y": made.array(room)}, room)
        total = pool.sums(made.view(a), dtype=made.dtype)
        made.add("d gate", total, {"x": made.array(room), **made.at(y=to_small)}, room)
    if to_large is not None:
        pieces(made, "gate", "y = a * b;", {"a": step.dy, "b": b}, to_large)


# -------------------------------------------------------------------------------------------------------------- pools


def _facts(step: Forward) -> dict[str, Any]:
    """Raises ValueError for a max pool whose backward has no places."""
    layer = step.layer
    if isinstance(layer, MaxPool):
        if "places" not in step.saved:
            raise ValueError("taps that no byte can number")
        return {"maximum": True}
    assert isinstance(layer, AvgPool)
    return {"maximum": False, "include_pad": counts_padding(layer)}


def _pool(step: Forward, made: KernelWork) -> None:
    facts, window = _facts(step), window_of(step)
    kernels = pool.slide(
        made.view(step.inputs[0]), made.view(step.output), window, places=facts["maximum"], activation=step.activation,
        **facts,
    )  # fmt: skip
    addresses = made.at(x=step.inputs[0], y=step.output)
    if facts["maximum"]:
        addresses["places"] = made.saved(step.saved["places"])
    made.add("pool", kernels, addresses)


def _pool_back(step: Backward, made: KernelWork) -> None:
    ahead, (dx,) = step.forward, step.dx
    facts = _facts(ahead)
    if dx is None:
        return
    if step.plus[0] is not None or ahead.activation is not None:
        raise ValueError("a gradient with another part")
    kernels = pool.slide_gradient(made.view(step.dy), made.view(dx), window_of(ahead), **facts)
    addresses = made.at(dy=step.dy, dx=dx)
    if facts["maximum"]:
        addresses["places"] = made.saved(ahead.saved["places"])
    made.add("d pool", kernels, addresses)


def _mean(step: Forward, made: KernelWork) -> None:
    x = step.inputs[0]
    kernels = pool.sums(made.view(x), factor=1 / prod(x.shape[1:-1]), dtype=made.dtype)
    made.add("mean", kernels, made.at(x=x, y=step.output))


def _mean_back(step: Backward, made: KernelWork) -> None:
    (dx,) = step.dx
    if dx is None:
        return
    if step.plus[0] is not None:
        raise ValueError("a gradient with another part")
    n, *_, c = dx.shape
    kernels = pool.spread(dense((n, c), made.dtype), made.view(dx))
    made.add("spread", kernels, made.at(dy=step.dy, dx=dx))
