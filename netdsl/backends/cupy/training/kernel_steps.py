"""Steps of training by our CUDA kernels: batch norm, activations, sums, gates, pools, depthwise convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from netdsl.backends.cupy.kernels import depthwise, norm, pool
from netdsl.backends.cupy.kernels.candidates.pool import counts_padding
from netdsl.backends.cupy.kernels.chain import Operand, chain
from netdsl.backends.cupy.kernels.depthwise import Window
from netdsl.backends.cupy.kernels.functions import function_text, has_function, slope_reads_output, slope_text
from netdsl.backends.cupy.kernels.kernel import Work as Kernels
from netdsl.backends.cupy.kernels.launching import launch
from netdsl.backends.cupy.kernels.view import View, dense
from netdsl.backends.cupy.training.bench import Bench, Work
from netdsl.backends.cupy.training.pointwise import is_plain, is_sum
from netdsl.ir.layer import Layer
from netdsl.layers.conv import Convolution
from netdsl.layers.join import Multiply
from netdsl.layers.norm import BatchNorm
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward, Saved, Step, Sum
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
    made = _Kernels(bench)
    if isinstance(step, Forward):
        form[0](step, made)
    else:
        form[1](step, made)
    return made.work


def _form(step: Forward) -> tuple[Callable[[Forward, _Kernels], None], Callable[[Backward, _Kernels], None]] | None:
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
    if isinstance(layer, Convolution) and _is_depthwise(step):
        return _depthwise, _depthwise_back
    return None


class _Kernels:
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


def _known(activation: Layer | None) -> None:
    if not has_function(activation):
        raise ValueError(f"no expression for {activation}")


def _pieces(
    made: _Kernels, name: str, statement: str, operands: Mapping[str, Tensor], output: Tensor, texts: Sequence[str] = ()
) -> None:
    """output = statement(operands), number by number."""
    kernels = chain(
        [Operand(key, made.view(tensor)) for key, tensor in operands.items()], [Operand("y", made.view(output))],
        [statement], texts=texts, fast=made.fast(), name=name,
    )  # fmt: skip
    made.add(name, kernels, made.at(**operands, y=output))


# ---------------------------------------------------------------------------------------------------------- batch norm


def _sets(x: Tensor) -> norm.Sets:
    return norm.Sets(False, x.shape[-1])


def _norm(step: Forward, made: _Kernels) -> None:
    layer, x, bench = step.layer, step.inputs[0], made.bench
    assert isinstance(layer, BatchNorm)
    _known(step.activation)
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


def _norm_back(step: Backward, made: _Kernels) -> None:
    ahead, bench = step.forward, made.bench
    x, dx = ahead.inputs[0], step.dx[0]
    activation = ahead.activation
    if step.dz is not None:
        _undone(made, step.dy, ahead.output, step.dz, activation)
        activation = None
    _known(activation)
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


def _undone(made: _Kernels, dy: Tensor, y: Tensor, dz: Tensor, layer: Layer | None, x: Tensor | None = None) -> None:
    """The gradient before an activation."""
    _known(layer)
    operands = {"dy": dy}
    given = "0.0f, out" if slope_reads_output(layer) else "x, activate(x)"
    if slope_reads_output(layer):
        operands["out"] = y
    elif x is None:
        raise ValueError("the derivative needs what the activation took")
    else:
        operands["x"] = x
    texts = [function_text("activate", layer), slope_text("derivative", layer)]
    _pieces(made, "slope", f"y = dy * derivative({given});", operands, dz, texts)


def before_activation(step: Backward, bench: Bench, work: Work) -> Tensor:
    """d(what the activation takes), made from the output; the launch is added to `work`. Raises ValueError."""
    if step.dz is None or step.forward.activation is None:
        return step.dy
    made = _Kernels(bench)
    _undone(made, step.dy, step.forward.output, step.dz, step.forward.activation)
    work += made.work
    return step.dz


def _activation(step: Forward, made: _Kernels) -> None:
    _pieces(made, step.layer.kind, "y = activate(x);", {"x": step.inputs[0]}, step.output,
            [function_text("activate", step.layer)])  # fmt: skip


def _activation_back(step: Backward, made: _Kernels) -> None:
    if step.dx[0] is not None:
        _undone(made, step.dy, step.forward.output, step.dx[0], step.forward.layer, step.forward.inputs[0])


def _add(step: Forward, made: _Kernels) -> None:
    _known(step.activation)
    lanes = {f"x{number}": tensor for number, tensor in enumerate(step.inputs)}
    _pieces(made, "add", f"y = activate({' + '.join(lanes)});", lanes, step.output,
            [function_text("activate", step.activation)])  # fmt: skip


def _add_back(step: Backward, made: _Kernels) -> None:
    if step.dz is not None:
        _undone(made, step.dy, step.forward.output, step.dz, step.forward.activation)


def _sum(step: Sum, bench: Bench) -> Work:
    made = _Kernels(bench)
    _pieces(made, "sum", "y = a + b;", {"a": step.first, "b": step.second}, step.output)
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


def _gate(step: Forward, made: _Kernels) -> None:
    large, small = _gated(step)
    _pieces(made, "gate", "y = a * b;", {"a": step.inputs[large], "b": step.inputs[small]}, step.output)


def _gate_back(step: Backward, made: _Kernels) -> None:
    ahead = step.forward
    large, small = _gated(ahead)
    a, b = ahead.inputs[large], ahead.inputs[small]
    if step.plus[large] is not None or step.plus[small] is not None:
        raise ValueError("a gradient with another part")
    to_small, to_large = step.dx[small], step.dx[large]
    # What is summed is formed first: the gradient of the large lane may lie over what it reads.
    if to_small is not None and b.shape == a.shape:
        _pieces(made, "d gate", "y = dy * a;", {"dy": step.dy, "a": a}, to_small)
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
        _pieces(made, "gate", "y = a * b;", {"a": step.dy, "b": b}, to_large)


# -------------------------------------------------------------------------------------------------------------- pools


def _window(step: Forward) -> Window:
    layer: Any = step.layer
    return Window.of(layer.slides(step.inputs[0].type))


def _facts(step: Forward) -> dict[str, Any]:
    """Raises ValueError for a max pool whose backward has no places."""
    layer = step.layer
    if isinstance(layer, MaxPool):
        if "places" not in step.saved:
            raise ValueError("taps that no byte can number")
        return {"maximum": True}
    assert isinstance(layer, AvgPool)
    return {"maximum": False, "include_pad": counts_padding(layer)}


def _pool(step: Forward, made: _Kernels) -> None:
    facts, window = _facts(step), _window(step)
    kernels = pool.slide(
        made.view(step.inputs[0]), made.view(step.output), window, places=facts["maximum"], activation=step.activation,
        **facts,
    )  # fmt: skip
    addresses = made.at(x=step.inputs[0], y=step.output)
    if facts["maximum"]:
        addresses["places"] = made.saved(step.saved["places"])
    made.add("pool", kernels, addresses)


def _pool_back(step: Backward, made: _Kernels) -> None:
    ahead, (dx,) = step.forward, step.dx
    facts = _facts(ahead)
    if dx is None:
        return
    if step.plus[0] is not None or ahead.activation is not None:
        raise ValueError("a gradient with another part")
    kernels = pool.slide_gradient(made.view(step.dy), made.view(dx), _window(ahead), **facts)
    addresses = made.at(dy=step.dy, dx=dx)
    if facts["maximum"]:
        addresses["places"] = made.saved(ahead.saved["places"])
    made.add("d pool", kernels, addresses)


def _mean(step: Forward, made: _Kernels) -> None:
    x = step.inputs[0]
    kernels = pool.sums(made.view(x), factor=1 / prod(x.shape[1:-1]), dtype=made.dtype)
    made.add("mean", kernels, made.at(x=x, y=step.output))


def _mean_back(step: Backward, made: _Kernels) -> None:
    (dx,) = step.dx
    if dx is None:
        return
    if step.plus[0] is not None:
        raise ValueError("a gradient with another part")
    n, *_, c = dx.shape
    kernels = pool.spread(dense((n, c), made.dtype), made.view(dx))
    made.add("spread", kernels, made.at(dy=step.dy, dx=dx))


# ---------------------------------------------------------------------------------------------------------- depthwise


def _is_depthwise(step: Forward) -> bool:
    layer, channels = step.layer, step.inputs[0].shape[-1]
    groups = getattr(layer, "groups", channels)
    plain = isinstance(layer, Convolution) and layer.padding_mode == "zeros" and not layer.flip_kernel
    alone = groups == channels == step.output.shape[-1] and getattr(layer, "connections", None) is None
    return plain and alone and len(step.inputs[0].type.spatial) <= 2


def _taps(step: Forward, made: _Kernels) -> Any:
    """The weights (C, 1, *f) as (taps, C)."""

    def turned(weight: Any) -> Any:
        return weight.reshape(weight.shape[0], -1).transpose(1, 0)

    return made.bench.stored(step, "weight", "depthwise", turned)


def _depthwise(step: Forward, made: _Kernels) -> None:
    window, x, y = _window(step), made.view(step.inputs[0]), made.view(step.output)
    if not depthwise.fits(window):
        raise ValueError("a window that is too large to be unrolled")
    _known(step.activation)
    tile = next(depthwise.tiles(x, y, window))
    weight = _taps(step, made)
    kernels = depthwise.forward(x, y, window, tile, bias="bias" in step.weights, activation=step.activation)
    addresses = made.at(x=step.inputs[0], y=step.output) | {"weight": made.array(weight)}
    if "bias" in step.weights:
        addresses["bias"] = made.array(made.bench.weight(step, "bias"))
    made.add("depthwise", kernels, addresses, weight)


def _depthwise_back(step: Backward, made: _Kernels) -> None:
    ahead, bench, window = step.forward, made.bench, _window(step.forward)
    if not depthwise.fits(window):
        raise ValueError("a window that is too large to be unrolled")
    if step.dz is not None:
        _undone(made, step.dy, ahead.output, step.dz, ahead.activation)
    dy = step.dz or step.dy
    if "weight" in step.wanted:
        kernels = depthwise.weight_gradient(
            made.view(ahead.inputs[0]), made.view(dy), window, bias="bias" in step.wanted,
            add="weight" in step.add_to, add_bias="bias" in step.add_to,
        )  # fmt: skip
        addresses = made.at(x=ahead.inputs[0], dy=dy)
        addresses |= {f"d{name}": made.array(bench.gradient(ahead, name)) for name in step.wanted}
        made.add("d depthwise weight", kernels, addresses)
    elif step.wanted:
        raise ValueError("a gradient of the bias alone")
    if step.dx[0] is not None:
        plus = step.plus[0]
        kernels = depthwise.input_gradient(
            made.view(dy), made.view(step.dx[0]), window, None if plus is None else made.view(plus)
        )
        weight = _taps(ahead, made)
        addresses = made.at(dy=dy, dx=step.dx[0], plus=plus) | {"weight": made.array(weight)}
        made.add("d depthwise", kernels, addresses, weight)
